//! The engine of the flow on one machine.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use kpack_engine::engine::{Engine, EngineOptions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Keeps container images up to date: serves kpack's resources, builds and rebases images.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Directory of everything that lasts
    #[arg(long, value_name = "DIR", env = "KPACKD_DATA")]
    data: PathBuf,
    /// Where to serve the API; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to write the kubeconfig [default: DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// What to log: error, warn, info, debug, or a filter such as kpack_engine=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "KPACKD_LOG")]
    log: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    start_log(&args.log)?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    let kubeconfig = args.kubeconfig.unwrap_or_else(|| args.data.join("kubeconfig"));
    let engine = Engine::start(&EngineOptions {
        data_dir: args.data,
        listen: args.listen,
        kubeconfig: Some(kubeconfig.clone()),
    })?;
    if let Some(address) = engine.address() {
        tracing::info!("serving https://{address}, export KUBECONFIG={}", kubeconfig.display());
    }
    let signal = signals.forever().next();
    tracing::info!(signal, "stopping");
    engine.stop();
    Ok(())
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).with_context(|| format!("--log {filter}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .init();
    Ok(())
}

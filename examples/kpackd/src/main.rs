//! The engine of the flow on one machine.

mod args;
mod log;

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use kpack_engine::engine::Engine;
use kpack_engine::programs::{Invocation, Program};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use args::Args;

fn main() -> ExitCode {
    // In the images of build pods, this executable is called by the names of their programs.
    let called = env::args_os().next().unwrap_or_default();
    if let Some(program) = Path::new(&called).to_str().and_then(Program::for_name) {
        return helper(program);
    }
    match serve(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn helper(program: Program) -> ExitCode {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let variables = env::vars_os().map(|(name, value)| (text(name), text(value)));
    let invocation = Invocation::new(env::args_os().skip(1).map(text), variables);
    let code = program.run(&invocation, &mut io::stdout(), &mut io::stderr());
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn serve(args: &Args) -> anyhow::Result<()> {
    log::start(&args.log)?;
    // Before anything starts, so that no signal is missed.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
    let options = args.engine_options()?;
    let engine = Engine::start(&options)?;
    if let (Some(address), Some(kubeconfig)) = (engine.address(), &options.kubeconfig) {
        tracing::info!("serving https://{address}; export KUBECONFIG={}", kubeconfig.display());
    }
    let signal = signals.forever().next();
    tracing::info!(signal, "stopping");
    // A second signal ends the process at once: everything that lasts is on disk.
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(1);
        }
    });
    engine.stop();
    Ok(())
}

//! The engine of the flow on one machine.

mod args;
mod log;

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use kpack_engine::engine::Engine;
use kpack_engine::programs::{Invocation, Program};
use kpack_engine::runner::Privilege;
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

/// Without root, begins anew as root of a user namespace; without that too, says what is missing.
fn become_able_to_make_containers() -> anyhow::Result<()> {
    match Privilege::of_this_process() {
        Privilege::Present => Ok(()),
        Privilege::Missing { explanation } => bail!(explanation),
        Privilege::ByUserNamespace { prefix } => {
            let (unshare, arguments) = prefix.split_first().context("there is no program to begin anew with")?;
            let executable = env::current_exe().context("cannot find out where kpackd is")?;
            let error = Command::new(unshare)
                .args(arguments)
                .arg(executable)
                .args(env::args_os().skip(1))
                .exec();
            Err(error).with_context(|| format!("cannot start {}", Path::new(unshare).display()))
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
    become_able_to_make_containers()?;
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

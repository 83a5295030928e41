//! The phases of a build as one program: analyzer, detector, restorer, builder, exporter, creator and
//! rebaser. The name it is called by chooses the phase; under any other name its first argument does.
#![forbid(unsafe_code)]

mod analyzer;
mod api;
mod builder;
mod caches;
mod creator;
mod descriptors;
mod detector;
mod env;
mod exporter;
mod failure;
mod files;
mod flags;
mod images;
mod inputs;
mod logger;
mod number;
mod phase;
mod privileges;
mod rebaser;
#[cfg(test)]
mod replay;
mod restorer;
#[cfg(test)]
#[path = "../tests/scenario/mod.rs"]
mod scenario;
mod signals;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::PlatformApi;
use env::Env;
use failure::{Failure, code};
use flags::Misuse;
use inputs::{Inputs, Phase};
use logger::{Level, Logger};
use signals::Signals;

fn main() -> ExitCode {
    descriptors::close_inherited();
    let args: Vec<OsString> = std::env::args_os().collect();
    let log = Logger::to_stdout();
    let code = match Signals::listen() {
        Ok(signals) => run(&args, &Env::of_process(), &signals, &log),
        Err(error) => {
            log.error(format_args!("failed to handle signals: {error}"));
            code::FAILED
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Runs the phase that `args` (with the program's name) name and returns the exit code.
fn run(args: &[OsString], env: &Env, signals: &Signals, log: &Logger) -> i32 {
    let outcome = PlatformApi::requested(env).and_then(|api| {
        let (phase, args) = choose(args)?;
        match phase {
            Some(phase) => Ok((phase, api, args)),
            None => Err(Failure::new(0, version())),
        }
    });
    match outcome {
        Ok((phase, api, args)) => phase_outcome(phase, api, args, env, signals, log),
        Err(answer) if answer.code == 0 => {
            log.write(format!("{answer}\n").as_bytes());
            0
        }
        Err(failure) => {
            log.error(&failure);
            failure.code
        }
    }
}

/// Chooses the phase and the arguments that are left for it; no phase means: print the version.
fn choose(args: &[OsString]) -> Result<(Option<Phase>, &[OsString]), Failure> {
    let name = args
        .first()
        .and_then(|program| Path::new(program).file_stem())
        .and_then(OsStr::to_str);
    if let Some(phase) = Phase::ALL.into_iter().find(|phase| Some(phase.program()) == name) {
        return Ok((Some(phase), &args[1..]));
    }
    let Some(first) = args.get(1) else {
        return Err(Failure::new(code::INVALID_ARGS, "failed to parse arguments"));
    };
    if first == "-version" || first == "--version" {
        return Ok((None, &[]));
    }
    match Phase::ALL.into_iter().find(|phase| first == phase.verb()) {
        Some(phase) => Ok((Some(phase), &args[2..])),
        None => Err(Failure::new(
            code::INVALID_ARGS,
            format!("failed to unknown phase: {}", first.to_string_lossy()),
        )),
    }
}

fn phase_outcome(phase: Phase, api: PlatformApi, args: &[OsString], env: &Env, signals: &Signals, log: &Logger) -> i32 {
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let inputs = match Inputs::parse(phase, api, args, env, &cwd) {
        Ok(inputs) => inputs,
        Err(misuse) => return explain(phase, api, &misuse),
    };
    let log = log.clone().coloured(!inputs.no_colour);
    if inputs.version {
        log.write(format!("{}\n", version()).as_bytes());
        return 0;
    }
    let Some(level) = Level::parse(&inputs.log_level) else {
        log.error("failed to parse log level: invalid level");
        return code::FAILED;
    };
    let log = log.at(level);
    for arg in inputs.positional.iter().filter(|arg| arg.starts_with('-')) {
        log.warn(format_args!(
            "Warning: unconsumed flag-like positional arg: \n\t{arg}\n\t This will not be interpreted as a flag.\n\t \
             Did you mean to put this before the first positional argument?"
        ));
    }
    log.debug(format_args!("Starting {}...", phase.program()));
    log.debug("Parsing inputs...");
    let outcome = match phase {
        Phase::Analyzer => analyzer::run(inputs, env, &log),
        Phase::Detector => detector::run(inputs, env, signals, &log),
        Phase::Restorer => restorer::run(inputs, env, &log),
        Phase::Builder => builder::run(inputs, env, signals, &log),
        Phase::Exporter => exporter::run(inputs, env, &log),
        Phase::Rebaser => rebaser::run(inputs, env, &log),
        Phase::Creator => creator::run(inputs, env, signals, &log),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            log.error(&failure);
            failure.code
        }
    }
}

fn explain(phase: Phase, api: PlatformApi, misuse: &Misuse) -> i32 {
    let usage = flags::usage(phase.program(), &inputs::flags(phase, api));
    let (text, code) = match misuse {
        Misuse::Help => (usage, 0),
        Misuse::Wrong(text) => (format!("{text}\n{usage}"), code::FLAGS),
    };
    // Nobody is left to tell when standard error cannot be written.
    let _ = std::io::stderr().write_all(text.as_bytes());
    code
}

/// Returns the text that `-version` prints.
fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_names_a_phase_by_its_verb_the_program_by_its_own_name() {
        let chosen = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            choose(&args)
                .map(|(phase, _)| phase.map(Phase::program))
                .map_err(|failure| (failure.code, failure.to_string()))
        };
        assert_eq!(chosen(&["lifecycle", "detect"]), Ok(Some("detector")));
        assert_eq!(chosen(&["/cnb/lifecycle/detector"]), Ok(Some("detector")));
        let unknown = "failed to unknown phase: detector".to_owned();
        assert_eq!(chosen(&["lifecycle", "detector"]), Err((3, unknown)));
    }
}

//! `cargo demo`: source in git becomes a running container image, and is kept up to date.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match walkthrough::run(&walkthrough::Options::parse()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!(
                "\n{}Error: {error:#}{}",
                anstyle::AnsiColor::Red.on_default(),
                anstyle::Reset
            );
            ExitCode::FAILURE
        }
    }
}

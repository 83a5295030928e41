//! Detects with buildpacks as they lie on disk, without image or container:
//! `cargo run -p cnb-detect --example detect -- --app DIR --buildpacks DIR [--order FILE]`.
//!
//! The directory of buildpacks may hold one buildpack, several in directories of any name, or the layout of a builder. Without
//! an order.toml (given, or in the directory of buildpacks), composites are tried one after the other, or all buildpacks together.
//! Prints the group and the plan, and on failure the explanation as a tree; the exit code is that of the detector.
#![allow(clippy::print_stdout)] // a program for people

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cnb_detect::{DetectInputs, Environment, HostRunner, MemoryLog, ModuleStore, check_apis, detect};
use cnb_order::Order;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<u8, Failure> {
    let (mut app, mut buildpacks, mut order) = (None, None, None);
    while let Some(flag) = args.next() {
        let place = match flag.as_str() {
            "--app" => &mut app,
            "--buildpacks" => &mut buildpacks,
            "--order" => &mut order,
            _ => return Err(format!("unknown argument {flag}; there are --app, --buildpacks, --order").into()),
        };
        *place = Some(PathBuf::from(args.next().ok_or(format!("{flag} needs a value"))?));
    }
    let app = app.ok_or("--app DIR is missing")?.canonicalize()?;
    let buildpacks = buildpacks.ok_or("--buildpacks DIR is missing")?.canonicalize()?;

    let modules = ModuleStore::scan(&buildpacks)?;
    let order = read_order(order, &buildpacks)?.unwrap_or_else(|| modules.order());
    check_apis(order.groups.iter().flat_map(|group| &group.entries), &modules)?;
    let temp = tempfile::tempdir()?;
    let mut inputs = DetectInputs::new(app, temp.path().join("platform"), temp.path().to_owned());
    inputs.env = Environment::inherited(std::env::vars_os());
    match detect(&order, &inputs, &modules, &HostRunner::default(), &mut MemoryLog::new()) {
        Ok(detected) => {
            println!(
                "# group.toml\n{}\n# plan.toml\n{}",
                detected.group.to_toml(),
                detected.plan.to_toml()
            );
            Ok(0)
        }
        Err(error) => {
            match error.explanation() {
                Some(explanation) => print!("{explanation}"),
                None => println!("{error}"),
            }
            Ok(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

fn read_order(given: Option<PathBuf>, buildpacks: &Path) -> Result<Option<Order>, Failure> {
    let path = given.unwrap_or_else(|| buildpacks.join("order.toml"));
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path)?;
    let order = Order::from_toml(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(order))
}

//! Prints what a change would do: `cargo run -p rebuild-policy --example plan -- STATE.yaml CHANGE.yaml [json]`.
//!
//! Both files hold objects of the API as YAML or JSON documents, lists included, such as `kubectl get -o yaml` prints
//! them. STATE has the images, builds, source resolvers, builders, stacks, stores and lifecycles as they are; CHANGE
//! those that would be others. Prints a table, then the same as JSON; with `json`, only that.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use rebuild_policy::{PlanOptions, Present, Proposal, plan};
use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [state, change] => run(state, change, false),
        [state, change, form] if form == "json" => run(state, change, true),
        _ => Err("usage: plan STATE.yaml CHANGE.yaml [json]".into()),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut text = format!("plan: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    // Nobody is left to tell when this fails, too.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}

fn run(state: &str, change: &str, json_only: bool) -> Result<(), Box<dyn Error>> {
    let present = Present::from_objects(&objects(state)?)?;
    let proposal = Proposal::from_objects(&objects(change)?)?;
    let options = PlanOptions {
        threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
        ..PlanOptions::at(Timestamp::now())
    };
    let plan = plan(&present, &proposal, &options);
    let mut out = std::io::stdout().lock();
    if !json_only {
        writeln!(out, "{plan}\n")?;
    }
    writeln!(out, "{}", serde_json::to_string_pretty(&plan)?)?;
    Ok(())
}

/// All documents of a file, lists taken apart.
fn objects(path: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| format!("{path}: {error}"))?;
    let mut objects = Vec::new();
    for mut document in documents {
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => objects.extend(items),
            _ => objects.push(document),
        }
    }
    Ok(objects)
}

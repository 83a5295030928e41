//! What must be there after a builder ran.

use serde_json::{Map, Value};

use super::{Outcome, check_seen, compare, read, without_foreign_words};

/// Cases in which this builder does on purpose something else, each with the reason.
const DIFFERENT: [(&str, &str); 1] = [(
    "file-called-dot-toml",
    "the reference takes a file called `.toml` for the metadata of the buildpack's whole directory and renames that; here it \
     is no layer at all",
)];

/// Compares everything that the case tells of the outcome.
pub(crate) fn check(case: &Value, level: &str, outcome: &Outcome) -> Result<(), String> {
    if DIFFERENT.iter().any(|(name, _)| case["name"] == *name) {
        return Ok(());
    }
    let expect = &case["expect"];
    let root = outcome.root.path().canonicalize().expect("it is there");
    if expect["crash"] == true {
        return match outcome.exit {
            Some(code) if code != 101 => Ok(()),
            code => Err(format!(
                "the reference crashes; this must be an error, but was {code:?}\n{}",
                outcome.log
            )),
        };
    }
    let exit = expect["exit"].as_i64().and_then(|code| i32::try_from(code).ok());
    if exit != outcome.exit {
        return Err(format!(
            "exit {:?} instead of {exit:?}\n{}{}",
            outcome.exit, outcome.log, outcome.stderr
        ));
    }
    let layers = root.join("layers");
    let metadata = read(&layers.join("config/metadata.toml"));
    compare(
        "metadata.toml",
        expect["metadata_toml"].as_str().unwrap_or("(none)"),
        metadata.as_deref().unwrap_or("(none)"),
    )?;
    if let Some(expected) = expect[format!("log_{level}")].as_str() {
        compare(
            "log",
            &without_foreign_words(expected),
            &without_foreign_words(&outcome.log),
        )?;
    }
    let inputs = ["group.toml", "plan.toml", "analyzed.toml", "config/metadata.toml"];
    let found: Map<String, Value> = super::tree(&layers, &root)
        .into_iter()
        .filter(|(path, _)| !inputs.contains(&path.as_str()))
        .collect();
    if let Some(expected) = expect["layers"].as_object() {
        for (path, entry) in expected {
            if found.get(path) != Some(entry) {
                return Err(format!("{path} should be {entry} but is {:?}", found.get(path)));
            }
        }
        if let Some(path) = found.keys().find(|path| !expected.contains_key(*path)) {
            return Err(format!("{path} should not be there"));
        }
    }
    for seen in expect["seen"].as_array().into_iter().flatten() {
        check_seen(seen, &root)?;
    }
    Ok(())
}

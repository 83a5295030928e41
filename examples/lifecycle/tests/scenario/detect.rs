//! What must be there after a detector ran.

use std::path::Path;

use serde_json::Value;

use super::{Outcome, check_seen, compare, read, sorted_plan, without_foreign_words};

fn core(log: &str) -> String {
    let noise = |line: &str| {
        (line.starts_with("skip: ") || line.starts_with("fail: "))
            && (line.contains(" requires ") || line.contains(" provides unused "))
    };
    log.split_inclusive('\n').filter(|line| !noise(line)).collect()
}

/// Compares everything that the case tells of the outcome.
pub(crate) fn check(case: &Value, level: &str, outcome: &Outcome) -> Result<(), String> {
    let (given, expect) = (&case["given"], &case["expect"]);
    let root = outcome.root.path().canonicalize().expect("it is there");
    if expect["crash"] == true {
        return match outcome.exit {
            Some(code) if code != 0 && code != 101 => Ok(()),
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
    let file = |given: &Value, default: &str| match given.as_str() {
        Some(path) => Path::new(&super::place(&root, path)).to_owned(),
        None => layers.join(default),
    };
    let group = read(&file(&given["group_path"], "group.toml"));
    let plan = read(&file(&given["plan_path"], "plan.toml")).map(|text| sorted_plan(&text));
    compare(
        "group.toml",
        expect["group_toml"].as_str().unwrap_or("(none)"),
        group.as_deref().unwrap_or("(none)"),
    )?;
    compare(
        "plan.toml",
        expect["plan_toml"].as_str().unwrap_or("(none)"),
        plan.as_deref().unwrap_or("(none)"),
    )?;
    check_log(expect, level, &outcome.log)?;
    for seen in expect["seen"].as_array().into_iter().flatten() {
        check_seen(seen, &root)?;
    }
    if let Some(text) = expect["analyzed_toml"].as_str() {
        compare(
            "analyzed.toml",
            text,
            &read(&layers.join("analyzed.toml")).unwrap_or_default(),
        )?;
    }
    if let Some(generated) = expect["generated"].as_object() {
        let found: serde_json::Map<String, Value> = super::tree(&layers, &root)
            .into_iter()
            .filter(|(path, _)| path == "generated" || path.starts_with("generated/"))
            .collect();
        if *generated != found {
            return Err(format!("generated differs\n{generated:#?}\n{found:#?}"));
        }
    }
    Ok(())
}

fn check_log(expect: &Value, level: &str, log: &str) -> Result<(), String> {
    let log = log.replace('\u{fffd}', "?");
    let same = |expected: &str, found: &str| {
        let expected = expected.replace('\u{fffd}', "?");
        compare("log", &without_foreign_words(&expected), &without_foreign_words(found))
    };
    if let Some(expected) = expect[format!("log_{level}")].as_str() {
        if expected.contains("%!") {
            return Ok(()); // the reference takes output for a format
        }
        return same(expected, &log);
    }
    if let Some(expected) = expect[format!("log_{level}_core")].as_str() {
        return same(expected, &core(&log));
    }
    if let Some(any) = expect[format!("log_{level}_any")].as_array() {
        return match any
            .iter()
            .filter_map(Value::as_str)
            .any(|expected| same(expected, &log).is_ok())
        {
            true => Ok(()),
            false => Err(format!("log is none of {any:#?}\n{log}")),
        };
    }
    if let Some(tail) = expect[format!("log_{level}_tail")].as_str()
        && !log.ends_with(tail)
    {
        return Err("the end of the long log differs".to_owned());
    }
    Ok(())
}

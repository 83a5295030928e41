//! A random order as recorded: what to write to disk for it, and what must come out.
//!
//! Shared by the tests of this crate, which script the modules, and those of the program `lifecycle`, which runs them.

use std::fmt::Write as _;

use cnb_order::{Entry, Group, ModuleKind, Order, Plan, Provider};
use serde_json::{Map, Value, json};

pub(crate) fn cases() -> Vec<Value> {
    include_str!("../fixtures/random-plans.jsonl")
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("a case is JSON"))
        .collect()
}

fn entry(text: &str) -> Entry {
    let (text, optional) = match text.strip_suffix('?') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (id, version) = text.split_once('@').expect("id@version");
    Entry {
        optional,
        ..Entry::new(id, version)
    }
}

fn groups(value: &Value) -> Vec<Group> {
    let group = |text: &Value| Group {
        entries: text.as_str().expect("text").split_whitespace().map(entry).collect(),
    };
    value.as_array().into_iter().flatten().map(group).collect()
}

/// The build plan that a module of the case writes.
pub(crate) fn plan(name: &str, module: &Value) -> String {
    let mut text = String::new();
    let mut number = 0;
    for (at, alternative) in module["alts"].as_array().into_iter().flatten().enumerate() {
        let prefix = if at == 0 { "" } else { "or." };
        if at > 0 {
            text.push_str("[[or]]\n");
        }
        for provide in alternative["p"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "[[{prefix}provides]]\nname = {provide}");
        }
        for require in alternative["r"].as_array().into_iter().flatten() {
            let _ = writeln!(
                text,
                "[[{prefix}requires]]\nname = {require}\nmetadata = {{ by = \"{name}\", n = {number} }}"
            );
            number += 1;
        }
    }
    text
}

pub(crate) fn order(case: &Value) -> Order {
    let mut extensions = groups(&case["ext_order"]);
    for group in &mut extensions {
        group.entries = std::mem::take(&mut group.entries)
            .into_iter()
            .map(Entry::extension)
            .collect();
    }
    Order {
        groups: groups(&case["order"]),
        extensions,
    }
}

/// The files of all modules: path and text. `bin/detect` writes the plan of the module and ends with its code.
pub(crate) fn files(case: &Value) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (kind, directory, word) in [
        ("modules", "buildpacks", "buildpack"),
        ("extensions", "extensions", "extension"),
        ("composites", "buildpacks", "buildpack"),
    ] {
        for (name, module) in case[kind].as_object().into_iter().flatten() {
            let (id, version) = name.split_once('@').expect("id@version");
            let path = format!("{directory}/{id}/{version}");
            let mut text = format!("api = \"0.10\"\n[{word}]\nid = \"{id}\"\nversion = \"{version}\"\n");
            if kind == "composites" {
                let order = Order {
                    groups: groups(module),
                    extensions: Vec::new(),
                };
                text += &order.to_toml();
            } else {
                text += "[[targets]]\n";
                let (plan, code) = (plan(name, module), code(module));
                files.push((
                    format!("{path}/bin/detect"),
                    format!("#!/bin/sh\ncat > \"$2\" <<'END'\n{plan}END\nexit {code}\n"),
                ));
            }
            files.push((format!("{path}/{word}.toml"), text));
        }
    }
    files
}

/// What `bin/detect` of a module ends with.
pub(crate) fn code(module: &Value) -> i32 {
    i32::try_from(module["code"].as_i64().unwrap_or_default()).expect("a code")
}

/// Says whether a line is one of those recorded: the results of a group, the trials, and what takes part in the end.
fn is_step(line: &str) -> bool {
    let results = ["==", "pass: ", "skip: ", "fail: ", "err: ", "Resolving plan..."];
    let selected = match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, version] => version.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    (results.iter().any(|start| line.starts_with(start)) || line.ends_with(" buildpacks participating") || selected)
        && !line.starts_with("ERROR: ")
        && !line.contains(" requires ")
        && !line.contains(" provides unused ")
}

fn names(entries: &[Entry]) -> Value {
    entries.iter().map(Entry::full_name).collect::<Vec<_>>().into()
}

fn plan_of(plan: &Plan) -> Value {
    let provider = |provider: &Provider| {
        let prefix = if provider.kind == ModuleKind::Extension {
            "ext:"
        } else {
            ""
        };
        format!("{prefix}{}@{}", provider.id, provider.version)
    };
    let mut entries = Map::new();
    for entry in &plan.entries {
        let requires: Vec<String> = entry
            .requires
            .iter()
            .map(|require| {
                let metadata = require.metadata.as_ref().expect("the case gives some");
                format!("{}#{}", metadata["by"].as_str().expect("text"), metadata["n"])
            })
            .collect();
        let providers: Vec<String> = entry.providers.iter().map(provider).collect();
        entries.insert(
            entry.requires[0].name.clone(),
            json!({ "providers": providers, "requires": requires }),
        );
    }
    Value::Object(entries)
}

/// Compares the steps of the log with those recorded.
pub(crate) fn check_steps(expect: &Value, log: &str) -> Result<(), String> {
    let steps: Vec<&str> = log.lines().filter(|line| is_step(line)).collect();
    let expected: Vec<&str> = expect["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|line| !line.starts_with("ERROR"))
        .collect();
    if steps == expected {
        return Ok(());
    }
    Err(format!("steps\n{expected:#?}\nfound\n{steps:#?}"))
}

/// Compares group and plan with those recorded; the plan is the one under `key`.
pub(crate) fn check_selected(
    expect: &Value,
    group: &cnb_order::DetectedGroup,
    plan: &Plan,
    key: &str,
) -> Result<(), String> {
    let none = json!([]);
    for (what, expected, found) in [
        ("group", &expect["group"], names(&group.buildpacks)),
        (
            "extensions",
            expect.get("group_ext").unwrap_or(&none),
            names(&group.extensions),
        ),
        ("plan", &expect[key], plan_of(plan)),
    ] {
        if *expected != found && !(expected.is_null() && (found == none || found == json!({}))) {
            return Err(format!("{what} {expected} found {found}"));
        }
    }
    Ok(())
}

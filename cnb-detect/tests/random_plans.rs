//! Three hundred random orders against what the reference's detector made of them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cnb_detect::{DetectInputs, Detected, Exit, Level, MemoryLog, ModuleStore, ScriptedRunner, detect};
use cnb_order::{Entry, Group, ModuleKind, Order, Plan, Provider};
use serde_json::{Map, Value, json};

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
fn plan(name: &str, module: &Value) -> String {
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

fn write_modules(root: &Path, case: &Value) {
    for (kind, directory) in [
        ("modules", "buildpacks"),
        ("extensions", "extensions"),
        ("composites", "buildpacks"),
    ] {
        for (name, module) in case[kind].as_object().into_iter().flatten() {
            let (id, version) = name.split_once('@').expect("id@version");
            let path = root.join(directory).join(id).join(version);
            fs::create_dir_all(path.join("bin")).expect("a directory");
            fs::write(path.join("bin/detect"), "").expect("a file");
            let word = if directory == "buildpacks" {
                "buildpack"
            } else {
                "extension"
            };
            let mut text = format!("api = \"0.10\"\n[{word}]\nid = \"{id}\"\nversion = \"{version}\"\n");
            if kind == "composites" {
                let order = Order {
                    groups: groups(module),
                    extensions: Vec::new(),
                };
                text += &order.to_toml();
            } else {
                text += "[[targets]]\n";
            }
            fs::write(path.join(format!("{word}.toml")), text).expect("a file");
        }
    }
}

fn run(case: &Value) -> (Result<Detected, i32>, Vec<String>) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    write_modules(root, case);
    let runner = ScriptedRunner::new(|command, _output| {
        let root = command.program.parent().and_then(Path::parent).expect("a module");
        let version = root.file_name().expect("a version").to_string_lossy().into_owned();
        let id = root
            .parent()
            .and_then(Path::file_name)
            .expect("an id")
            .to_string_lossy()
            .into_owned();
        let name = format!("{id}@{version}");
        let kind = if root.to_string_lossy().contains("/extensions/") {
            "extensions"
        } else {
            "modules"
        };
        let module = &case[kind][&name];
        fs::write(&command.args[1], plan(&name, module)).expect("a plan");
        Ok(Exit::Code(
            i32::try_from(module["code"].as_i64().unwrap_or_default()).expect("a code"),
        ))
    });
    let mut extensions = groups(&case["ext_order"]);
    for group in &mut extensions {
        group.entries = std::mem::take(&mut group.entries)
            .into_iter()
            .map(Entry::extension)
            .collect();
    }
    let order = Order {
        groups: groups(&case["order"]),
        extensions,
    };
    let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
    let mut log = MemoryLog::new();
    let detected = detect(&order, &inputs, &modules, &runner, &mut log).map_err(|error| error.exit_code());
    let text = log.text(Level::Debug);
    (
        detected,
        text.lines().filter(|line| is_step(line)).map(str::to_owned).collect(),
    )
}

fn is_step(line: &str) -> bool {
    !line.starts_with("Checking")
        && !line.starts_with("target distro")
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

fn check(case: &Value) -> Result<(), String> {
    let expect = &case["expect"];
    let (detected, steps) = run(case);
    let expected: Vec<&str> = expect["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|line| !line.starts_with("ERROR"))
        .collect();
    if steps != expected {
        return Err(format!("steps\n{expected:#?}\nfound\n{steps:#?}"));
    }
    match detected {
        Err(code) if expect["exit"] == code => Ok(()),
        Ok(detected) if expect["exit"] == 0 => {
            let none = json!([]);
            for (what, expected, found) in [
                ("group", &expect["group"], names(&detected.group.buildpacks)),
                (
                    "extensions",
                    expect.get("group_ext").unwrap_or(&none),
                    names(&detected.group.extensions),
                ),
                ("plan", &expect["plan"], plan_of(&detected.plan)),
            ] {
                if *expected != found && !(expected.is_null() && (found == none || found == json!({}))) {
                    return Err(format!("{what} {expected} found {found}"));
                }
            }
            Ok(())
        }
        other => Err(format!("exit {} but found {other:?}", expect["exit"])),
    }
}

#[test]
fn random_orders_resolve_as_in_the_reference() {
    let failures: Vec<String> = include_str!("fixtures/random-plans.jsonl")
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str::<Value>(line).expect("a case is JSON"))
        .filter_map(|case| check(&case).err().map(|problem| format!("{}: {problem}", case["name"])))
        .collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

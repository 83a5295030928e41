//! Three hundred random orders against what the reference's detector made of them.

mod random_case;

use std::fs;
use std::path::Path;

use cnb_detect::{DetectInputs, Detected, Exit, Level, MemoryLog, ModuleStore, ScriptedRunner, detect};
use random_case::{cases, check_selected, check_steps, code, files, order, plan};
use serde_json::Value;

fn run(case: &Value) -> (Result<Detected, i32>, String) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    for (path, text) in files(case) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
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
        Ok(Exit::Code(code(module)))
    });
    let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
    let mut log = MemoryLog::new();
    let detected = detect(&order(case), &inputs, &modules, &runner, &mut log).map_err(|error| error.exit_code());
    (detected, log.text(Level::Debug))
}

fn check(case: &Value) -> Result<(), String> {
    let expect = &case["expect"];
    let (detected, log) = run(case);
    check_steps(expect, &log)?;
    match detected {
        Err(code) if expect["exit"] == code => Ok(()),
        Ok(detected) if expect["exit"] == 0 => check_selected(expect, &detected.group, &detected.plan, "plan"),
        other => Err(format!("exit {} but found {other:?}", expect["exit"])),
    }
}

#[test]
fn random_orders_resolve_as_in_the_reference() {
    let failures: Vec<String> = cases()
        .into_iter()
        .filter_map(|case| check(&case).err().map(|problem| format!("{}: {problem}", case["name"])))
        .collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

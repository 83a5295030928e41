//! The recorded descriptors do to a source what they did to the reference's.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use source_fetch::{SubPath, process_project_descriptor};

fn files(root: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).expect("readable").flatten() {
            if entry.file_type().expect("a type").is_dir() {
                walk(root, &entry.path(), found);
            } else {
                found.insert(
                    entry
                        .path()
                        .strip_prefix(root)
                        .expect("beneath")
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &mut found);
    found
}

fn write(root: &Path, path: &str, text: &str) {
    let place = root.join(path);
    if path.ends_with('/') {
        fs::create_dir_all(place).expect("a directory");
        return;
    }
    fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
    fs::write(place, text).expect("a file");
}

fn strings(value: &Value) -> Option<BTreeSet<String>> {
    Some(
        value
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    )
}

/// Runs a case; returns what differs from the recording.
fn difference(head: &Value, case: &Value) -> Option<String> {
    let temp = tempfile::tempdir().expect("a directory");
    let (app, platform) = (temp.path().join("app"), temp.path().join("platform"));
    fs::create_dir_all(&app).expect("a directory");
    for tree in [&head["files"], &case["more_files"]] {
        for (path, text) in tree.as_object().into_iter().flatten() {
            write(&app, path, text.as_str().expect("text"));
        }
    }
    for (path, target) in case["symlinks"].as_object().into_iter().flatten() {
        let place = app.join(path);
        fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
        std::os::unix::fs::symlink(target.as_str().expect("a target"), place).expect("a link");
    }
    if let Some(text) = case["project_toml"].as_str() {
        write(&app, "project.toml", text);
    }
    let before = files(&app);
    let sub_path: SubPath = case["sub_path"]
        .as_str()
        .unwrap_or_default()
        .parse()
        .expect("a sub path");
    let done = process_project_descriptor(&app, &sub_path, case["descriptor_path"].as_str(), &platform.join("env"));
    let after = files(&app);
    // An inline list of variables is accepted here, see the function's deviations.
    let refused = case["name"] != "env-old-inline-array" && (case["error"].is_string() || case["hostile"] == true);
    match (&done, refused) {
        (Err(_), true) | (Ok(_), false) => {}
        (Ok(_), true) => return Some(format!("passed, expected {}", case["error"])),
        (Err(error), false) => return Some(format!("failed: {error}")),
    }
    let removed: BTreeSet<_> = before.difference(&after).cloned().collect();
    if let Some(expected) = strings(&case["removed"]).filter(|expected| *expected != removed) {
        return Some(format!("removed {removed:?}, expected {expected:?}"));
    }
    if let Some(expected) = strings(&case["left"]).filter(|expected| *expected != after) {
        return Some(format!("left {after:?}, expected {expected:?}"));
    }
    let Ok(report) = done else { return None };
    let log = report
        .notes
        .iter()
        .map(|line| line.replace(&*app.to_string_lossy(), "<app>"))
        .collect::<BTreeSet<_>>();
    if log != strings(&case["log"]).unwrap_or_default() {
        return Some(format!("logged {log:?}"));
    }
    for (name, value) in case["env"].as_object().into_iter().flatten() {
        let held = fs::read_to_string(platform.join("env").join(name)).ok();
        if held.as_deref() != value.as_str() {
            return Some(format!("variable {name} is {held:?}"));
        }
    }
    None
}

#[test]
fn the_recorded_descriptors_leave_the_recorded_files_and_variables() {
    let text = include_str!("fixtures/source/descriptor.json");
    let recorded: Value = serde_json::from_str(text).expect("the fixture is JSON");
    let cases = recorded["cases"].as_array().expect("cases");
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| difference(&recorded, case).map(|problem| format!("{}: {problem}", case["name"])))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

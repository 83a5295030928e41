//! The recorded descriptors do to a source what they did to the reference's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use source_fetch::{ProjectError, SubPath, process_project_descriptor};

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

/// What a descriptor did: what it said, the variables it set, the files that are left.
struct Done {
    notes: Vec<String>,
    variables: BTreeMap<String, String>,
    left: BTreeSet<String>,
}

const FILES: [&str; 12] = [
    "test.sh",
    "bin/deploy.sh",
    "secrets/api_keys.json",
    "secrets/user_token",
    "media/mountain.jpg",
    "media/person.png",
    "media/metadata",
    "cookie.jar",
    "other-cookie.jar",
    "nested-cookie.jar",
    "nested/nested-cookie.jar",
    "api/Main.java",
];

fn process(descriptor: Option<&str>, at: Option<&str>) -> Result<Done, ProjectError> {
    let temp = tempfile::tempdir().expect("a directory");
    let (app, env) = (temp.path().join("app"), temp.path().join("platform/env"));
    for file in FILES {
        write(&app, file, file);
    }
    if let Some(text) = descriptor {
        write(&app, at.unwrap_or("project.toml"), text);
    }
    let report = process_project_descriptor(&app, &SubPath::default(), at, &env)?;
    let variables = fs::read_dir(&env).into_iter().flatten().flatten().map(|entry| {
        let value = fs::read_to_string(entry.path()).expect("text");
        (entry.file_name().to_string_lossy().into_owned(), value)
    });
    Ok(Done {
        notes: report.notes,
        variables: variables.collect(),
        left: files(&app)
            .into_iter()
            .filter(|file| !file.ends_with("project.toml"))
            .collect(),
    })
}

fn done(descriptor: &str) -> Done {
    process(Some(descriptor), None).expect("a good descriptor")
}

fn refused(descriptor: &str) -> String {
    process(Some(descriptor), None)
        .err()
        .expect("a bad descriptor")
        .to_string()
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

const VERSION_2: &str = "[_]\nschema-version = \"0.2\"\n";

// rows 10.2/D19 10.2/D20
#[test]
fn a_descriptor_may_be_missing_where_no_path_was_set() {
    let found = process(None, None).expect("no descriptor");
    assert_eq!((found.notes.len(), found.left.len()), (0, FILES.len()));
    let error = process(None, Some("config/project.toml")).err().expect("nothing there");
    assert!(error.to_string().contains("config/project.toml"), "{error}");
}

// row 10.2/D21
#[test]
fn a_descriptor_of_another_version_is_left_alone_with_a_warning() {
    let text = "[_]\nschema-version = \"0.99\"\n[io.buildpacks]\nexclude = [\"*.sh\"]\n\
                [[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n[build]\nexclude = [\"*.jar\"]\n";
    let done = done(text);
    assert_eq!(done.notes.len(), 1);
    assert!(
        done.notes[0].contains("version 0.99 is unsupported"),
        "{:?}",
        done.notes
    );
    assert_eq!((done.variables.len(), done.left.len()), (0, FILES.len()));
}

// row 10.2/D22
#[test]
fn of_a_variable_that_is_set_twice_the_last_value_counts() {
    let pair = |name: &str, value: &str| format!("[[build.env]]\nname = \"{name}\"\nvalue = \"{value}\"\n");
    let text = [
        pair("keyA", "a"),
        pair("keyB", "b"),
        pair("keyC", "not this"),
        pair("keyC", "c"),
    ]
    .concat();
    assert_eq!(
        done(&text).variables,
        variables(&[("keyA", "a"), ("keyB", "b"), ("keyC", "c")])
    );
}

// rows 10.2/D23 10.2/D24
#[test]
fn the_newer_spelling_of_the_environment_replaces_the_older_one() {
    let pair = |table: &str, value: &str| format!("[[{table}]]\nname = \"keyA\"\nvalue = \"{value}\"\n");
    let (new, old) = ("io.buildpacks.build.env", "io.buildpacks.env.build");
    let text = [VERSION_2, &pair(old, "old"), &pair(new, "new")].concat();
    assert_eq!(done(&text).variables, variables(&[("keyA", "new")]));
    for table in [old, "io.buildpacks.env"] {
        let text = [VERSION_2, &pair(table, "old")].concat();
        assert_eq!(done(&text).variables, variables(&[("keyA", "old")]), "{table}");
    }
}

// rows 10.2/D25 10.2/D26
#[test]
fn names_and_values_of_the_environment_are_texts() {
    let text =
        |name: &str, value: &str| format!("{VERSION_2}[[io.buildpacks.env.build]]\nname = {name}\nvalue = {value}\n");
    let error = refused(&text("\"KEY_A\"", "1"));
    assert!(error.contains("KEY_A") && error.contains("string"), "{error}");
    let error = refused(&text("1", "\"value\""));
    assert!(error.contains("name") && error.contains("string"), "{error}");
}

// row 10.2/D27
#[test]
fn what_is_excluded_goes_and_the_rest_stays() {
    let text = "[build]\nexclude = [\"*.sh\", \"secrets/\", \"media/metadata\", \"/other-cookie.jar\", \
                \"/nested-cookie.jar\"]\n";
    let expected = [
        "media/mountain.jpg",
        "media/person.png",
        "cookie.jar",
        "nested/nested-cookie.jar",
        "api/Main.java",
    ];
    assert_eq!(done(text).left, expected.map(str::to_owned).into());
}

// row 10.2/D28
#[test]
fn what_is_included_stays_and_the_rest_goes() {
    let text = "[build]\ninclude = [\"*.jar\", \"media/mountain.jpg\", \"/media/person.png\"]\n";
    let expected = [
        "cookie.jar",
        "other-cookie.jar",
        "nested-cookie.jar",
        "nested/nested-cookie.jar",
        "media/mountain.jpg",
        "media/person.png",
    ];
    assert_eq!(done(text).left, expected.map(str::to_owned).into());
}

// row 10.2/D29
#[test]
fn including_and_excluding_at_once_is_refused() {
    let error = refused("[build]\ninclude = [\"*.jar\"]\nexclude = [\"*.sh\"]\n");
    assert_eq!(error, "project descriptor cannot have both include and exclude defined");
}

// row 10.2/D30
#[test]
fn builder_and_buildpacks_of_a_descriptor_are_passed_over_and_said_to_be() {
    for text in [
        "[build]\nbuilder = \"x\"\n[[build.buildpacks]]\nid = \"a\"\n".to_owned(),
        format!("{VERSION_2}[io.buildpacks]\nbuilder = \"x\"\n[[io.buildpacks.group]]\nid = \"a\"\n"),
    ] {
        let done = done(&text);
        let said = |what: &str| {
            let line = format!("info: {what} provided in project descriptor file will be ignored");
            done.notes.contains(&line)
        };
        assert!(said("builder") && said("buildpacks"), "{:?}", done.notes);
        assert_eq!(done.left.len(), FILES.len());
    }
}

#[test]
fn keys_of_a_descriptor_match_without_regard_to_case() {
    let left = ["secrets/api_keys.json", "secrets/user_token", "media/mountain.jpg"];
    for (head, table) in [("[_]\nSchema-Version = \"0.2\"\n", "IO.Buildpacks"), ("", "Build")] {
        let env = if head.is_empty() {
            "Build.Env"
        } else {
            "io.BUILDPACKS.Build.env"
        };
        let env = env.replace("io.BUILDPACKS", table);
        let text = format!(
            "{head}[{table}]\nINCLUDE = [\"secrets/\", \"media/mountain.jpg\"]\nBuilder = \"x\"\n\
             [[{env}]]\nName = \"A\"\nVALUE = \"1\"\n"
        );
        let done = done(&text);
        assert_eq!(done.left, left.map(str::to_owned).into(), "{text}");
        assert_eq!(done.variables, variables(&[("A", "1")]), "{text}");
        assert_eq!(done.notes.len(), 1, "{text}");
    }
    let exact_first = done("[build]\nExclude = [\"*.jar\"]\nexclude = [\"secrets/\"]\n");
    assert!(exact_first.left.contains("cookie.jar") && !exact_first.left.contains("secrets/user_token"));
}

#[test]
fn the_older_spelling_of_the_environment_is_a_map_with_exact_keys() {
    let error = refused(&format!(
        "{VERSION_2}[[io.buildpacks.Env.build]]\nName = \"A\"\nvalue = \"1\"\n"
    ));
    assert!(error.contains("env.build.name") && error.contains("string"), "{error}");
    let other = done(&format!(
        "{VERSION_2}[[io.buildpacks.env.Build]]\nname = \"A\"\nvalue = \"1\"\n"
    ));
    assert!(other.variables.is_empty());
}

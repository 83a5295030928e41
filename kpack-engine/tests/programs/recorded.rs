//! Recorded runs of prepare that are about its other steps than the source; those of the source are replayed by source-fetch.

use kpack_engine::programs::Program;
use serde_json::Value;
use test_support::{GitServer, Registry};

use crate::step::{Outcome, Pod, push, store};

/// Each case with the part of its last line that ours has, too: the rest of it is Go's words for what the system says.
const GIT: [(&str, &str); 8] = [
    ("bad-secret-argument", "could not parse git secret argument g1"),
    ("docker-secret-missing-directory", "Successfully cloned "),
    ("basic-docker-secret-missing", "none"),
    ("bad-docker-argument", "could not parse docker secret argument x"),
    ("no-source", "no git url, blob url, or registry image provided"),
    (
        "write-access-refused",
        "Error verifying write access to \"localhost:1/team/app\": ",
    ),
    ("bad-image-tag", "could not parse reference: Bad Tag"),
    ("run-image-missing", "Error verifying read access to run image "),
];

/// What comes before a source in every log, and is left out of the recorded ones.
const PREAMBLE: [&str; 3] = [
    "Loading registry credentials from service account secrets",
    "No registry credentials were loaded from service account secrets",
    "Loading cluster credential helpers",
];

fn case(text: &str, name: &str) -> Value {
    let recorded: Value = serde_json::from_str(text).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    cases.iter().find(|case| case["name"] == name).unwrap().clone()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !PREAMBLE.contains(line)).collect()
}

fn check(name: &str, case: &Value, outcome: &Outcome, shared: &str, place: &dyn Fn(&str) -> String) {
    let recorded = case["out"]["log"].as_array().unwrap();
    let mut recorded: Vec<String> = recorded.iter().map(|line| place(line.as_str().unwrap())).collect();
    assert_eq!(
        i64::from(outcome.code),
        case["out"]["exit"].as_i64().unwrap(),
        "{name}: {outcome:?}"
    );
    let all = format!("{}{}", outcome.out, outcome.err);
    let mut ours = lines(&all);
    let (theirs, last) = (recorded.pop().unwrap(), ours.pop().unwrap());
    assert!(
        theirs.contains(shared) && last.contains(shared),
        "{name}: {last:?} instead of {theirs:?}"
    );
    assert_eq!(ours, recorded, "{name}");
}

#[test]
fn recorded_runs_about_arguments_and_access_end_as_there() {
    let git = GitServer::start().unwrap();
    git.create_repository("open")
        .unwrap()
        .commit(&[("f", "2\n")], "one")
        .unwrap();
    let registry = Registry::start().unwrap();
    let image = |name: &str| format!("{}/{name}", registry.host());
    push(&store(&registry, false), &image("run:1"), ("etc/os", "x"), &[]);
    for (name, shared) in GIT {
        let case = case(include_str!("../fixtures/source/git-fetch.json"), name);
        let pod = Pod::new();
        let workspace = format!("\"{}\"", pod.path("workspace").display());
        let place = |text: &str| {
            let text = text
                .replace("<git>/open.git", &git.url("open"))
                .replace("\"/workspace\"", &workspace);
            text.replace("<registry>", &registry.host())
        };
        let args: Vec<&str> = case["args"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let (url, revision) = (place(case["url"].as_str().unwrap()), case["revision"].as_str().unwrap());
        let mut env = vec![
            ("GIT_URL".to_owned(), url),
            ("GIT_REVISION".to_owned(), revision.to_owned()),
            ("IMAGE_TAG".to_owned(), image("app:1")),
            ("RUN_IMAGE".to_owned(), image("run:1")),
        ];
        for (key, value) in case["env"].as_object().into_iter().flatten() {
            env.retain(|(other, _)| other != key);
            env.push((key.clone(), place(value.as_str().unwrap())));
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let outcome = pod.run(Program::Prepare, &args, &env);
        check(name, &case, &outcome, shared, &place);
        let is_there = pod.path("workspace/f").exists();
        assert_eq!(is_there, case["out"]["exit"] == 0, "{name}");
    }
}

#[test]
fn the_recorded_pull_secret_that_is_no_json_ends_the_step_before_anything_is_pulled() {
    let registry = Registry::start().unwrap();
    let image = |name: &str| format!("{}/{name}", registry.host());
    for name in ["run:1", "src/app:v1"] {
        push(&store(&registry, false), &image(name), ("app/a.txt", "a\n"), &[]);
    }
    let case = case(include_str!("../fixtures/source/registry.json"), "pull-secret-bad-json");
    let pod = Pod::new();
    std::fs::create_dir(pod.path("sourceSecrets")).unwrap();
    for (file, text) in case["pull"].as_object().unwrap() {
        std::fs::write(pod.path("sourceSecrets").join(file), text.as_str().unwrap()).unwrap();
    }
    let (tag, run) = (image("app:1"), image("run:1"));
    let source = case["image"].as_str().unwrap().replace("<registry>", &registry.host());
    let env = [
        ("REGISTRY_IMAGE", source.as_str()),
        ("IMAGE_TAG", &tag),
        ("RUN_IMAGE", &run),
    ];
    let outcome = pod.run(Program::Prepare, &[], &env);
    assert_eq!(
        i64::from(outcome.code),
        case["out"]["exit"].as_i64().unwrap(),
        "{outcome:?}"
    );
    assert!(outcome.err.contains("secret registry source"), "{}", outcome.err);
    assert!(
        !outcome.out.contains("Pulling") && !outcome.err.contains("nope"),
        "{outcome:?}"
    );
    assert_eq!(std::fs::read_dir(pod.path("workspace")).unwrap().count(), 0);
}

//! What `kubectl` printed against a real server with kpack, compared with what it prints here.

use std::fs;
use std::process::{Command, Stdio};

use kpack_engine::{Kind, Object, Resources};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::world::World;

#[derive(Deserialize)]
struct Case {
    name: String,
    argv: Vec<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    env: std::collections::BTreeMap<String, String>,
    exit: i32,
    stdout: String,
    stderr: String,
}

#[derive(Deserialize)]
struct Setup {
    case: String,
    #[serde(default)]
    before: Vec<Value>,
}

/// Cases whose output is about things that are not here: other versions, controllers, kinds that are not
/// served. Each with its reason.
fn reason_to_skip(name: &str) -> Option<&'static str> {
    let controllers = [
        "get clusterstores",
        "get clusterstacks",
        "get clusterbuilders",
        "get clusterbuilder",
        "get clusterstore",
        "get clusterstack",
        "get clusterlifecycles",
        "get category",
        "wait",
        "get build",
        "get bld",
        "get sourceresolver",
        "get pods",
        "get pod",
        "get two kinds",
        "get with chunks",
        "logs",
        "get images after build",
        "describe build",
        "describe pod",
        "describe clusterbuilder",
        "trigger",
        "delete build by name",
        "get images watched",
        "get image by name watched",
        "get images none",
        "get images",
        "get img short name",
        "get image all namespaces",
        "get by field selector",
        "get image json",
        "get image v1alpha1",
        "get image no headers",
        "describe image",
        "add a finalizer",
    ];
    match name {
        "version" | "version json" => Some("the client is another one"),
        "cluster-info" | "api-versions" | "api-resources" | "get namespaces" => {
            Some("fewer kinds and namespaces are here")
        }
        "get raw apis group" | "get raw apis version" | "get raw core version" => {
            Some("keys of JSON come in another order")
        }
        "api-resources of the group" | "api-resources with legacy discovery" => None,
        "apply image with an unknown field" => Some("we warn of unknown fields, on purpose"),
        "describe namespace" => Some("quotas and limits are not served"),
        "explain image" | "explain pod containers" => Some("schemas are not served"),
        "auth can-i list" | "auth whoami" => Some("the user has another name and one rule for all"),
        "events" | "events for an object" | "get events" => Some("ages are those of today"),
        _ if is_experiment(name) => Some("parts of the server are taken away"),
        _ if controllers.iter().any(|prefix| name.starts_with(prefix)) => Some("needs controllers"),
        _ => None,
    }
}

fn is_experiment(name: &str) -> bool {
    ["minimal", "openapi stub", "warm"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn only_reads(argv: &[String]) -> bool {
    let changing = [
        "create", "apply", "delete", "patch", "label", "annotate", "replace", "edit", "set", "scale",
    ];
    !argv.get(1).is_some_and(|verb| changing.contains(&verb.as_str()))
}

#[test]
fn kubectl_prints_what_it_prints_with_a_real_server() {
    let world = World::start();
    let client = world.kubectl(&["version", "--client", "-o", "json"]);
    let client: Value = serde_json::from_str(&client).unwrap();
    let minor = client["clientVersion"]["minor"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches('+')
        .to_owned();
    if minor.parse::<u32>().is_ok_and(|minor| minor < 32) {
        eprintln!("kubectl 1.{minor} words its messages in another way than the recorded 1.32");
        return;
    }
    // The recorded context had no namespace.
    let kubeconfig = fs::read_to_string(world.kubeconfig()).unwrap();
    fs::write(world.kubeconfig(), kubeconfig.replace("    namespace: default\n", "")).unwrap();
    let cases: Value = serde_json::from_str(include_str!("../fixtures/kubectl/kubectl-commands.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_value(cases["cases"].clone()).unwrap();
    let setup: Value = serde_json::from_str(include_str!("../fixtures/kubectl/setup.json")).unwrap();
    let setup: Vec<Setup> = serde_json::from_value(setup["kubectl-commands"].clone()).unwrap();
    let normal = Normal::of(&world);
    let (mut compared, mut different) = (0, Vec::new());
    for case in cases {
        for step in setup
            .iter()
            .filter(|setup| setup.case == case.name)
            .flat_map(|setup| &setup.before)
        {
            prepare(&world, step);
        }
        // What is skipped may still change something that later cases are about.
        let skipped = reason_to_skip(&case.name).is_some();
        if skipped && (is_experiment(&case.name) || only_reads(&case.argv)) {
            continue;
        }
        let output = run(&world, &case);
        if skipped {
            continue;
        }
        compared += 1;
        let (exit, out, err) = output;
        let seen = (exit, normal.apply(&out), normal.apply(&err));
        let expected = (case.exit, squeeze(&case.stdout), squeeze(&case.stderr));
        if seen != expected {
            different.push(format!(
                "{} ({}):\n  expected {expected:?}\n  seen     {seen:?}",
                case.name,
                case.argv.join(" ")
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {compared} differ:\n{}",
        different.len(),
        different.join("\n")
    );
    assert!(compared > 70, "{compared}");
}

const REGISTRY: &str = "127.0.0.1:5162";
const GIT: &str = "127.0.0.1:9418";

fn filled(world: &World, text: &str) -> String {
    text.replace("<registryhost>", REGISTRY)
        .replace("<git-hostport>", GIT)
        .replace("<tmp>", &world.dir().display().to_string())
}

fn prepare(world: &World, step: &Value) {
    if let (Some(file), Some(content)) = (step["file"].as_str(), step["content"].as_str()) {
        let path = world.dir().join(file);
        fs::write(&path, filled(world, content)).unwrap();
        if path.extension().is_some_and(|extension| extension == "sh") {
            Command::new("chmod").arg("+x").arg(&path).status().unwrap();
        }
    }
    if let Some(body) = step
        .get("body")
        .filter(|_| step["api"].as_str().is_some_and(|api| api.starts_with("POST")))
    {
        let _ = world.store.create(Object::from_value(body.clone()).unwrap());
    }
}

fn run(world: &World, case: &Case) -> (i32, String, String) {
    if case.argv[0] != "kubectl" {
        return (0, String::new(), String::new());
    }
    // The default lifecycle is made by the case itself.
    if case.name == "apply many kinds" {
        let _ = world.store.delete(Kind::ClusterLifecycle, None, "default-lifecycle");
    }
    let arguments: Vec<String> = case.argv[1..].iter().map(|word| filled(world, word)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = world.command(&arguments);
    command.envs(case.env.iter().map(|(name, value)| (name, filled(world, value))));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), filled(world, &case.stdin).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// What differs from run to run, replaced as in the recording.
struct Normal(Vec<(Regex, &'static str)>);

impl Normal {
    fn of(world: &World) -> Self {
        let literal = |text: &str| regex::escape(text);
        let rules = [
            (literal(REGISTRY), "<registryhost>"),
            (literal(GIT), "<git-hostport>"),
            (literal(&world.dir().display().to_string()), "<tmp>"),
            (literal(&world.url()), "<server>"),
            ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}".to_owned(), "<uid>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z".to_owned(), "<time>"),
            (r#"resourceVersion: "\d+""#.to_owned(), r#"resourceVersion: "<rv>""#),
            (r"Resource Version:( +)\d+".to_owned(), "Resource Version:$1<rv>"),
            (r"(?m)(^| )\d+[smhd](\d+[smh])?( |$)".to_owned(), "$1<age>$3"),
        ];
        Self(
            rules
                .into_iter()
                .map(|(rule, by)| (Regex::new(&rule).unwrap(), by))
                .collect(),
        )
    }

    fn apply(&self, text: &str) -> String {
        squeeze(&self.0.iter().fold(text.to_owned(), |text, (rule, by)| {
            rule.replace_all(&text, *by).into_owned()
        }))
    }
}

/// The width of columns depends on the width of what stands in them.
fn squeeze(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| {
        line.split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

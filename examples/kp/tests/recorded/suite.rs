//! Replays a suite, case by case: the state builds up.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use kpack_engine::{Kind, Object, Resources};
use serde_json::Value;

use crate::case::{self, Case, Setup};
use crate::kubelet;
use crate::normal::Normal;
use crate::world::{World, write_layout};

/// The marks that stand for a text that was not recorded.
const NOT_RECORDED: [&str; 3] = [
    "<usage text not recorded>",
    "<script not recorded>",
    "<rest not recorded>",
];

/// Runs all cases of a suite. Those that `exceptions` names must differ, all others must not.
pub(crate) fn replay(suite: &str, text: &str, exceptions: &[(&str, &str)]) {
    let world = World::start();
    let normal = world.normal();
    let setups = case::setups(suite);
    let cases = case::cases(text);
    let known = |name: &str| exceptions.iter().any(|(case, _)| *case == name);
    let (mut same, mut different, mut healed) = (0, Vec::new(), Vec::new());
    for (position, case) in cases.iter().enumerate() {
        let none = Setup::default();
        let setup = setups.get(&case.name).unwrap_or(&none);
        // What a command that waits waits for has been ended while it waited.
        let waited = position > 0 && cases[position - 1].waits();
        for step in setup
            .before
            .iter()
            .filter(|step| !(waited && step["build"].is_string()))
        {
            prepare(&world, suite, step);
        }
        world.settle();
        world.tick();
        let meanwhile = cases
            .get(position + 1)
            .filter(|_| case.waits())
            .and_then(|next| setups.get(&next.name));
        let (exit, out, err) = std::thread::scope(|scope| {
            for step in meanwhile
                .into_iter()
                .flat_map(|setup| &setup.before)
                .filter(|step| step["build"].is_string())
            {
                let world = &world;
                scope.spawn(move || prepare(world, suite, step));
            }
            run(&world, case, setup)
        });
        let problems = compare(&normal, case, (exit, &out, &err));
        match (problems.is_empty(), known(&case.name)) {
            (true, false) => same += 1,
            (true, true) => healed.push(case.name.clone()),
            (false, true) => {}
            (false, false) => {
                let problems = format!("{} ({}):\n{problems}", case.name, case.argv.join(" "));
                eprintln!("{problems}");
                different.push(problems);
            }
        }
    }
    eprintln!(
        "{suite}: {same} of {} cases as recorded, {} known to differ:",
        cases.len(),
        exceptions.len()
    );
    for (case, reason) in exceptions {
        eprintln!("  {case}: {reason}");
    }
    assert!(healed.is_empty(), "these are as recorded after all: {healed:?}");
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

fn prepare(world: &World, suite: &str, step: &Value) {
    let path = |field: &str| step[field].as_str().map(|name| world.tmp().join(name));
    if let Some(files) = step["commit"].as_object() {
        world.commit(files);
    } else if let Some(path) = path("cnb") {
        write_layout(&path, step["of"].as_str().unwrap());
    } else if let Some(path) = path("file") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, world.filled(step["content"].as_str().unwrap())).unwrap();
        if path.extension().is_some_and(|extension| extension == "sh") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    } else if let Some(wait) = step["wait"].as_str() {
        wait_for(world, wait);
    } else if step["build"].is_string() {
        kubelet::act(world, suite, step);
    } else if step["api"].as_str().is_some_and(|api| api.starts_with("POST ")) {
        let body: Value = serde_json::from_str(&world.filled(&step["body"].to_string())).unwrap();
        world.store.create(Object::from_value(body).unwrap()).unwrap();
    } else {
        panic!("a step of another kind: {step}");
    }
}

/// `clusterstacks/base Ready=True`, `images/app in shop Ready=True` or `build shop/app-build-1 exists`.
fn wait_for(world: &World, wait: &str) {
    let words: Vec<_> = wait.split(' ').collect();
    match words[..] {
        ["build", build, "exists"] => {
            let (namespace, name) = build.split_once('/').unwrap();
            world.wait(Kind::Build, Some(namespace), name, |_| true);
        }
        [object, condition] => settle(world, object, None, condition),
        [object, "in", namespace, condition] => settle(world, object, Some(namespace), condition),
        _ => panic!("a condition of another kind: {wait}"),
    }
}

fn settle(world: &World, object: &str, namespace: Option<&str>, condition: &str) {
    let (plural, name) = object.split_once('/').unwrap();
    let kind = Kind::all().find(|kind| kind.plural() == plural).unwrap();
    let (wanted, status) = condition.split_once('=').unwrap();
    world.wait(kind, namespace, name, |object| {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        let observed = object
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        observed >= object.generation()
            && conditions.any(|condition| condition["type"] == wanted && condition["status"] == status)
    });
}

fn run(world: &World, case: &Case, setup: &Setup) -> (i32, String, String) {
    let mut command = world.command(&case.argv[0]);
    command.args(case.argv[1..].iter().map(|word| world.filled(word)));
    let env: BTreeMap<_, _> = case
        .env
        .iter()
        .map(|(name, value)| (name, world.filled(value)))
        .collect();
    command.envs(env);
    if let Some(kubeconfig) = &setup.kubeconfig {
        command.env("KUBECONFIG", world.filled(kubeconfig));
    }
    let mut child = command.spawn().unwrap();
    // A program that reads nothing may have closed it.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(world.filled(&case.stdin).as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// What is not as recorded, in words; empty when all is.
fn compare(normal: &Normal, case: &Case, (exit, out, err): (i32, &str, &str)) -> String {
    let mut problems = String::new();
    let varies = |part: &str| case.varies.iter().any(|varies| varies == part);
    if exit != case.exit && !varies("exit") {
        problems += &format!("  exit code {exit} instead of {}\n", case.exit);
    }
    for (part, expected, seen) in [("stdout", &case.stdout, out), ("stderr", &case.stderr, err)] {
        if varies(part) {
            continue;
        }
        let (expected, mut seen) = (normal.expected(expected), normal.seen(seen));
        let recorded = NOT_RECORDED.iter().find_map(|mark| expected.strip_suffix(mark));
        if let Some(beginning) = recorded {
            if seen.len() > beginning.len() && seen.starts_with(beginning) {
                continue;
            }
            seen.truncate(2000);
        }
        if seen != expected {
            problems += &difference(part, &expected, &seen);
        }
    }
    problems
}

/// The first line that differs.
fn difference(part: &str, expected: &str, seen: &str) -> String {
    let (mut expected, mut seen) = (expected.split('\n'), seen.split('\n'));
    for line in 1.. {
        let (one, other) = (expected.next(), seen.next());
        if one != other || one.is_none() {
            let show = |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("{line:?}"));
            return format!(
                "  {part} line {line}:\n    expected {}\n    seen     {}\n",
                show(one),
                show(other)
            );
        }
    }
    String::new()
}

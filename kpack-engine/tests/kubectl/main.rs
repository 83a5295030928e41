//! Unmodified `kubectl` against the server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod old_version;
mod recorded;
mod watching;
mod world;

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kpack_engine::logs::LogName;
use kpack_engine::{Kind, Object, Resources};
use serde_json::json;

use world::World;

/// One object of each kind, in the order in which they need each other.
const EVERY_KIND: &str = include_str!("every-kind.yaml");

#[test]
fn every_kind_is_created_applied_shown_patched_and_deleted() {
    let world = World::start();
    let created = world.pipe(EVERY_KIND, &["create", "-f", "-"]);
    assert_eq!(
        created.lines().filter(|line| line.ends_with(" created")).count(),
        18,
        "{created}"
    );
    // What `create` made, `apply` takes over; the second time nothing changes.
    world.pipe(EVERY_KIND, &["apply", "-f", "-"]);
    let again = world.pipe(EVERY_KIND, &["apply", "-f", "-"]);
    assert_eq!(
        again.lines().filter(|line| line.ends_with(" unchanged")).count(),
        18,
        "{again}"
    );
    let applied = world.pipe(EVERY_KIND, &["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    assert_eq!(
        applied
            .lines()
            .filter(|line| line.ends_with(" serverside-applied"))
            .count(),
        18,
        "{applied}"
    );
    for kind in Kind::all() {
        let (resource, name) = (kind.resource(), if kind == Kind::Namespace { "every" } else { "one" });
        let at: &[&str] = if kind.is_namespaced() { &["-n", "every"] } else { &[] };
        let table = world.kubectl(&[&["get", &resource, name], at].concat());
        assert!(table.starts_with("NAME") || kind == Kind::Event, "{table}");
        assert!(table.contains(name) || kind == Kind::Event, "{table}");
        let yaml = world.kubectl(&[&["get", &resource, name, "-o", "yaml"], at].concat());
        assert!(
            yaml.contains(&format!("kind: {kind}\n")) && yaml.contains("uid: "),
            "{yaml}"
        );
        world.kubectl(&[&["label", &resource, name, "seen=yes"], at].concat());
        let selected = world.kubectl(&[&["get", &resource, "-l", "seen=yes", "-o", "name"], at].concat());
        assert!(selected.trim_end().ends_with(&format!("/{name}")), "{selected}");
    }
    for described in ["image", "pod", "secret", "clusterbuilder", "namespace/every"] {
        let mut arguments = vec!["describe", described, "-n", "every"];
        if !described.contains('/') {
            arguments.push("one");
        }
        assert!(world.kubectl(&arguments).starts_with("Name:"), "{described}");
    }
    world.pipe(
        EVERY_KIND,
        &["delete", "--ignore-not-found", "--timeout=30s", "-f", "-"],
    );
    for kind in Kind::all().filter(|kind| !matches!(kind, Kind::Namespace | Kind::ServiceAccount)) {
        let left = world
            .store
            .list(kind, None, &kpack_engine::Selector::everything())
            .unwrap()
            .items;
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn of_those_who_apply_the_same_new_object_at_once_nobody_fails() {
    let world = World::start();
    let manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: shared, namespace: default}, data: {a: b}}";
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.pipe(manifest, &["apply", "--server-side", "-f", "-"]));
        }
    });
    let data = world.kubectl(&["get", "configmap", "shared", "-o", "jsonpath={.data}"]);
    assert_eq!(data, r#"{"a":"b"}"#);
}

#[test]
fn waiting_for_a_condition_ends_when_it_comes() {
    let world = World::start();
    world.pipe(EVERY_KIND, &["apply", "-f", "-"]);
    let wait = [
        "wait",
        "--for=condition=Ready",
        "image/one",
        "-n",
        "every",
        "--timeout=60s",
        "-v=6",
    ];
    let mut wait = world.command(&wait).stderr(Stdio::piped()).spawn().unwrap();
    // It says which requests it has made: the change comes when it already watches.
    let mut requests = world::lines(wait.stderr.take().unwrap());
    assert!(requests.any(|line| line.contains("watch=true")));
    let rest = std::thread::spawn(move || requests.count());
    let mut image = world.store.get(Kind::Image, Some("every"), "one").unwrap().unwrap();
    image.set("status", json!({"conditions": [{"type": "Ready", "status": "True"}]}));
    world.store.update_status(image).unwrap();
    assert!(wait.wait().unwrap().success());
    rest.join().unwrap();
}

fn start_container(world: &World, state: serde_json::Value) -> Object {
    let mut pod = world.store.get(Kind::Pod, Some("every"), "one").unwrap().unwrap();
    pod.set("status", json!({
        "phase": "Running",
        "containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": true, "restartCount": 0, "state": state}],
    }));
    world.store.update_status(pod).unwrap()
}

#[test]
fn logs_are_followed_until_the_container_ends() {
    let world = World::start();
    world.pipe(EVERY_KIND, &["apply", "-f", "-"]);
    let pod = start_container(&world, json!({"running": {"startedAt": "2026-01-05T10:00:00Z"}}));
    let name = LogName::new("every", "one", pod.uid(), "main").unwrap();
    let mut log = world.logs.writer(&name).unwrap();
    writeln!(log, "===> BUILDING").unwrap();
    let mut logs = world
        .command(&["logs", "-f", "one", "-n", "every"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = world::lines(logs.stdout.take().unwrap());
    assert_eq!(lines.next().as_deref(), Some("===> BUILDING"));
    writeln!(log, "second").unwrap();
    assert_eq!(lines.next().as_deref(), Some("second"));
    drop(log);
    assert_eq!(lines.next(), None);
    assert!(logs.wait().unwrap().success());
    assert_eq!(
        world.kubectl(&["logs", "one", "-n", "every", "-c", "main", "--tail=1"]),
        "second\n"
    );
}

#[test]
fn who_does_not_have_the_token_is_not_let_in() {
    let world = World::start();
    let config = std::fs::read_to_string(world.kubeconfig()).unwrap();
    let stranger = world.dir().join("stranger");
    let token = config
        .lines()
        .find(|line| line.trim_start().starts_with("token: "))
        .unwrap();
    std::fs::write(&stranger, config.replace(token, "    token: guess")).unwrap();
    let output = world
        .command(&["get", "secrets", "-A"])
        .env("KUBECONFIG", &stranger)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Unauthorized") || output.stdout.is_empty());
}

#[test]
fn the_kubeconfig_stays_valid_over_restarts() {
    let world = World::start();
    let before = std::fs::read_to_string(world.kubeconfig()).unwrap();
    let started = Instant::now();
    let world = world.restart();
    assert_eq!(std::fs::read_to_string(world.kubeconfig()).unwrap(), before);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(world.kubectl(&["get", "ns"]).contains("default"));
}

//! `kubectl get --watch` and `kubectl logs -f` of what the flow uses.

use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use kpack_engine::logs::LogName;
use kpack_engine::{Kind, Object, Resources};
use serde_json::{Value, json};

use crate::world::{self, World};

const EVERY_KIND: &str = include_str!("every-kind.yaml");

/// A `kubectl` that watches, and what it has printed so far; it ends with its value.
struct Watching {
    child: Child,
    output: ChildStdout,
    seen: String,
}

impl Watching {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.command(&[arguments, &["--request-timeout=60s"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        Self {
            child,
            output,
            seen: String::new(),
        }
    }

    /// Reads on until what was printed is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let mut bytes = [0; 4096];
        while !wanted(&self.seen) {
            let read = self.output.read(&mut bytes).unwrap();
            assert!(read > 0, "the watch ended before {what}: {}", self.seen);
            self.seen += &String::from_utf8_lossy(&bytes[..read]);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The objects of `every-kind.yaml`, one manifest each, in its order.
fn manifests() -> impl Iterator<Item = (Kind, &'static str)> {
    EVERY_KIND.split("\n---\n").map(|text| {
        let named = |kind: &Kind| text.contains(&format!("\nkind: {kind}\n"));
        (Kind::all().find(named).unwrap(), text)
    })
}

#[test]
fn every_kind_is_watched_from_its_creation_to_its_deletion() {
    let world = World::start();
    world.kubectl(&["create", "namespace", "every"]);
    let mut kinds = 0;
    for (kind, manifest) in manifests().filter(|(kind, _)| *kind != Kind::Namespace) {
        kinds += 1;
        let resource = kind.resource();
        let at: &[&str] = if kind.is_namespaced() { &["-n", "every"] } else { &[] };
        let watch = |format: &[&str]| Watching::start(&world, &[&["get", &resource, "--watch"], format, at].concat());
        let mut table = watch(&["--output-watch-events"]);
        let mut yaml = watch(&["-o", "yaml"]);
        let event = |seen: &str, event: &str| {
            let rows = seen.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            // An Event has no column with its name.
            rows.into_iter()
                .any(|row| row.first() == Some(&event) && (kind == Kind::Event || row.get(1) == Some(&"one")))
        };
        world.pipe(manifest, &["create", "-f", "-"]);
        table.until(&format!("a new {kind}"), |seen| event(seen, "ADDED"));
        assert!(table.seen.starts_with("EVENT "), "{}", table.seen);
        yaml.until(&format!("a new {kind}"), |seen| seen.contains("\n  uid: "));
        assert!(yaml.seen.contains(&format!("kind: {kind}\n")), "{}", yaml.seen);

        // A second time with `apply`, which changes it.
        let changed = manifest.replacen("name: one", "name: one, labels: {seen: \"yes\"}", 1);
        world.pipe(&changed, &["apply", "-f", "-"]);
        table.until(&format!("a changed {kind}"), |seen| event(seen, "MODIFIED"));
        yaml.until(&format!("a changed {kind}"), |seen| {
            seen.contains("\n    seen: \"yes\"\n")
        });

        world.kubectl(&[&["delete", &resource, "one"], at].concat());
        table.until(&format!("a deleted {kind}"), |seen| event(seen, "DELETED"));
    }
    assert_eq!(kinds, Kind::all().count() - 1, "a kind has no manifest");
}

/// The pod of a Build: its steps, of which the given one runs and those before it have ended.
fn build_pod(running: Option<&str>) -> Value {
    let steps = [
        "prepare",
        "analyze",
        "detect",
        "restore",
        "build",
        "export",
        "completion",
    ];
    let at = running.map_or(steps.len(), |name| steps.iter().position(|step| *step == name).unwrap());
    let status = |(position, name): (usize, &&str)| {
        let time = "2026-01-05T10:00:00Z";
        let state = match position.cmp(&at) {
            std::cmp::Ordering::Less => json!({"terminated": {"exitCode": 0, "startedAt": time, "finishedAt": time}}),
            std::cmp::Ordering::Equal => json!({"running": {"startedAt": time}}),
            std::cmp::Ordering::Greater => json!({"waiting": {"reason": "PodInitializing"}}),
        };
        json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    };
    let statuses: Vec<_> = steps.iter().enumerate().map(status).collect();
    let (init, last) = statuses.split_at(steps.len() - 1);
    json!({
        "phase": if running.is_some() { "Pending" } else { "Succeeded" },
        "initContainerStatuses": init, "containerStatuses": last,
    })
}

#[test]
fn the_steps_of_a_build_are_followed_by_name() {
    let world = World::start();
    world.pipe(EVERY_KIND, &["apply", "-f", "-"]);
    let containers = |names: &[&str]| {
        names
            .iter()
            .map(|name| json!({"name": name, "image": "x"}))
            .collect::<Vec<_>>()
    };
    let mut pod = Object::new(Kind::Pod, Some("every"), "one-build-pod");
    pod.set_label("image.kpack.io/image", "one");
    pod.set(
        "spec",
        json!({
            "initContainers": containers(&["prepare", "analyze", "detect", "restore", "build", "export"]),
            "containers": containers(&["completion"]),
        }),
    );
    let pod = world.store.create(pod).unwrap();
    let state = |running: Option<&str>| {
        let mut pod = world
            .store
            .get(Kind::Pod, Some("every"), "one-build-pod")
            .unwrap()
            .unwrap();
        pod.set("status", build_pod(running));
        world.store.update_status(pod).unwrap();
    };
    let log = |step: &str| {
        world
            .logs
            .writer(&LogName::new("every", "one-build-pod", pod.uid(), step).unwrap())
            .unwrap()
    };

    state(Some("detect"));
    let mut detect = log("detect");
    writeln!(detect, "acme/web 1.4.0").unwrap();
    let follow = ["logs", "-f", "one-build-pod", "-n", "every", "-c", "detect"];
    let mut follow = world.command(&follow).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = world::lines(follow.stdout.take().unwrap());
    assert_eq!(lines.next().as_deref(), Some("acme/web 1.4.0"));
    writeln!(detect, "acme/extra 0.1.0").unwrap();
    assert_eq!(lines.next().as_deref(), Some("acme/extra 0.1.0"));
    // The step ends, and with it the command, while the build goes on.
    drop(detect);
    state(Some("build"));
    assert_eq!(lines.next(), None);
    assert!(follow.wait().unwrap().success());

    drop(log("prepare"));
    for step in ["analyze", "restore", "build", "export", "completion"] {
        writeln!(log(step), "this is {step}").unwrap();
    }
    state(None);
    let all = world.kubectl(&[
        "logs",
        "-l",
        "image.kpack.io/image=one",
        "-n",
        "every",
        "--all-containers",
        "--tail=-1",
    ]);
    for line in [
        "acme/web 1.4.0",
        "acme/extra 0.1.0",
        "this is build",
        "this is completion",
    ] {
        assert_eq!(all.lines().filter(|other| *other == line).count(), 1, "{line}: {all}");
    }
    let one = world.kubectl(&["logs", "-f", "one-build-pod", "-n", "every", "-c", "export"]);
    assert_eq!(one, "this is export\n");
}

#[test]
fn a_watch_for_longer_than_any_time_begins_all_the_same() {
    let world = World::start();
    let watch = format!("/api/v1/namespaces?watch=true&timeoutSeconds={}", u64::MAX);
    let mut watching = Watching::start(&world, &["get", "--raw", &watch]);
    watching.until("what is there", |seen| seen.contains("\"name\":\"default\""));
}

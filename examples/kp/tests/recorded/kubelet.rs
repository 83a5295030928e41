//! The authored kubelet: what build pods did in the recording.

use std::io::Write as _;

use kpack_engine::logs::LogName;
use kpack_engine::{Kind, Object, Resources};
use rebuild_policy::{BuildMetadata, BuildpackMetadata};
use serde_json::{Value, json};

use crate::world::World;

/// What each step printed.
fn output(step: &str, reasons: &str) -> String {
    match step {
        "prepare" => format!("Build reason(s): {reasons}\nCloning\n"),
        "analyze" => "Image with name \"x\" not found\n".to_owned(),
        "detect" => "acme/web 1.4.0\nacme/deps 2.0.1\n".to_owned(),
        "build" => "demo buildpack: building\n".to_owned(),
        "export" => "*** Images\n".to_owned(),
        "rebase" => "Rebasing\n".to_owned(),
        "completion" => "Build successful\n".to_owned(),
        _ => String::new(),
    }
}

/// The image that a build made: the digest is the recorded one.
fn image_digest(registry_after: &Value, repository: &str, number: &str) -> Option<String> {
    let tags = registry_after[repository].as_array()?;
    let prefix = format!("b{number}.");
    let of_build = |entry: &&Value| {
        let tag = entry["tag"].as_str().unwrap_or_default();
        tag.starts_with(&prefix) || tag.contains(&format!("-{prefix}"))
    };
    Some(tags.iter().find(of_build)?["digest"].as_str()?.to_owned())
}

/// Runs or ends the pod of a build as a step of the setup says.
pub(crate) fn act(world: &World, suite: &str, step: &Value) {
    let (namespace, name) = step["build"].as_str().unwrap().split_once('/').unwrap();
    let pod = world.wait(Kind::Pod, Some(namespace), &format!("{name}-build-pod"), |_| true);
    let build = world.store.get(Kind::Build, Some(namespace), name).unwrap().unwrap();
    let fails_in = step["failsIn"].as_str();
    let running = step["running"] == true;
    let containers = |field: &str| -> Vec<String> {
        let list = pod
            .pointer(&format!("/spec/{field}"))
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        list.iter()
            .map(|container| container["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut over = false;
    let mut ended = |field: &str| -> Vec<Value> {
        containers(field)
            .iter()
            .map(|container| {
                let failed = fails_in == Some(container);
                let state = if over {
                    json!({"waiting": {"reason": "PodInitializing"}})
                } else if running {
                    over = true;
                    json!({"running": {"startedAt": "2026-01-05T10:00:00Z"}})
                } else {
                    write_log(world, &pod, &build, container, failed);
                    over = failed;
                    let message = match container.as_str() {
                        "completion" => metadata(world, suite, step, &build),
                        _ if failed => "exited".to_owned(),
                        _ => String::new(),
                    };
                    json!({"terminated": {"exitCode": if failed { 7 } else { 0 }, "message": message,
                        "startedAt": "2026-01-05T10:00:00Z", "finishedAt": "2026-01-05T10:00:10Z"}})
                };
                json!({"name": container, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state})
            })
            .collect()
    };
    let (init, main) = (ended("initContainers"), ended("containers"));
    let phase = match (running, fails_in) {
        (true, _) => "Pending",
        (false, Some(_)) => "Failed",
        (false, None) => "Succeeded",
    };
    let mut pod = world
        .store
        .get(Kind::Pod, Some(namespace), pod.name())
        .unwrap()
        .unwrap();
    pod.set(
        "status",
        json!({"phase": phase, "initContainerStatuses": init, "containerStatuses": main}),
    );
    world.store.update_status(pod).unwrap();
    if !running {
        world.wait(Kind::Build, Some(namespace), name, |build| {
            build.text("/status/conditions/0/status") != Some("Unknown")
        });
    }
}

fn write_log(world: &World, pod: &Object, build: &Object, container: &str, failed: bool) {
    let name = LogName::new(pod.namespace().unwrap(), pod.name(), pod.uid(), container).unwrap();
    let reasons = build.annotation("image.kpack.io/reason").unwrap_or_default();
    let mut text = output(container, reasons);
    if failed {
        text += "\u{1b}[31;1mERROR: \u{1b}[0mfailed to build: exit status 7\n\n";
    }
    world.logs.writer(&name).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What `completion` said of a build.
fn metadata(world: &World, suite: &str, step: &Value, build: &Object) -> String {
    let after: Value = serde_json::from_str(include_str!("../fixtures/registry-after.json")).unwrap();
    let after = &after[if suite == "walkthrough" { "main" } else { "kp" }];
    let tag = build.text("/spec/tags/0").unwrap().replace(&world.registry, "");
    let repository = tag.trim_start_matches('/').split(':').next().unwrap().to_owned();
    let number = build.labels()["image.kpack.io/buildNumber"].clone();
    let digest = image_digest(after, &repository, &number).unwrap_or_else(|| format!("sha256:{}", "0".repeat(64)));
    let reported = &step["reports"];
    let buildpacks: Vec<BuildpackMetadata> = match reported["buildpackMetadata"].as_array() {
        Some(list) => list
            .iter()
            .map(|entry| serde_json::from_value(entry.clone()).unwrap())
            .collect(),
        None => [
            ("acme/deps", "2.0.1", "https://acme.example/deps"),
            ("acme/start", "0.3.1", ""),
        ]
        .map(|(id, version, homepage)| BuildpackMetadata {
            id: id.to_owned(),
            version: version.to_owned(),
            homepage: homepage.to_owned(),
        })
        .to_vec(),
    };
    let run_image = step["runImage"].as_str().unwrap();
    let fixtures: Value = serde_json::from_str(include_str!("../fixtures/fixtures.json")).unwrap();
    let run_digest = fixtures["images"][run_image]["digest"].as_str().unwrap();
    let builder = build.text("/spec/builder/image").unwrap();
    let builder_repository = builder.split('@').next().unwrap().rsplit_once(':').unwrap().0;
    BuildMetadata {
        buildpacks,
        latest_image: format!("{}/{repository}@{digest}", world.registry),
        stack_id: "io.acme.base".to_owned(),
        stack_run_image: format!("{builder_repository}@{run_digest}"),
        lifecycle_version: reported["lifecycleVersion"].as_str().unwrap_or("0.20.12").to_owned(),
        ..BuildMetadata::default()
    }
    .to_termination_message()
    .unwrap()
}

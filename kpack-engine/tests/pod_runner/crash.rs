//! What happens when the runner ends while pods run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kpack_engine::runner::{PodRunner, StartError};
use serde_json::json;

use crate::world::{World, can_make_sandboxes, container, options, script};

#[test]
fn pods_that_a_runner_left_unfinished_are_run_again_by_the_next() {
    let Some(mut world) = World::new(|_| {}) else { return };
    let mount = json!([{"name": "w", "mountPath": "/w"}]);
    let mut first = container("first", "ls /w; touch /w/mark");
    // Ends only in the second run: the first one is stopped while it waits.
    let mut main = container("main", "while [ ! -e /claim/go ]; do sleep 0.02; done; echo finished");
    first["volumeMounts"] = mount;
    main["volumeMounts"] = json!([{"name": "c", "mountPath": "/claim"}]);
    world.create(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "demo"},
        "spec": {},
    }));
    let spec = json!({
        "volumes": [
            {"name": "w", "emptyDir": {}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
        ],
        "initContainers": [first],
        "containers": [main],
    });
    world.pod("a", spec);
    world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
    world.stop();
    assert_eq!(world.get("a").text("/status/phase"), Some("Running"));
    assert_eq!(std::fs::read_dir(world.data_dir().join("pods")).unwrap().count(), 0);
    world.start(|_| {});
    world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
    let claims = std::fs::read_dir(world.data_dir().join("claims")).unwrap();
    for claim in claims {
        std::fs::write(claim.unwrap().path().join("go"), "").unwrap();
    }
    let pod = world.finished("a");
    assert_eq!(pod.text("/status/phase"), Some("Succeeded"));
    // The first container found its volume empty again.
    assert_eq!(world.log("a", "first"), "");
    assert_eq!(world.log("a", "main"), "finished\n");
}

#[test]
fn how_a_pod_ended_is_told_when_the_store_can_be_written_again() {
    let Some(world) = World::new(|_| {}) else { return };
    world.create(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "demo"},
        "spec": {},
    }));
    let mut main = container("main", "while [ ! -e /claim/go ]; do sleep 0.02; done; exit 3");
    main["volumeMounts"] = json!([{"name": "c", "mountPath": "/claim"}]);
    let claim = json!({"name": "c", "persistentVolumeClaim": {"claimName": "c"}});
    world.pod("a", json!({"volumes": [claim], "containers": [main]}));
    world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
    // Nothing can be written, as on a full disk.
    let (place, away) = (world.dir.path().join("store/tmp"), world.dir.path().join("store/away"));
    std::fs::rename(&place, &away).unwrap();
    for claim in std::fs::read_dir(world.data_dir().join("claims")).unwrap() {
        std::fs::write(claim.unwrap().path().join("go"), "").unwrap();
    }
    wait_for(|| std::fs::read_dir(world.data_dir().join("pods")).unwrap().count() == 0);
    assert_eq!(world.get("a").text("/status/phase"), Some("Running"));
    std::fs::rename(&away, &place).unwrap();
    let pod = world.finished("a");
    let code = pod.pointer("/status/containerStatuses/0/state/terminated/exitCode");
    assert_eq!(code, Some(&json!(3)));
}

#[test]
fn a_finished_pod_is_not_run_again() {
    let Some(mut world) = World::new(|_| {}) else { return };
    world.run("a", script("echo once"));
    world.stop();
    world.start(|_| {});
    world.run("b", script("true"));
    assert_eq!(world.log("a", "main"), "once\n");
    assert_eq!(world.get("a").text("/status/phase"), Some("Succeeded"));
}

#[test]
fn sandboxes_end_when_the_process_of_the_runner_is_killed() {
    if std::env::var_os("POD_RUNNER_CHILD").is_some() {
        let Some(world) = World::new(|_| {}) else { return };
        world.pod("a", script("sleep 1003"));
        world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    if !can_make_sandboxes() {
        return;
    }
    // The child removes nothing: it is killed.
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::sandboxes_end_when_the_process_of_the_runner_is_killed",
            "--nocapture",
        ])
        .env("POD_RUNNER_CHILD", "1")
        .env("TMPDIR", dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| sleeping("1003"));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| !sleeping("1003"));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/runner/pods/"), "{mounts}");
}

#[test]
fn a_directory_serves_one_runner_at_a_time() {
    let Some(world) = World::new(|_| {}) else { return };
    let again = PodRunner::start(
        Arc::new(world.store.clone()),
        options(world.dir.path(), world.logs.clone()),
    );
    assert!(matches!(again, Err(StartError::InUse { .. })));
}

fn wait_for(wanted: impl Fn() -> bool) {
    let begin = Instant::now();
    while !wanted() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sleeping(seconds: &str) -> bool {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == wanted.as_bytes())
}

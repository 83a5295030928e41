//! What volumes hold and who sees them.

use kpack_engine::{Kind, Resources};
use serde_json::json;

use crate::world::{NAMESPACE, World, container};

fn secret(world: &World) {
    world.create(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": NAMESPACE},
        "data": {"username": "bWU=", "password": "c2VjcmV0"},
    }));
}

#[test]
fn a_secret_is_seen_by_the_containers_that_mount_it_and_by_no_other() {
    let Some(world) = World::new(|_| {}) else { return };
    secret(&world);
    let mut with = container(
        "with",
        "cat /secret/password; ls -ln /secret; touch /secret/x 2>/dev/null || echo read only",
    );
    with["volumeMounts"] = json!([{"name": "s", "mountPath": "/secret"}]);
    let search = "find / -xdev -name '*assword*'; ls /secret; cat /proc/1/mountinfo | grep -c secret";
    let mut without = container("main", search);
    without["volumeMounts"] = json!([{"name": "w", "mountPath": "/workspace"}]);
    let spec = json!({
        "securityContext": {"runAsUser": 2001, "fsGroup": 2003},
        "volumes": [{"name": "s", "secret": {"secretName": "s"}}, {"name": "w", "emptyDir": {}}],
        "initContainers": [with],
        "containers": [without],
    });
    let (_, log) = world.run("a", spec);
    assert!(!log.contains("/password"), "{log}");
    assert!(!log.contains("username"), "{log}");
    let log = world.log("a", "with");
    assert!(log.starts_with("secret"), "{log}");
    assert!(log.contains("-r--r--r-- 1 0 2003"), "{log}");
    assert!(log.contains("\nread only\n"), "{log}");
    let files = world.data_dir().join("pods").join(world.get("a").uid());
    assert!(!files.exists(), "files of the pod are left");
}

#[test]
fn items_and_modes_of_a_secret_are_honoured() {
    let Some(world) = World::new(|_| {}) else { return };
    secret(&world);
    let mut main = container("main", "stat -c '%n %a' /s/deep/name /s/*");
    main["volumeMounts"] = json!([{"name": "s", "mountPath": "/s"}]);
    let items = json!([{"key": "username", "path": "deep/name", "mode": 0o400}]);
    let spec = json!({
        "securityContext": {"runAsUser": 0},
        "volumes": [{"name": "s", "secret": {"secretName": "s", "items": items}}],
        "containers": [main],
    });
    let (_, log) = world.run("a", spec);
    assert_eq!(log, "/s/deep/name 400\n/s/deep 755\n");
}

#[test]
fn a_projection_cannot_leave_its_volume() {
    let Some(world) = World::new(|_| {}) else { return };
    secret(&world);
    let mut main = container("main", "true");
    main["volumeMounts"] = json!([{"name": "s", "mountPath": "/s"}]);
    let items = json!([{"key": "username", "path": "../../escaped"}]);
    let spec = json!({
        "volumes": [{"name": "s", "secret": {"secretName": "s", "items": items}}],
        "containers": [main],
    });
    world.pod("a", spec);
    world.when("a", |pod| {
        let message = pod.text("/status/containerStatuses/0/state/waiting/message");
        message.is_some_and(|message| message.contains("is not a relative path"))
    });
}

#[test]
fn a_claims_volume_outlives_its_pods_and_ends_with_the_claim() {
    let Some(world) = World::new(|_| {}) else { return };
    world.create(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "cache", "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2G"}}},
    }));
    let run = |name: &str, script: &str, group: u32| {
        let mut main = container("main", script);
        main["volumeMounts"] = json!([{"name": "c", "mountPath": "/cache"}]);
        world.run(
            name,
            json!({
                "securityContext": {"runAsUser": 2001, "fsGroup": group},
                "volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "cache"}}],
                "containers": [main],
            }),
        )
    };
    assert_eq!(run("a", "echo kept > /cache/file", 2003).0, 0);
    assert_eq!(run("b", "cat /cache/file", 2003).1, "kept\n");
    // Another group: the files become its own.
    assert_eq!(run("c", "stat -c %g /cache /cache/file", 2004).1, "2004\n2004\n");
    let claim = world.store.get(Kind::PersistentVolumeClaim, Some(NAMESPACE), "cache");
    let claim = claim.unwrap().unwrap();
    assert_eq!(claim.text("/status/phase"), Some("Bound"));
    assert_eq!(claim.text("/status/capacity/storage"), Some("2G"));
    let dir = world.data_dir().join("claims").join(claim.uid());
    assert!(dir.exists());
    world
        .store
        .delete(Kind::PersistentVolumeClaim, Some(NAMESPACE), "cache")
        .unwrap();
    for _ in 0..500 {
        if !dir.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the claim's volume is left");
}

#[test]
fn a_sub_path_is_mounted_and_cannot_leave_the_volume() {
    let Some(world) = World::new(|_| {}) else { return };
    let run = |name: &str, sub_path: &str| {
        let mut first = container(
            "first",
            "mkdir -p /w/app; echo app > /w/app/file; ln -s / /w/root; ln -s app /w/link",
        );
        first["volumeMounts"] = json!([{"name": "w", "mountPath": "/w"}]);
        let mut main = container("main", "cat /workspace/file");
        main["volumeMounts"] = json!([{"name": "w", "mountPath": "/workspace", "subPath": sub_path}]);
        let spec = json!({
            "volumes": [{"name": "w", "emptyDir": {}}],
            "initContainers": [first],
            "containers": [main],
        });
        world.pod(name, spec);
        let pod = world.finished(name);
        let terminated = &pod.as_value()["status"]["containerStatuses"][0]["state"]["terminated"];
        let message = terminated["message"].as_str().unwrap_or_default().to_owned();
        (message, world.log(name, "main"))
    };
    assert_eq!(run("a", "app").1, "app\n");
    assert_eq!(run("b", "./link").1, "app\n");
    assert!(run("c", "root").0.contains("leaves the volume"));
    assert!(run("d", "root/etc").0.contains("leaves the volume"));
    assert!(run("e", "../..").0.contains("holds `..`"));
}

#[test]
fn a_volume_of_the_pods_fields_follows_them() {
    let Some(world) = World::new(|_| {}) else { return };
    let mut main = container("main", "while [ ! -s /d/ready ]; do sleep 0.02; done; cat /d/ready");
    main["volumeMounts"] = json!([{"name": "d", "mountPath": "/d"}]);
    let field = "metadata.annotations['build.kpack.io/ready']";
    let spec = json!({
        "volumes": [{"name": "d", "downwardAPI": {"items": [{"path": "ready", "fieldRef": {"fieldPath": field}}]}}],
        "containers": [main],
    });
    world.pod("a", spec);
    let mut pod = world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
    pod.set_annotation("build.kpack.io/ready", "true");
    world.store.update(pod).unwrap();
    world.finished("a");
    assert_eq!(world.log("a", "main"), "true");
}

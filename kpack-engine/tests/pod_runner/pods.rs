//! What a pod's containers are given, and what is reported of them.

use std::time::{Duration, Instant};

use kpack_engine::{Kind, Resources};
use serde_json::json;

use crate::world::{IMAGE, NAMESPACE, World, container, script};

#[test]
fn a_container_runs_as_the_images_user_with_its_environment() {
    let Some(world) = World::new(|_| {}) else { return };
    let (code, log) = world.run(
        "a",
        script("id -u; id -g; echo $FROM_IMAGE $HOME; hostname; cat /etc/hostname"),
    );
    assert_eq!(log, "1001\n1002\nyes /home/cnb\na\na\n");
    assert_eq!(code, 0);
}

#[test]
fn both_streams_of_a_container_go_to_its_log() {
    let Some(world) = World::new(|_| {}) else { return };
    let (_, log) = world.run("a", script("echo output; echo problem >&2"));
    let mut lines: Vec<&str> = log.lines().collect();
    // As on a node, nothing promises the order between the two.
    lines.sort_unstable();
    assert_eq!(lines, ["output", "problem"]);
}

#[test]
fn init_containers_run_one_after_the_other_before_the_others_and_share_volumes() {
    let Some(world) = World::new(|_| {}) else { return };
    let mount = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut one = container("one", "echo 1 >> /shared/order");
    let mut two = container("two", "echo 2 >> /shared/order");
    let mut main = container("main", "cat /shared/order");
    for container in [&mut one, &mut two, &mut main] {
        container["volumeMounts"] = mount.clone();
    }
    let spec = json!({
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "initContainers": [one, two],
        "containers": [main],
    });
    let (code, log) = world.run("a", spec);
    assert_eq!((code, log.as_str()), (0, "1\n2\n"));
    let pod = world.get("a");
    let status = &pod.as_value()["status"];
    assert_eq!(status["phase"], "Succeeded");
    assert_eq!(status["initContainerStatuses"][1]["name"], "two");
    assert_eq!(status["initContainerStatuses"][1]["ready"], true);
    let terminated = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(terminated["reason"], "Completed");
    assert!(terminated["finishedAt"].as_str() >= terminated["startedAt"].as_str());
    let id = status["containerStatuses"][0]["imageID"].as_str().unwrap();
    assert!(id.starts_with("registry.test/acme/tools@sha256:"), "{id}");
}

#[test]
fn a_failing_init_container_ends_the_pod() {
    let Some(world) = World::new(|_| {}) else { return };
    let spec = json!({
        "initContainers": [container("bad", "echo why; exit 20"), container("never", "echo no")],
        "containers": [container("main", "echo no")],
    });
    world.pod("a", spec);
    let pod = world.finished("a");
    let status = &pod.as_value()["status"];
    assert_eq!(status["phase"], "Failed");
    let bad = &status["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!((&bad["exitCode"], &bad["reason"]), (&json!(20), &json!("Error")));
    let reason = json!("PodInitializing");
    assert_eq!(status["initContainerStatuses"][1]["state"]["waiting"]["reason"], reason);
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], reason);
    assert_eq!(world.log("a", "bad"), "why\n");
}

#[test]
fn a_container_leaves_a_termination_message_and_its_logs_end_stands_in_for_it() {
    let Some(world) = World::new(|_| {}) else { return };
    let message = |name: &str, change: serde_json::Value, script: &str| {
        let mut main = container("main", script);
        for (key, value) in change.as_object().unwrap() {
            main[key] = value.clone();
        }
        world.run(name, json!({"containers": [main]}));
        let pod = world.get(name);
        let message = pod.text("/status/containerStatuses/0/state/terminated/message");
        message.unwrap_or_default().to_owned()
    };
    assert_eq!(message("a", json!({}), "echo -n done > /dev/termination-log"), "done");
    let path =
        json!({"terminationMessagePath": "/tmp/termination-log", "terminationMessagePolicy": "FallbackToLogsOnError"});
    assert_eq!(
        message("b", path.clone(), "echo -n done > /tmp/termination-log"),
        "done"
    );
    assert_eq!(message("c", path.clone(), "echo bad; exit 1"), "bad\n");
    assert_eq!(message("d", path, "echo fine"), "");
    assert_eq!(message("e", json!({}), "seq 10000 > /dev/termination-log").len(), 4096);
}

#[test]
fn variables_come_from_values_fields_secrets_and_config_maps() {
    let Some(world) = World::new(|_| {}) else { return };
    world.create(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": NAMESPACE},
        "data": {"password": "c2VjcmV0"},
    }));
    world.create(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": NAMESPACE},
        "data": {"key": "from map"},
    }));
    let mut main = container(
        "main",
        "echo $A; echo $B; echo $C; echo $D; echo $E; echo $p_key; echo $(WORD)",
    );
    main["env"] = json!([
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A)b $$(A) $(NO)"},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "k", "optional": true}}},
        {"name": "WORD", "value": "expanded"},
    ]);
    main["envFrom"] = json!([{"prefix": "p_", "configMapRef": {"name": "c"}}]);
    let (_, log) = world.run("a", json!({"containers": [main]}));
    assert_eq!(log, "a\nab $(A) $(NO)\nsecret\na\n\nfrom map\nexpanded\n");
}

#[test]
fn the_pods_security_context_decides_user_groups_and_working_directory_is_made() {
    let Some(world) = World::new(|_| {}) else { return };
    let mut main = container(
        "main",
        "id -u; id -g; id -G; readlink /proc/self/cwd; stat -c '%g %a' /work",
    );
    main["workingDir"] = json!("/work/deep");
    main["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    let spec = json!({
        "securityContext": {"runAsUser": 2001, "runAsGroup": 2002, "fsGroup": 2003, "runAsNonRoot": true},
        "volumes": [{"name": "work", "emptyDir": {}}],
        "containers": [main],
    });
    let (_, log) = world.run("a", spec);
    assert_eq!(log, "2001\n2002\n2002 2003\n/work/deep\n2003 2777\n");
}

#[test]
fn a_missing_image_is_waited_for_and_named() {
    let Some(world) = World::new(|_| {}) else { return };
    world.pod(
        "a",
        json!({"containers": [{"name": "main", "image": "registry.test/acme/none:1"}]}),
    );
    let pod = world.when("a", |pod| {
        pod.text("/status/containerStatuses/0/state/waiting/reason") == Some("ErrImagePull")
    });
    let message = pod.text("/status/containerStatuses/0/state/waiting/message").unwrap();
    assert!(message.contains("registry.test/acme/none:1"), "{message}");
}

#[test]
fn a_missing_secret_is_waited_for_and_the_pod_runs_when_it_is_there() {
    let Some(world) = World::new(|_| {}) else { return };
    let mut main = container("main", "cat /s/key");
    main["volumeMounts"] = json!([{"name": "s", "mountPath": "/s"}]);
    let spec = json!({"volumes": [{"name": "s", "secret": {"secretName": "later"}}], "containers": [main]});
    world.pod("a", spec);
    world.when("a", |pod| {
        let message = pod.text("/status/containerStatuses/0/state/waiting/message");
        message.is_some_and(|message| message.contains("secrets \"later\" not found"))
    });
    world.create(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later", "namespace": NAMESPACE},
        "data": {"key": "bm93"},
    }));
    world.finished("a");
    assert_eq!(world.log("a", "main"), "now");
}

#[test]
fn what_cannot_start_says_why_and_is_not_tried_again() {
    let Some(world) = World::new(|_| {}) else { return };
    world.pod(
        "a",
        json!({"containers": [{"name": "main", "image": IMAGE, "command": ["/no/such/program"]}]}),
    );
    let pod = world.finished("a");
    let terminated = &pod.as_value()["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(terminated["reason"], "StartError");
    assert_eq!(terminated["exitCode"], 128);
    assert!(terminated["message"].as_str().unwrap().contains("/no/such/program"));

    let spec =
        json!({"securityContext": {"runAsUser": 0, "runAsNonRoot": true}, "containers": [container("main", "true")]});
    world.pod("b", spec);
    let pod = world.finished("b");
    let terminated = &pod.as_value()["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(terminated["message"], "container's runAsUser breaks non-root policy");
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    let Some(world) = World::new(|_| {}) else { return };
    let mut spec = script("true");
    spec["volumes"] = json!([{"name": "root", "hostPath": {"path": "/"}}]);
    world.pod("a", spec);
    let pod = world.finished("a");
    assert_eq!(pod.text("/status/reason"), Some("Unsupported"));
    assert!(pod.text("/status/message").unwrap().contains("hostPath"));
}

#[test]
fn a_pod_that_takes_too_long_is_ended() {
    let Some(world) = World::new(|_| {}) else { return };
    let mut spec = script("echo begun; sleep 1000");
    spec["activeDeadlineSeconds"] = json!(1);
    world.pod("a", spec);
    let pod = world.finished("a");
    assert_eq!(pod.text("/status/reason"), Some("DeadlineExceeded"));
    assert_eq!(
        pod.text("/status/message"),
        Some("Pod was active on the node longer than the specified deadline")
    );
    assert_eq!(world.log("a", "main"), "begun\n");
}

#[test]
fn a_deadline_that_is_set_later_counts() {
    let Some(world) = World::new(|_| {}) else { return };
    world.pod("a", script("sleep 1000"));
    let mut pod = world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
    let mut spec = pod.as_value()["spec"].clone();
    spec["activeDeadlineSeconds"] = json!(1);
    pod.set("spec", spec);
    world.store.update(pod).unwrap();
    assert_eq!(world.finished("a").text("/status/reason"), Some("DeadlineExceeded"));
}

#[test]
fn a_deleted_pod_ends_at_once_with_its_logs() {
    let Some(world) = World::new(|_| {}) else { return };
    world.pod("a", script("echo begun; sleep 1000"));
    let pod = world.when("a", |pod| pod.text("/status/phase") == Some("Running"));
    world.store.delete(Kind::Pod, Some(NAMESPACE), "a").unwrap();
    let begin = Instant::now();
    let files = world.data_dir().join("pods").join(pod.uid());
    let logs = world
        .dir
        .path()
        .join("logs")
        .join(format!("{NAMESPACE}_a_{}", pod.uid()));
    while files.exists() || logs.exists() {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_pod_can_be_deleted_at_any_moment() {
    let Some(world) = World::new(|options| options.max_pods = 8) else {
        return;
    };
    // From the first step of its start on, in steps of half a millisecond.
    for step in 0..40 {
        let name = format!("a{step}");
        let pod = world.pod(&name, script("sleep 1004"));
        let files = world.data_dir().join("pods").join(pod.uid());
        let begin = Instant::now();
        while !files.join("containers").exists() {
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
        std::thread::sleep(Duration::from_micros(500) * step);
        world.store.delete(Kind::Pod, Some(NAMESPACE), &name).unwrap();
        while files.exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "step {step}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn pods_run_side_by_side_up_to_a_limit() {
    let Some(world) = World::new(|options| options.max_pods = 2) else {
        return;
    };
    for name in ["a", "b", "c"] {
        world.pod(name, script("while [ ! -e /tmp/go ]; do sleep 0.05; done"));
    }
    for name in ["a", "b"] {
        world.when(name, |pod| pod.text("/status/phase") == Some("Running"));
    }
    let third = world.when("c", |pod| pod.text("/status/phase").is_some());
    assert_eq!(third.text("/status/phase"), Some("Pending"));
    assert_eq!(third.text("/status/conditions/0/reason"), Some("Unschedulable"));
    world.store.delete(Kind::Pod, Some(NAMESPACE), "a").unwrap();
    world.when("c", |pod| pod.text("/status/phase") == Some("Running"));
}

#[test]
fn containers_of_one_pod_run_at_the_same_time() {
    let Some(world) = World::new(|_| {}) else { return };
    let mount = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut main = container(
        "main",
        "while [ ! -s /shared/word ]; do sleep 0.02; done; cat /shared/word",
    );
    let mut other = container("other", "echo hello > /shared/word");
    main["volumeMounts"] = mount.clone();
    other["volumeMounts"] = mount;
    let spec = json!({"volumes": [{"name": "shared", "emptyDir": {}}], "containers": [main, other]});
    assert_eq!(world.run("a", spec), (0, "hello\n".to_owned()));
}

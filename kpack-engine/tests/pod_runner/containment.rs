//! What a hostile container can reach.

use std::time::{Duration, Instant};

use kpack_engine::runner::MachineNetwork;
use serde_json::json;

use crate::world::{World, container, script};

#[test]
fn nothing_of_the_machine_is_seen_but_the_image_and_the_volumes() {
    let Some(world) = World::new(|_| {}) else { return };
    let (_, log) = world.run(
        "a",
        script("ls /; echo --; ls /sys; ls /proc | grep -c '^[0-9]'; readlink /proc/1/root; cat /proc/1/cmdline | head -c 7"),
    );
    let root: Vec<&str> = log.lines().take_while(|line| *line != "--").collect();
    for found in &root {
        let expected = ["bin", "dev", "etc", "lib", "lib64", "proc", "sys", "usr", "run", "tmp"];
        assert!(expected.contains(found), "{found} in {log}");
    }
    // Processes of the machine would be many more.
    let processes: u32 = log.lines().rev().find_map(|line| line.parse().ok()).unwrap();
    assert!(processes < 10, "{log}");
}

#[test]
fn mounts_namespaces_and_gaining_rights_are_refused() {
    let Some(world) = World::new(|_| {}) else { return };
    let attempts = "
        unshare --user true && echo BAD user namespace
        unshare --mount true && echo BAD mount namespace
        mount -t tmpfs none /tmp && echo BAD mount
        echo 1 > /proc/sys/kernel/hostname && echo BAD sysctl
        grep -q 'CapEff:.0000000000000000' /proc/self/status || echo BAD capabilities
        grep -q 'NoNewPrivs:.1' /proc/self/status || echo BAD new privileges
        grep -q 'Seccomp:.2' /proc/self/status || echo BAD seccomp
        echo done";
    for user in [1001, 0] {
        let mut main = container("main", attempts);
        main["securityContext"] = json!({
            "runAsUser": user, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        });
        let (_, log) = world.run(&format!("a{user}"), json!({"containers": [main]}));
        assert!(!log.contains("BAD"), "{log}");
        assert!(log.contains("done\n"), "{log}");
    }
}

#[test]
fn a_root_of_a_container_is_not_root_of_the_machine() {
    let Some(world) = World::new(|_| {}) else { return };
    let mut main = container(
        "main",
        "mount -t proc proc /tmp && echo BAD; mount -t tmpfs x /etc && echo BAD; cat /proc/kcore 2>/dev/null | head -c 1; \
         echo x > /proc/sysrq-trigger && echo BAD; id -u",
    );
    main["securityContext"] = json!({"runAsUser": 0});
    let (_, log) = world.run("a", json!({"containers": [main]}));
    assert!(!log.contains("BAD"), "{log}");
    assert!(log.lines().any(|line| line == "0"), "{log}");
}

#[test]
fn what_a_container_left_running_ends_with_it() {
    let Some(world) = World::new(|_| {}) else { return };
    let begin = Instant::now();
    let (code, log) = world.run(
        "a",
        script("(sleep 1000 &) ; (sleep 1001 >/dev/null 2>&1 &); echo end; exit 3"),
    );
    assert_eq!((code, log.as_str()), (3, "end\n"));
    assert!(begin.elapsed() < Duration::from_secs(30));
    wait_until_no_sleep_is_left("1000");
    wait_until_no_sleep_is_left("1001");
}

#[test]
fn a_fork_bomb_is_contained_and_ends_with_its_pod() {
    let Some(world) = World::new(|options| options.max_processes = 64) else {
        return;
    };
    let mut spec = script("bomb() { bomb | bomb & }; (bomb) & exec sleep 1002");
    spec["activeDeadlineSeconds"] = json!(2);
    world.pod("a", spec);
    let pod = world.finished("a");
    assert_eq!(pod.text("/status/reason"), Some("DeadlineExceeded"));
    wait_until_no_sleep_is_left("1002");
    assert_eq!(world.run("b", script("echo alive")).1, "alive\n");
}

#[test]
fn a_flood_of_output_is_bounded_and_does_not_block() {
    let Some(world) = World::new(|_| {}) else { return };
    // 1 MiB is kept in these tests.
    let (code, log) = world.run(
        "a",
        script("yes 0123456789012345678901234567890123456789 | head -c 50000000; exit 0"),
    );
    assert_eq!(code, 0);
    assert!(log.len() < 1_100_000, "{}", log.len());
    assert!(log.ends_with("printed more than 1048576 bytes]\n"));
}

#[test]
fn the_machines_network_is_given_where_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        Some(dir.path().join(name))
    };
    let network = MachineNetwork {
        resolv_conf: file("resolv.conf", "nameserver 10.9.8.7\n"),
        hosts: file("hosts", "10.0.0.1 git.internal\n"),
        ca_bundle: file("ca.pem", "certificates\n"),
        proxies: [("HTTPS_PROXY".to_owned(), "http://proxy:3128".to_owned())].into(),
    };
    let Some(world) = World::new(|options| options.machine_network = Some(network)) else {
        return;
    };
    let look =
        "cat /etc/resolv.conf /etc/hosts $PIP_CERT; echo $HTTPS_PROXY $GIT_SSL_CAINFO; echo $PLATFORM_ENV_HTTPS_PROXY";
    let (_, log) = world.run("a", script(look));
    let expected = "nameserver 10.9.8.7\n10.0.0.1 git.internal\n127.0.0.1 a\ncertificates\n\
                    http://proxy:3128 /run/kpackd/ca-certificates.crt\n\n";
    assert_eq!(log, expected);
}

/// Fails if a process `sleep SECONDS` stays anywhere on the machine; the kernel takes a moment to end what was killed.
fn wait_until_no_sleep_is_left(seconds: &str) {
    let wanted = format!("sleep\0{seconds}\0");
    let exists = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
            .any(|line| line.ends_with(wanted.as_bytes()))
    };
    let begin = Instant::now();
    while exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "a sleep {seconds} is left");
        std::thread::yield_now();
    }
}

#[test]
fn a_container_that_takes_more_memory_than_it_may_is_killed_and_says_so() {
    let Some(world) = World::new(|_| {}) else { return };
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let groups = ["/sys/fs/cgroup/kpackd", "/sys/fs/cgroup/memory/kpackd"];
    if !map.contains("4294967295") || !groups.iter().any(|dir| std::path::Path::new(dir).exists()) {
        eprintln!("not tested here: no control groups");
        return;
    }
    // The shell keeps all that it reads.
    let mut main = container("main", "text=$(yes 0123456789 | head -c 200000000); echo BAD");
    main["resources"] = json!({"limits": {"memory": "32Mi"}});
    let (_, log) = world.run("a", json!({"containers": [main]}));
    assert!(!log.contains("BAD"), "{log}");
    let pod = world.get("a");
    let reason = pod.text("/status/containerStatuses/0/state/terminated/reason");
    assert_eq!(reason, Some("OOMKilled"));
    assert_eq!(pod.text("/status/qosClass"), Some("Burstable"));
}

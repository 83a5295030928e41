//! What buildpacks inherit from the program that started the phase: nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Tells all its open files and passes.
const DETECT: &str = "#!/bin/sh\nfor fd in /proc/$$/fd/*; do echo \"open: $(readlink \"$fd\")\"; done\n";

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn descriptors_that_the_phase_was_started_with_do_not_reach_the_buildpacks() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let buildpack = root.join("buildpacks/acme/1");
    write(&buildpack.join("bin/detect"), DETECT);
    write(
        &buildpack.join("buildpack.toml"),
        "api = \"0.10\"\n[buildpack]\nid = \"acme\"\nversion = \"1\"\n[[targets]]\n",
    );
    write(
        &root.join("order.toml"),
        "[[order]]\n[[order.group]]\nid = \"acme\"\nversion = \"1\"\n",
    );
    for directory in ["app", "layers", "platform"] {
        fs::create_dir(root.join(directory)).expect("a directory");
    }
    write(&root.join("secret"), "");
    // The phase refuses to run as root.
    let mut command = Command::new("bash");
    if rustix::process::getuid().is_root() {
        command.uid(1000).gid(1000);
    }
    for (path, mode) in [(root.to_owned(), 0o755), (root.join("layers"), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let output = command
        .args(["-c", "exec 3<secret 9<secret 77<secret; exec -a detector \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_lifecycle"))
        .args([
            "-app",
            "app",
            "-buildpacks",
            "buildpacks",
            "-layers",
            "layers",
            "-order",
            "order.toml",
        ])
        .args(["-platform", "platform", "-log-level", "debug", "-no-color"])
        .env("CNB_PLATFORM_API", "0.12")
        .env("CNB_EXPERIMENTAL_MODE", "silent")
        .current_dir(root)
        .output()
        .expect("bash starts");
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("open: /dev/null"), "{log}");
    assert!(!log.contains("/secret"), "{log}");
}

//! What the program does when it is told to end.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Makes a tree with a buildpack whose `bin/detect` says in a pipe who it is, and stays; returns the pipe.
fn set_up(root: &Path) -> File {
    let buildpack = root.join("buildpacks/a/1");
    fs::create_dir_all(buildpack.join("bin")).expect("there is room");
    for name in ["app", "layers", "platform", "tmp"] {
        fs::create_dir(root.join(name)).expect("there is room");
        fs::set_permissions(root.join(name), Permissions::from_mode(0o777)).expect("they are ours");
    }
    let descriptor = "api = \"0.11\"\n[buildpack]\nid = \"a\"\nversion = \"1\"\n";
    fs::write(buildpack.join("buildpack.toml"), descriptor).expect("there is room");
    let order = "[[order]]\ngroup = [{ id = \"a\", version = \"1\" }]\n";
    fs::write(root.join("order.toml"), order).expect("there is room");
    let detect = buildpack.join("bin/detect");
    let pid = root.join("layers/pid");
    mkfifoat(CWD, &pid, Mode::empty()).expect("pipes can be made");
    fs::set_permissions(&pid, Permissions::from_mode(0o666)).expect("it is ours");
    let script = format!("#!/bin/sh\necho $$ > {}\nsleep 600\n", pid.display());
    fs::write(&detect, script).expect("there is room");
    fs::set_permissions(&detect, Permissions::from_mode(0o755)).expect("it is ours");
    fs::set_permissions(root, Permissions::from_mode(0o755)).expect("it is ours");
    // To write, too, so that nobody waits for the other side.
    let pipe = File::options().read(true).write(true).open(pid);
    pipe.expect("it is there")
}

/// Starts the detector in a tree, as another user if this one is root.
fn start(root: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifecycle"));
    command
        .args(["detect", "-no-color"])
        .env("CNB_PLATFORM_API", "0.15")
        .env("TMPDIR", root.join("tmp"))
        .stdout(Stdio::piped());
    for name in ["app", "layers", "platform", "buildpacks"] {
        command.arg(format!("-{name}")).arg(root.join(name));
    }
    command.arg("-order").arg(root.join("order.toml"));
    if rustix::process::getuid().is_root() {
        command.uid(1000).gid(1000);
    }
    command.spawn().expect("the program starts")
}

/// Waits for the buildpack to run, and returns who it is.
fn buildpack(mut pipe: File) -> Pid {
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&limit)).expect("it can be waited for");
    assert_eq!(ready, 1, "the buildpack does not start");
    let mut text = [0; 32];
    let count = pipe.read(&mut text).expect("it can be read");
    let number = String::from_utf8_lossy(&text[..count]).trim().parse();
    Pid::from_raw(number.expect("it is a number")).expect("nobody is 0")
}

#[test]
fn a_phase_that_is_told_to_end_ends_its_buildpacks_and_leaves_no_temporary_files() {
    for (signal, code, name) in [(Signal::TERM, 143, "terminated"), (Signal::INT, 130, "interrupt")] {
        let root = tempfile::tempdir().expect("there is room");
        let pipe = set_up(root.path());
        let phase = start(root.path());
        let buildpack = buildpack(pipe);
        let pid = Pid::from_child(&phase);
        kill_process(pid, signal).expect("it runs");
        let output = phase.wait_with_output().expect("it ends");
        let log = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{log}");
        assert!(log.contains(&format!("ERROR: signal: {name}\n")), "{log}");
        test_kill_process(buildpack).expect_err("it has ended");
        let left = fs::read_dir(root.path().join("tmp")).expect("it is there");
        assert_eq!(left.count(), 0);
    }
}

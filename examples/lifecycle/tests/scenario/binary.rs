//! Runs a scenario with the built program.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use serde_json::Value;

use crate::scenario::{Outcome, PROGRAMS, environment, is_root, normal, place, set_up};

/// Runs the scenario from a fresh tree at one log level; `None` when it needs what this machine does not allow.
pub(crate) fn run(given: &Value, level: &str) -> Option<Outcome> {
    let as_root = given["as_root"] == true;
    if !is_root() && (as_root || given["os_release"].is_string()) {
        return None;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let real = root.path().canonicalize().expect("it exists");
    let phase = given["phase"].as_str().expect("a phase");
    let alone = PROGRAMS.write().unwrap_or_else(PoisonError::into_inner);
    set_up(&real, given);
    let stdin = real.join("conf/.stdin");
    fs::write(&stdin, "<stdin of the phase>").expect("a file");
    let mut command = command(given, phase, &real);
    let cwd = given["cwd"]
        .as_str()
        .map_or_else(|| real.clone(), |cwd| place(&real, cwd).into());
    let args = given["args"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|arg| place(&real, arg.as_str().expect("text")));
    let output = command
        .args(args)
        .env_clear()
        .envs(environment(&real, given, level))
        .current_dir(cwd)
        .stdin(Stdio::from(fs::File::open(&stdin).expect("it was written")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(alone);
    let output = output.wait_with_output().expect("it ends");
    for name in [phase, ".stdin", ".os-release"] {
        let _ = fs::remove_file(real.join("conf").join(name));
    }
    Some(Outcome {
        exit: output.status.code(),
        log: normal(&String::from_utf8_lossy(&output.stdout), &real),
        stderr: normal(&String::from_utf8_lossy(&output.stderr), &real),
        root,
    })
}

/// The program under the name of the phase, as uid 1000 unless the case wants root.
fn command(given: &Value, phase: &str, root: &Path) -> Command {
    let as_root = given["as_root"] == true;
    let program = root.join("conf").join(phase);
    let Some(text) = given["os_release"].as_str() else {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifecycle"));
        command.arg0(phase);
        if is_root() && !as_root {
            command.uid(1000).gid(1000);
        }
        return command;
    };
    fs::hard_link(env!("CARGO_BIN_EXE_lifecycle"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_lifecycle"), &program).map(|_| ()))
        .expect("a copy of the program");
    let file = root.join("conf/.os-release");
    fs::write(&file, text).expect("a file");
    let mode = given["os_release_mode"].as_str().unwrap_or("0644");
    let mode = Permissions::from_mode(u32::from_str_radix(mode, 8).expect("an octal mode"));
    fs::set_permissions(&file, mode).expect("a mode");
    let script = "mount --bind \"$1\" /etc/os-release && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(file);
    if !as_root {
        command.args(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]);
    }
    command.arg(program);
    command
}

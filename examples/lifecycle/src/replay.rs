//! The recorded scenarios of detector and builder, run within the test's own process: the program as a function.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Gid, Uid};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::Value;

use crate::env::Env;
use crate::logger::Logger;
use crate::scenario::{Outcome, PROGRAMS, build, check_all, detect, environment, is_root, normal, place, set_up};
use crate::signals::Signals;

/// Runs the scenario on a thread of its own, which alone gets the working directory, the user and the `/etc/os-release` of
/// the scenario; `None` when it needs what this machine does not allow.
fn run(given: &Value, level: &str) -> Option<Outcome> {
    let as_root = given["as_root"] == true;
    let has_directory = !given["cwd"].is_null() || given["args"].is_array() || given["env"].is_object();
    if !is_root() && (as_root || has_directory || given["os_release"].is_string()) {
        return None;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let real = root.path().canonicalize().expect("it exists");
    let log = Arc::new(Mutex::new(Vec::new()));
    let exit = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let alone = PROGRAMS.write().unwrap_or_else(PoisonError::into_inner);
            set_up(&real, given);
            drop(alone);
            let _others_may_run_too = PROGRAMS.read().unwrap_or_else(PoisonError::into_inner);
            move_in(given, &real);
            let phase = given["phase"].as_str().expect("a phase");
            let args = given["args"].as_array().into_iter().flatten();
            let args: Vec<OsString> = std::iter::once(phase.into())
                .chain(args.map(|arg| place(&real, arg.as_str().expect("text")).into()))
                .collect();
            let env: Env = environment(&real, given, level).into_iter().collect();
            crate::run(&args, &env, &Signals::default(), &Logger::to(log.clone()))
        });
        thread.join()
    });
    let _ = fs::remove_file(real.join("conf/.os-release"));
    let text = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Some(Outcome {
        exit: Some(exit.unwrap_or(101)),
        log: normal(&String::from_utf8_lossy(&text), &real),
        stderr: String::new(),
        root,
    })
}

/// Gives the thread what the scenario says of its process; without root the scenario is one that does not care.
fn move_in(given: &Value, root: &Path) {
    if !is_root() {
        return;
    }
    // Unsharing would matter to descriptors only, which these flags leave alone.
    #[allow(deprecated)]
    rustix::thread::unshare(UnshareFlags::FS | UnshareFlags::NEWNS).expect("root may");
    if let Some(text) = given["os_release"].as_str() {
        let file = root.join("conf/.os-release");
        fs::write(&file, text).expect("a file");
        let mode = given["os_release_mode"].as_str().unwrap_or("0644");
        let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("a mode");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).expect("root may");
        mount_bind(&file, "/etc/os-release").expect("root may");
    }
    let cwd = given["cwd"]
        .as_str()
        .map_or_else(|| root.to_owned(), |cwd| place(root, cwd).into());
    std::env::set_current_dir(cwd).expect("it was made");
    if given["as_root"] != true {
        let (uid, gid) = (Uid::from_raw(1000), Gid::from_raw(1000));
        set_thread_groups(&[]).expect("root may");
        set_thread_res_gid(gid, gid, gid).expect("root may");
        set_thread_res_uid(uid, uid, uid).expect("root may");
    }
}

macro_rules! files {
    ($($test:ident = $file:literal with $check:path),* $(,)?) => {$(
        #[test]
        fn $test() {
            check_all($file, |case, level| match run(&case["given"], level) {
                Some(outcome) => $check(case, level, &outcome),
                None => Ok(()), // needs root
            });
        }
    )*};
}

files! {
    orders_expand_as_in_the_reference = "detect/order.jsonl" with detect::check,
    plans_resolve_as_in_the_reference = "detect/resolve.jsonl" with detect::check,
    detect_runs_go_as_in_the_reference = "detect/run.jsonl" with detect::check,
    targets_match_as_in_the_reference = "detect/targets.jsonl" with detect::check,
    random_targets_match_as_in_the_reference = "detect/random-targets.jsonl" with detect::check,
    execution_environments_and_system_buildpacks_are_as_in_the_reference = "detect/execenv-system.jsonl" with detect::check,
    extensions_are_as_in_the_reference = "detect/extensions.jsonl" with detect::check,
    detect_environments_are_as_in_the_reference = "detect/env.jsonl" with detect::check,
    inputs_are_as_in_the_reference = "detect/inputs.jsonl" with detect::check,
    build_runs_go_as_in_the_reference = "build/run.jsonl" with build::check,
    plans_are_passed_on_as_in_the_reference = "build/plan.jsonl" with build::check,
    groups_are_read_as_in_the_reference = "build/group.jsonl" with build::check,
    layers_are_processed_as_in_the_reference = "build/layers.jsonl" with build::check,
    build_environments_are_as_in_the_reference = "build/env.jsonl" with build::check,
    random_environments_are_as_in_the_reference = "build/random-env.jsonl" with build::check,
    launch_data_is_as_in_the_reference = "build/launch.jsonl" with build::check,
    random_processes_are_as_in_the_reference = "build/random-processes.jsonl" with build::check,
    sbom_files_are_as_in_the_reference = "build/sbom.jsonl" with build::check,
    larger_scenarios_are_as_in_the_reference = "build/mixed.jsonl" with build::check,
}

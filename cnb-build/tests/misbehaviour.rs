//! Buildpacks that go wrong while they build: the message names the buildpack, the file and the line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::RwLock;
use std::time::Duration;

use cnb_build::{BuildError, BuildInputs, build};
use cnb_detect::{HostRunner, Level, MemoryLog, ModuleStore};
use cnb_order::{DetectedGroup, Plan};

/// A child forked while another thread writes a program would keep that program busy: writers write, readers run.
static PROGRAMS: RwLock<()> = RwLock::new(());

/// Runs a `bin/build` with that text and mode, and returns the error and the log, with the root replaced.
fn run(script: &str, mode: u32, runner: &HostRunner) -> (Option<(BuildError, String)>, MemoryLog) {
    run_as("", script, mode, runner)
}

/// Does so with more keys in group.toml.
fn run_as(keys: &str, script: &str, mode: u32, runner: &HostRunner) -> (Option<(BuildError, String)>, MemoryLog) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let bin = root.join("buildpacks/acme_node/1/bin");
    {
        let _alone = PROGRAMS.write().expect("no test panics here");
        fs::create_dir_all(&bin).expect("a directory");
        fs::create_dir(root.join("app")).expect("a directory");
        let text = "api = '0.10'\n[buildpack]\nid = 'acme/node'\nversion = '1'\n\
                    sbom-formats = ['application/vnd.cyclonedx+json']\n";
        fs::write(bin.join("../buildpack.toml"), text).expect("a file");
        fs::write(bin.join("build"), script).expect("a file");
        fs::set_permissions(bin.join("build"), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let group = format!("[[group]]\nid = 'acme/node'\nversion = '1'\napi = '0.10'\n{keys}");
    let group = DetectedGroup::from_toml(&group).expect("a group");
    let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
    let mut inputs = BuildInputs::new(
        root.join("layers"),
        root.join("app"),
        root.join("platform"),
        root.to_owned(),
    );
    inputs.env.set("PATH", "/usr/bin:/bin");
    let mut log = MemoryLog::new();
    let _others_run = PROGRAMS.read().expect("no test panics here");
    let result = build(&group, Plan::default(), &inputs, &modules, runner, &mut log);
    let text = |error: &BuildError| error.to_string().replace(&root.display().to_string(), "<root>");
    (
        result
            .err()
            .map(|error| (text(&error), error))
            .map(|(text, error)| (error, text)),
        log,
    )
}

#[track_caller]
fn check(script: &str, mode: u32, expected: &str, code: i32) {
    let (failure, _) = run(script, mode, &HostRunner::default());
    let (error, message) = failure.expect("the build fails");
    assert_eq!(message, expected);
    assert_eq!(error.buildpack(), Some("acme/node@1"));
    assert_eq!(error.exit_code(), code);
}

#[track_caller]
fn check_file(name: &str, text: &str, expected: &str) {
    let script = format!("#!/bin/sh\ncat >\"$1/{name}\" <<'END'\n{text}\nEND\n");
    check(&script, 0o755, expected, 52);
}

#[test]
fn malformed_toml_is_named_with_file_and_line() {
    check_file(
        "launch.toml",
        "[[processes]]\ntype = web",
        "failed to process buildpack layer: failed to decode layer metadata file: toml: line 2 (last key \"processes.type\"): \
         expected value but found \"web\" instead in <root>/layers/acme_node/launch.toml",
    );
    check_file(
        "deps.toml",
        "[types]\n\nlaunch = yes",
        "failed to process buildpack layer: failed to decode layer metadata file: toml: line 3 (last key \"types.launch\"): \
         expected value but found \"yes\" instead in <root>/layers/acme_node/deps.toml",
    );
}

#[test]
fn a_wrong_type_is_named_with_file_and_line() {
    check_file(
        "launch.toml",
        "[[processes]]\ntype = 'web'\ncommand = 'node'",
        "toml: line 3 (last key \"processes.command\"): incompatible types: TOML value has type string; destination has type \
         slice in <root>/layers/acme_node/launch.toml",
    );
    check_file(
        "build.toml",
        "[[unmet]]\nname = 1",
        "toml: line 2 (last key \"unmet.name\"): incompatible types: TOML value has type int64; destination has type string in \
         <root>/layers/acme_node/build.toml",
    );
    check_file(
        "deps.toml",
        "[types]\nlaunch = 'yes'",
        "failed to process buildpack layer: failed to decode layer metadata file: toml: line 2 (last key \"types.launch\"): \
         incompatible types: TOML value has type string; destination has type boolean in <root>/layers/acme_node/deps.toml",
    );
}

#[test]
fn a_file_without_end_or_writer_is_not_read() {
    let path = "<root>/layers/acme_node/launch.toml";
    let layer = "failed to process buildpack layer: failed to decode layer metadata file";
    check(
        "#!/bin/sh\nmkfifo \"$1/deps.toml\"\n",
        0o755,
        &format!("{layer}: read <root>/layers/acme_node/deps.toml: is no regular file"),
        52,
    );
    for (command, problem) in [
        ("mkfifo \"$1/launch.toml\"", "is no regular file"),
        ("ln -s /dev/zero \"$1/launch.toml\"", "is no regular file"),
        (
            "truncate -s 17000000 \"$1/launch.toml\"",
            "has 17000000 bytes; at most 16777216 are read",
        ),
    ] {
        let script = format!("#!/bin/sh\n{command}\n");
        // Each `.toml` file is taken for the metadata of a layer first.
        check(&script, 0o755, &format!("{layer}: read {path}: {problem}"), 52);
    }
}

#[test]
fn a_bill_of_materials_without_end_or_writer_is_not_copied() {
    let path = "<root>/layers/acme_node/launch.sbom.cdx.json";
    for (command, problem) in [
        ("mkfifo", format!("open {path}: is no regular file")),
        ("ln -s /dev/zero", format!("open {path}: is no regular file")),
        ("mkdir", format!("read {path}: is a directory")),
    ] {
        let script = format!("#!/bin/sh\n{command} \"$1/launch.sbom.cdx.json\"\n");
        let (failure, _) = run(&script, 0o755, &HostRunner::default());
        let (_, message) = failure.expect("the build fails");
        assert!(message.ends_with(&problem), "{message}");
    }
}

#[test]
fn an_environment_file_without_end_is_not_read() {
    let script = "#!/bin/sh\nmkdir -p \"$1/deps/env\"\nln -s /dev/zero \"$1/deps/env/A\"\n\
                  printf '[types]\\nbuild = true\\n' >\"$1/deps.toml\"\n";
    let (failure, _) = run(script, 0o755, &HostRunner::default());
    let (error, message) = failure.expect("the build fails");
    assert_eq!(error.buildpack(), Some("acme/node@1"));
    assert!(
        message.ends_with("open <root>/layers/acme_node/deps/env/A: file too large"),
        "{message}"
    );
}

#[test]
fn a_broken_rule_names_its_buildpack() {
    check_file(
        "build.toml",
        "[[unmet]]\nname = 'x'",
        "unmet.name 'x' must match a requested dependency",
    );
}

#[test]
fn what_cannot_be_started_is_named() {
    let program = "fork/exec <root>/buildpacks/acme_node/1/bin/build";
    check("#!/bin/sh\n", 0o644, &format!("{program}: permission denied"), 51);
    check(
        "#!/no/such/interpreter\n",
        0o755,
        &format!("{program}: no such file or directory"),
        51,
    );
    for text in ["just text\n", "#!\n echo hi\n", "\x7fELFjunk"] {
        check(text, 0o755, &format!("{program}: exec format error"), 51);
    }
}

#[test]
fn a_program_that_fails_is_named() {
    check("#!/bin/sh\nexit 3\n", 0o755, "exit status 3", 51);
    check("#!/bin/sh\nkill -9 $$\n", 0o755, "signal: killed", 51);
    check("#!/bin/sh\nkill -USR1 $$\n", 0o755, "signal: user defined signal 1", 51);
}

#[test]
fn a_program_that_hangs_is_ended_at_the_time_limit() {
    let runner = HostRunner {
        time_limit: Some(Duration::from_millis(100)),
        ..HostRunner::default()
    };
    let (failure, _) = run("#!/bin/sh\nsleep 1000\n", 0o755, &runner);
    let (error, message) = failure.expect("it hangs");
    assert_eq!(
        message,
        "<root>/buildpacks/acme_node/1/bin/build was ended after 100ms, the most it may take"
    );
    assert_eq!((error.buildpack(), error.exit_code()), (Some("acme/node@1"), 51));
}

#[test]
fn a_program_that_closes_its_output_or_leaves_children_builds_all_the_same() {
    let quick = HostRunner {
        linger: Duration::from_millis(50),
        ..HostRunner::default()
    };
    assert!(run("#!/bin/sh\nexec >&- 2>&-\n/bin/true\n", 0o755, &quick).0.is_none());
    let (failure, log) = run("#!/bin/sh\nsleep 1000 &\necho built\n", 0o755, &quick);
    assert!(failure.is_none());
    let text = log.text(Level::Info);
    assert_eq!(
        text,
        "target distro name/version labels not found, reading /etc/os-release file\nbuilt\n[processes that were left running were ended after 50ms of silence]\n"
    );
}

#[test]
fn output_is_streamed_as_it_is_escapes_and_all() {
    let (failure, log) = run(
        "#!/bin/sh\nprintf '\\033[1mbold\\033[0m\\n'\n",
        0o755,
        &HostRunner::default(),
    );
    assert!(failure.is_none());
    assert!(log.text(Level::Info).ends_with("\u{1b}[1mbold\u{1b}[0m\n"));
}

#[test]
fn an_unsupported_api_is_refused_before_anything_runs() {
    // Checked by the phase for all of the group; a descriptor without a version is refused by the build itself.
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let directory = root.join("buildpacks/a/1");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(
        directory.join("buildpack.toml"),
        "api = 'next'\n[buildpack]\nid = 'a'\nversion = '1'\n",
    )
    .expect("a file");
    let modules = ModuleStore::new(root.join("buildpacks"), Path::new("/none"));
    let group = DetectedGroup::from_toml("[[group]]\nid = 'a'\nversion = '1'\napi = '0.10'\n").expect("a group");
    let inputs = BuildInputs::new(root.join("layers"), root, root.join("platform"), root.to_owned());
    let error = build(
        &group,
        Plan::default(),
        &inputs,
        &modules,
        &HostRunner::default(),
        &mut MemoryLog::new(),
    );
    assert_eq!(
        error.expect_err("it has no API").to_string(),
        "failed to parse buildpack API 'next' for buildpack 'a@1'"
    );
}

#[test]
fn a_file_where_the_sbom_directory_goes_is_removed() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    fs::create_dir(root.join("layers")).expect("a directory");
    fs::write(root.join("layers/sbom"), "").expect("a file");
    let inputs = BuildInputs::new(
        root.join("layers"),
        root.join("app"),
        root.join("platform"),
        root.to_owned(),
    );
    let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
    build(
        &DetectedGroup::default(),
        Plan::default(),
        &inputs,
        &modules,
        &HostRunner::default(),
        &mut MemoryLog::new(),
    )
    .expect("nothing is to be built");
    assert!(root.join("layers/sbom/launch/sbom.legacy.json").is_file());
}

#[test]
fn a_program_that_removes_its_layers_directory_has_no_layers() {
    let (failure, _) = run("#!/bin/sh\nrm -rf \"$1\"\n", 0o755, &HostRunner::default());
    assert!(failure.is_none(), "{failure:?}");
}

#[test]
fn numbers_that_json_does_not_have_are_refused_in_the_bill_of_materials() {
    for (number, name) in [("nan", "NaN"), ("inf", "+Inf"), ("-inf", "-Inf")] {
        let script = format!(
            "#!/bin/sh\nprintf '[[bom]]\\nname = \"x\"\\n[bom.metadata]\\na = [{number}]\\n' >\"$1/launch.toml\"\n"
        );
        let (failure, _) = run(&script, 0o755, &HostRunner::default());
        let (error, message) = failure.expect("the build fails");
        assert_eq!(message, format!("json: unsupported value: {name}"));
        assert_eq!(error.exit_code(), 52);
    }
}

#[test]
fn what_group_toml_lists_among_the_buildpacks_is_one_whatever_else_it_says_of_it() {
    let (failure, _) = run_as("extension = true\n", "#!/bin/sh\n", 0o755, &HostRunner::default());
    assert!(failure.is_none(), "{failure:?}");
}

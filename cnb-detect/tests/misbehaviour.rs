//! Buildpacks that go wrong in detection: what the user reads names the buildpack, the file and the line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::RwLock;
use std::time::Duration;

use cnb_detect::{
    DetectInputs, Exit, HostRunner, Level, Log, MemoryLog, ModuleStore, ScriptedRunner, check_apis, detect,
};
use cnb_order::{Entry, Group, Order};

/// A child forked while another thread writes a program would keep that program busy: writers write, readers run.
static PROGRAMS: RwLock<()> = RwLock::new(());

struct Found {
    code: i32,
    tree: String,
    log: String,
}

fn write(root: &Path, script: &str, mode: u32) {
    let bin = root.join("buildpacks/acme_node/1/bin");
    fs::create_dir_all(&bin).expect("a directory");
    fs::create_dir_all(root.join("app")).expect("a directory");
    let text = "api = '0.10'\n[buildpack]\nid = 'acme/node'\nversion = '1'\n";
    fs::write(bin.join("../buildpack.toml"), text).expect("a file");
    fs::write(bin.join("detect"), script).expect("a file");
    fs::set_permissions(bin.join("detect"), fs::Permissions::from_mode(mode)).expect("a mode");
}

fn order() -> Order {
    let entries = vec![Entry::new("acme/node", "1")];
    Order {
        groups: vec![Group { entries }],
        extensions: Vec::new(),
    }
}

fn run(script: &str, mode: u32, runner: &HostRunner) -> Found {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    {
        let _alone = PROGRAMS.write().expect("no test panics here");
        write(root, script, mode);
    }
    let _others_run = PROGRAMS.read().expect("no test panics here");
    let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
    let mut inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    inputs.env.set("PATH", "/usr/bin:/bin");
    let mut log = MemoryLog::new();
    let result = detect(&order(), &inputs, &modules, runner, &mut log);
    let (code, tree) = match &result {
        Ok(_) => (0, String::new()),
        Err(error) => (
            error.exit_code(),
            error.explanation().map(ToString::to_string).unwrap_or_default(),
        ),
    };
    let place = |text: String| text.replace(&root.display().to_string(), "<root>");
    Found {
        code,
        tree: place(tree),
        log: place(log.text(Level::Info)),
    }
}

#[track_caller]
fn check(script: &str, mode: u32, what: &str) {
    let found = run(script, mode, &HostRunner::default());
    assert_eq!(found.code, 21, "{}", found.log);
    assert!(found.tree.contains(&format!("acme/node@1 {what}")), "{}", found.tree);
    assert!(found.log.contains("acme/node@1"), "{}", found.log);
}

#[test]
fn what_cannot_be_started_is_named() {
    let program = "failed: fork/exec <root>/buildpacks/acme_node/1/bin/detect";
    check("#!/bin/sh\n", 0o644, &format!("{program}: permission denied"));
    check(
        "#!/no/such/interpreter\n",
        0o755,
        &format!("{program}: no such file or directory"),
    );
    for text in ["just text\n", "#!\nexit 0\n", "\x7fELFjunk"] {
        check(text, 0o755, &format!("{program}: exec format error"));
    }
}

#[test]
fn a_missing_directory_for_temporary_files_is_an_error_of_the_module() {
    let root = tempfile::tempdir().expect("a temporary directory");
    write(root.path(), "#!/bin/sh\n", 0o755);
    let modules = ModuleStore::new(root.path().join("buildpacks"), root.path().join("extensions"));
    let missing = root.path().join("tmp");
    let inputs = DetectInputs::new(root.path().join("app"), root.path().join("platform"), missing.clone());
    let error = detect(
        &order(),
        &inputs,
        &modules,
        &HostRunner::default(),
        &mut MemoryLog::new(),
    );
    let error = error.expect_err("there is no place for a plan");
    assert_eq!(error.exit_code(), 21);
    let tree = error.explanation().map(ToString::to_string).unwrap_or_default();
    let problem = format!("failed: stat {}: no such file or directory", missing.display());
    assert!(tree.contains(&problem), "{tree}");
}

#[test]
fn a_malformed_plan_is_named_with_its_line() {
    check(
        "#!/bin/sh\nprintf '[[provides]]\\nname = x\\n' >\"$2\"\n",
        0o755,
        "failed: its build plan is not well formed: toml: line 2 (last key \"provides.name\"): expected value but found \"x\" instead",
    );
    check(
        "#!/bin/sh\nprintf '[[provides]]\\n\\nname = 7\\n' >\"$2\"\n",
        0o755,
        "failed: its build plan is not well formed: toml: line 3 (last key \"provides.name\"): incompatible types: TOML value has \
         type int64; destination has type string",
    );
}

#[test]
fn a_plan_that_is_too_large_is_not_read() {
    check(
        "#!/bin/sh\nhead -c 17000000 /dev/zero >\"$2\"\n",
        0o755,
        "failed: the build plan <root>/plan.0/plan.toml has 17000000 bytes",
    );
}

#[test]
fn a_plan_without_end_or_writer_is_not_read() {
    for command in ["mkfifo", "ln -s /dev/zero"] {
        check(
            &format!("#!/bin/sh\nrm \"$2\" && {command} \"$2\"\n"),
            0o755,
            "failed: the build plan <root>/plan.0/plan.toml is no regular file",
        );
    }
}

#[test]
fn a_program_that_hangs_is_ended_at_the_time_limit() {
    let runner = HostRunner {
        time_limit: Some(Duration::from_millis(100)),
        ..HostRunner::default()
    };
    let found = run("#!/bin/sh\nsleep 1000\n", 0o755, &runner);
    assert_eq!(found.code, 21);
    assert!(
        found
            .tree
            .contains("acme/node@1 failed: <root>/buildpacks/acme_node/1/bin/detect was ended after 100ms"),
        "{}",
        found.tree
    );
}

#[test]
fn endless_output_is_cut_off_in_the_log() {
    let found = run(
        "#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' x\nexit 3\n",
        0o755,
        &HostRunner::default(),
    );
    assert_eq!(found.code, 21);
    assert!(found.log.len() < 11 << 20);
    assert!(found.log.contains("[19514240 more bytes of output are not shown]"));
    assert!(found.tree.len() < 5000);
}

#[test]
fn closed_output_and_children_left_behind_do_not_disturb_detection() {
    let quick = HostRunner {
        linger: Duration::from_millis(50),
        ..HostRunner::default()
    };
    assert_eq!(run("#!/bin/sh\nexec >&- 2>&-\n/bin/true\n", 0o755, &quick).code, 0);
    assert_eq!(run("#!/bin/sh\nsleep 1000 &\n", 0o755, &quick).code, 0);
}

#[test]
fn terminal_escapes_reach_the_log_but_not_the_explanation() {
    let found = run(
        "#!/bin/sh\nprintf '\\033[31mred'\nexit 100\n",
        0o755,
        &HostRunner::default(),
    );
    assert_eq!(found.code, 20);
    assert!(
        found.tree.contains("\u{fffd}[31mred") && !found.tree.contains('\u{1b}'),
        "{}",
        found.tree
    );
}

#[test]
fn a_broken_descriptor_is_named_with_file_and_line() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let _alone = PROGRAMS.write().expect("no test panics here");
    let check = |descriptor: &str, expected: &str| {
        write(root, "#!/bin/sh\n", 0o755);
        fs::write(root.join("buildpacks/acme_node/1/buildpack.toml"), descriptor).expect("a file");
        let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
        let error = check_apis(&order().groups[0].entries, &modules)
            .expect_err("it is broken")
            .to_string();
        assert_eq!(error.replace(&root.display().to_string(), "<root>"), expected);
    };
    let path = "in <root>/buildpacks/acme_node/1/buildpack.toml";
    check(
        "api = '0.10'\n[buildpack]\nid = acme\n",
        &format!("toml: line 3 (last key \"buildpack.id\"): expected value but found \"acme\" instead {path}"),
    );
    check(
        "api = '0.10'\n[buildpack]\nid = 'acme/node'\nclear-env = 'no'\n",
        &format!(
            "toml: line 4 (last key \"buildpack.clear-env\"): incompatible types: TOML value has type string; destination has type boolean {path}"
        ),
    );
    check(
        "api = '0.99'\n[buildpack]\nid = 'acme/node'\n",
        "failed to set API for Buildpack 'acme/node@1': buildpack API version '0.99' is incompatible with the lifecycle",
    );
}

/// Where the long texts of a log are in memory.
#[derive(Default)]
struct Places(Vec<*const u8>);

impl Log for Places {
    fn log(&mut self, level: Level, text: &str) {
        self.always(level, text);
    }

    fn always(&mut self, _: Level, text: &str) {
        if text.len() > 1000 {
            self.0.push(text.as_ptr());
        }
    }

    fn raw(&mut self, _: &[u8]) {}
}

#[test]
fn the_output_of_a_module_is_kept_once_however_many_groups_show_it() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    write(root, "", 0o644);
    let order = Order {
        groups: vec![order().groups.remove(0); 60],
        extensions: Vec::new(),
    };
    let runner = ScriptedRunner::new(|_, output| {
        output.write(&[b'x'; 8000]);
        Ok(Exit::Code(1))
    });
    let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
    let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    let mut places = Places::default();
    detect(&order, &inputs, &modules, &runner, &mut places).expect_err("the module fails");
    assert_eq!(places.0.len(), 60);
    assert!(places.0.iter().all(|place| *place == places.0[0]));
}

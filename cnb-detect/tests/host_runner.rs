//! What happens with executables that misbehave.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cnb_detect::{Captured, Command, Exit, HostRunner, RunError, Runner};

fn run(runner: &HostRunner, script: &str) -> (Result<Exit, RunError>, String) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let program = root.path().join("program");
    fs::write(&program, script).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let command = Command {
        program,
        args: vec!["one two".into()],
        env: vec![("A".into(), "b".into()), ("PATH".into(), "/usr/bin:/bin".into())],
        directory: root.path().to_owned(),
    };
    let mut output = Captured::new(1 << 20);
    // Another test's child may hold the program open for writing for a moment.
    let mut result = runner.run(&command, &mut output);
    for _ in 0..50 {
        match &result {
            Err(RunError::Start { source, .. }) if source.raw_os_error() == Some(26) => {
                std::thread::sleep(Duration::from_millis(20));
                result = runner.run(&command, &mut output);
            }
            _ => break,
        }
    }
    (result, output.into_text())
}

#[test]
fn a_program_gets_its_arguments_an_empty_input_and_exactly_its_environment() {
    let (exit, output) = run(
        &HostRunner::default(),
        "#!/bin/sh\necho \"$# $1 $A\"\ncat\necho err >&2\nexit 3\n",
    );
    assert_eq!(exit.expect("it runs"), Exit::Code(3));
    assert_eq!(output, "1 one two b\nerr\n");
}

#[test]
fn a_signal_is_told_from_an_exit_code() {
    let (exit, _) = run(&HostRunner::default(), "#!/bin/sh\nkill -9 $$\n");
    assert_eq!(exit.expect("it runs"), Exit::Signal(9));
}

#[test]
fn endless_output_is_cut_off_and_counted() {
    let (exit, output) = run(&HostRunner::default(), "#!/bin/sh\nhead -c 50000000 /dev/zero\n");
    assert!(exit.expect("it runs").success());
    assert!(output.len() < (1 << 20) + 100);
    assert!(output.ends_with("more bytes of output are not shown]\n"));
}

#[test]
fn children_that_are_left_behind_are_not_waited_for_forever() {
    let runner = HostRunner {
        linger: Duration::from_millis(100),
        ..HostRunner::default()
    };
    let since = Instant::now();
    let (exit, output) = run(&runner, "#!/bin/sh\nsleep 60 &\necho done\n");
    assert!(exit.expect("it runs").success());
    assert_eq!(output, "done\n");
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_program_that_closes_its_output_is_waited_for() {
    let (exit, _) = run(&HostRunner::default(), "#!/bin/sh\nexec >&- 2>&-\nsleep 0.2\nexit 7\n");
    assert_eq!(exit.expect("it runs"), Exit::Code(7));
}

#[test]
fn cancelling_ends_the_program_and_its_children() {
    let runner = HostRunner::default();
    let cancel = runner.cancel.clone();
    let since = Instant::now();
    let (exit, _) = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            cancel.cancel();
        });
        run(&runner, "#!/bin/sh\nsleep 60 &\nsleep 60\n")
    });
    assert!(matches!(exit, Err(RunError::Cancelled { .. })), "{exit:?}");
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_cannot_be_started_is_named_with_the_reason() {
    let command = |program: &Path, directory: &Path| Command {
        program: program.to_owned(),
        directory: directory.to_owned(),
        ..Command::default()
    };
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let message = |command: &Command| {
        let error = HostRunner::default()
            .run(command, &mut Vec::new())
            .expect_err("it cannot start");
        error.to_string().replace(&root.display().to_string(), "<root>")
    };
    fs::write(root.join("text"), "no program").expect("a file");
    assert_eq!(
        message(&command(&root.join("gone"), root)),
        "fork/exec <root>/gone: no such file or directory"
    );
    assert_eq!(
        message(&command(&root.join("text"), root)),
        "fork/exec <root>/text: permission denied"
    );
    fs::set_permissions(root.join("text"), fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_eq!(
        message(&command(&root.join("text"), root)),
        "fork/exec <root>/text: exec format error"
    );
    fs::write(root.join("script"), "#!/no/such/interpreter\n").expect("a file");
    fs::set_permissions(root.join("script"), fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_eq!(
        message(&command(&root.join("script"), root)),
        "fork/exec <root>/script: no such file or directory"
    );
    assert_eq!(
        message(&command(&root.join("script"), &root.join("gone"))),
        "chdir <root>/gone: no such file or directory"
    );
}

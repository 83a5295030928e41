//! What happens with executables that misbehave.

use std::fs;

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::RwLock;
use std::thread;
use std::time::{Duration, Instant};

use cnb_detect::{Captured, Command, Exit, HostRunner, Output, RunError, Runner};

/// A child forked while another thread writes a program would keep that program busy: writers write, readers run.
static PROGRAMS: RwLock<()> = RwLock::new(());

fn run_in(root: &Path, runner: &HostRunner, script: &str, output: &mut dyn Output) -> Result<Exit, RunError> {
    let program = root.join("program");
    {
        let _alone = PROGRAMS.write().expect("no test panics here");
        fs::write(&program, script).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let command = Command {
        program,
        args: vec!["one two".into()],
        env: vec![("A".into(), "b".into()), ("PATH".into(), "/usr/bin:/bin".into())],
        directory: root.to_owned(),
    };
    let _others_run = PROGRAMS.read().expect("no test panics here");
    runner.run(&command, output)
}

fn run(runner: &HostRunner, script: &str) -> (Result<Exit, RunError>, String) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut output = Captured::new(1 << 20);
    let result = run_in(root.path(), runner, script, &mut output);
    (result, output.into_text())
}

/// Cancels the run as soon as the program has printed something.
struct CancelAtOutput(cnb_detect::Cancel, Vec<u8>);

impl Output for CancelAtOutput {
    fn write(&mut self, bytes: &[u8]) {
        self.1.extend(bytes);
        self.0.cancel();
    }
}

fn is_running(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // What has ended but was not yet awaited by its parent does not run.
    state
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

/// Whether a process that was killed has come to its end, which the kernel may take a moment for.
fn has_ended(pid: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while is_running(pid) && Instant::now() < until {
        thread::yield_now();
    }
    !is_running(pid)
}

#[test]
fn a_program_gets_its_arguments_an_empty_input_and_exactly_its_environment() {
    let (exit, output) = run(
        &HostRunner::default(),
        "#!/bin/sh\necho \"$# $1\"\ncat\ntr '\\0' '\\n' < /proc/$$/environ\necho err >&2\nexit 3\n",
    );
    assert_eq!(exit.expect("it runs"), Exit::Code(3));
    assert_eq!(output, "1 one two\nA=b\nPATH=/usr/bin:/bin\nerr\n");
}

#[test]
fn descriptors_of_this_process_do_not_reach_the_program() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let file = fs::File::open("/proc/self/status").expect("there is a /proc");
    let socket = UnixListener::bind(root.path().join("socket")).expect("a socket");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let numbers = [
        file.as_raw_fd(),
        socket.as_raw_fd(),
        reader.as_raw_fd(),
        writer.as_raw_fd(),
    ];
    let name = |number| fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open");
    let names = numbers.map(|number| name(number).display().to_string());
    let (exit, output) = run(
        &HostRunner::default(),
        "#!/bin/sh\nfor fd in /proc/$$/fd/*; do readlink $fd; done\nexit 0\n",
    );
    assert!(exit.expect("it runs").success());
    assert!(output.contains("/dev/null"), "{output}");
    for name in names {
        assert!(!output.contains(&name), "{name} in {output}");
    }
}

#[test]
fn a_signal_is_told_from_an_exit_code() {
    let (exit, _) = run(&HostRunner::default(), "#!/bin/sh\nkill -9 $$\n");
    assert_eq!(
        exit.expect("it runs"),
        Exit::Signal {
            number: 9,
            core_dumped: false,
        }
    );
}

/// Counts without keeping.
struct Count(u64);

impl Output for Count {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

#[test]
fn a_gigabyte_of_output_is_read_in_bounded_memory() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut count = Count(0);
    let script = "#!/bin/sh\nexec head -c 1000000000 /dev/zero\n";
    let exit = run_in(root.path(), &HostRunner::default(), script, &mut count);
    assert!(exit.expect("it runs").success());
    assert_eq!(count.0, 1_000_000_000);
    let status = fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the kernel says");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 200_000, "{peak} kB");
}

#[test]
fn endless_output_is_cut_off_and_counted() {
    let (exit, output) = run(&HostRunner::default(), "#!/bin/sh\nhead -c 50000000 /dev/zero\n");
    assert!(exit.expect("it runs").success());
    assert!(output.len() < (1 << 20) + 100);
    assert!(
        output.ends_with("[48951424 more bytes of output are not shown]\n"),
        "{}",
        &output[1 << 20..]
    );
}

#[test]
fn children_that_are_left_behind_with_the_output_are_ended() {
    let runner = HostRunner {
        linger: Duration::from_millis(50),
        ..HostRunner::default()
    };
    let (exit, output) = run(
        &runner,
        "#!/bin/sh\nsleep 1000 &\necho $!\nsetsid sleep 1000 &\necho $!\n",
    );
    assert!(exit.expect("it runs").success());
    let mut lines = output.lines();
    for pid in lines.by_ref().take(2) {
        assert!(has_ended(pid), "{output}");
    }
    assert_eq!(
        lines.next(),
        Some("[processes that were left running were ended after 50ms of silence]")
    );
}

#[test]
fn children_that_let_go_of_the_output_are_left_alone() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut output = Vec::new();
    let script = "#!/bin/sh\nsleep 1000 >/dev/null 2>&1 &\necho $!\n";
    let exit = run_in(root.path(), &HostRunner::default(), script, &mut output);
    assert!(exit.expect("it runs").success());
    let pid = String::from_utf8(output).expect("a number");
    assert!(is_running(&pid));
    let ended = std::process::Command::new("kill").arg(pid.trim()).status();
    assert!(ended.expect("kill runs").success());
}

#[test]
fn a_program_that_closes_its_output_is_waited_for() {
    let (exit, _) = run(
        &HostRunner::default(),
        "#!/bin/sh\nexec >&- 2>&-\nfor i in 1 2 3 4 5; do /bin/true; done\nexit 7\n",
    );
    assert_eq!(exit.expect("it runs"), Exit::Code(7));
}

#[test]
fn a_program_that_hangs_is_ended_at_the_time_limit_with_its_children() {
    let runner = HostRunner {
        time_limit: Some(Duration::from_millis(200)),
        ..HostRunner::default()
    };
    let (exit, output) = run(&runner, "#!/bin/sh\nsetsid sleep 1000 &\necho $!\nsleep 1000\n");
    let error = exit.expect_err("it hangs");
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("/program was ended after 200ms, the most it may take"),
        "{error}"
    );
    assert!(output.lines().all(has_ended), "{output}");
}

#[test]
fn cancelling_ends_the_program_and_its_children_in_whatever_session() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let runner = HostRunner::default();
    let mut output = CancelAtOutput(runner.cancel.clone(), Vec::new());
    let script = "#!/bin/sh\nsleep 1000 & a=$!\nsetsid sh -c 'sleep 1000 & echo $! >inner; sleep 1000' & b=$!\n\
                  while ! test -s inner; do :; done\necho $a $b $(cat inner)\nsleep 1000\n";
    let exit = run_in(root.path(), &runner, script, &mut output);
    assert!(matches!(exit, Err(RunError::Cancelled { .. })), "{exit:?}");
    let text = String::from_utf8(output.1).expect("numbers");
    assert_eq!(text.split_whitespace().count(), 3, "{text}");
    for pid in text.split_whitespace() {
        assert!(has_ended(pid), "{pid} of {text}");
    }
}

#[test]
fn bytes_that_are_no_text_and_escapes_are_handed_on_as_they_are() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut output = Vec::new();
    let script = "#!/bin/sh\nprintf '\\033[31mred\\377\\033]0;title\\007'\n";
    let exit = run_in(root.path(), &HostRunner::default(), script, &mut output);
    assert!(exit.expect("it runs").success());
    assert_eq!(output, b"\x1b[31mred\xff\x1b]0;title\x07");
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
    {
        let _alone = PROGRAMS.write().expect("no test panics here");
        for (name, text, mode) in [
            ("text", "no program", 0o644),
            ("text-to-run", "no program", 0o755),
            ("script", "#!/no/such/interpreter\n", 0o755),
        ] {
            fs::write(root.join(name), text).expect("a file");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
        }
    }
    let _others_run = PROGRAMS.read().expect("no test panics here");
    let message = |program: &str, directory: &Path| {
        let error = HostRunner::default()
            .run(&command(&root.join(program), directory), &mut Vec::new())
            .expect_err("it cannot start");
        error.to_string().replace(&root.display().to_string(), "<root>")
    };
    assert_eq!(
        message("gone", root),
        "fork/exec <root>/gone: no such file or directory"
    );
    assert_eq!(message("text", root), "fork/exec <root>/text: permission denied");
    assert_eq!(
        message("text-to-run", root),
        "fork/exec <root>/text-to-run: exec format error"
    );
    assert_eq!(
        message("script", root),
        "fork/exec <root>/script: no such file or directory"
    );
    assert_eq!(
        message("script", &root.join("gone")),
        "chdir <root>/gone: no such file or directory"
    );
}

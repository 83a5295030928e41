//! The launcher, started as a program, against what the reference's launcher did.

mod case;

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use case::{check_all, dump, normal, out, place, set_up};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Map, Value, json};

/// Starts a program with exactly these environment entries, no further descriptors and no signal ignored, which no safe
/// interface of the standard library can.
const RAW_EXEC: &str = "import ctypes,json,sys,os,signal\nos.closerange(3,1024)\nfor s in signal.valid_signals()-{signal.SIGKILL,signal.SIGSTOP}: signal.signal(s,signal.SIG_DFL)\nc=json.loads(sys.argv[1])\nl=lambda x:(ctypes.c_char_p*(len(x)+1))(*[os.fsencode(e) for e in x],None)\nctypes.CDLL(None).execve(os.fsencode(c['program']),l(c['argv']),l(c['env']))\nsys.exit(99)";

static ALONE: Mutex<()> = Mutex::new(());

fn command(case: &Value, root: &Path) -> Command {
    let text = |value: &Value| place(root, value.as_str().expect("text"));
    let args: Vec<String> = case["args"].as_array().into_iter().flatten().map(text).collect();
    let env: Vec<(String, String)> = case["env"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    let program = env!("CARGO_BIN_EXE_launcher");
    // This process may have been given descriptors and ignored signals that its children then have, too.
    let no_raw = Vec::new();
    let is_about = |what: &str| case["name"].as_str().is_some_and(|name| name.contains(what));
    let clean = ["descriptors", "signal", "SIG"]
        .into_iter()
        .any(is_about)
        .then_some(&no_raw);
    let Some(raw) = case["env_raw"].as_array().or(clean) else {
        let mut command = Command::new(program);
        command.arg0(text(&case["argv0"])).args(args).env_clear().envs(env);
        return command;
    };
    let mut entries: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    entries.extend(raw.iter().map(text));
    let words: Vec<String> = std::iter::once(text(&case["argv0"])).chain(args).collect();
    let mut command = Command::new("python3");
    command
        .arg("-c")
        .arg(RAW_EXEC)
        .arg(json!({ "program": program, "argv": words, "env": entries }).to_string());
    command
}

/// Makes a pipe where the process of a case says that it is ready for the signal, and opens it for reading.
fn named_pipe(path: &Path) -> OwnedFd {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
    open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
}

fn check(case: &Value, dump_script: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().canonicalize().expect("it exists");
    // A child forked while another thread writes a program would keep that program busy.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_up(&root, case, dump_script);
    let ready = case["signal"].is_string().then(|| named_pipe(&root.join("out/ready")));
    let mut command = command(case, &root);
    command.current_dir(&root).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if case["stdin"].is_string() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = command.spawn().expect("the launcher starts");
    drop(alone);
    let pid = child.id();
    if let Some(text) = case["stdin"].as_str() {
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(text.as_bytes())
            .expect("it is read");
    }
    if let (Some(signal), Some(ready)) = (case["signal"].as_str(), ready) {
        // Over as soon as the process has opened and closed it, or has ended without.
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("it was not awaited yet");
        let mut either = [
            PollFd::new(&ready, PollFlags::empty()),
            PollFd::new(&ended, PollFlags::IN),
        ];
        poll(&mut either, None).expect("both can be waited for");
        Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(pid.to_string())
            .status()
            .expect("kill runs");
    }
    let output = child.wait_with_output().expect("it ends");
    let mut found = Map::new();
    match output.status.code() {
        Some(code) => found.insert("exit".to_owned(), json!(code)),
        None => found.insert("signal".to_owned(), json!(output.status.signal())),
    };
    found.insert("stdout".to_owned(), normal(&output.stdout, &root));
    found.insert("stderr".to_owned(), normal(&output.stderr, &root));
    found.insert("dump".to_owned(), dump(&root));
    let files = out(&root);
    if !files.is_empty() {
        found.insert("out".to_owned(), Value::Object(files));
    }
    let mut expected = case["expect"].as_object().cloned().unwrap_or_default();
    if let Some(same) = expected.remove("same_pid") {
        let own = fs::read_to_string(root.join("out/pid")).unwrap_or_default().trim() == pid.to_string();
        if same != own {
            return Err(format!("same_pid should be {same}"));
        }
    }
    for object in [&mut expected, &mut found] {
        for stream in ["stdout", "stderr"] {
            if let Some(text) = object.get(stream).and_then(Value::as_str) {
                let text = text.split("toml: ").next().unwrap_or_default().to_owned();
                object.insert(stream.to_owned(), Value::String(text));
            }
        }
    }
    if expected == found {
        return Ok(());
    }
    let mut report = String::new();
    for key in expected.keys().chain(found.keys()) {
        if expected.get(key) != found.get(key) && !report.contains(&format!("\n{key}:")) {
            report += &format!(
                "\n{key}: expected {:?}\n    found {:?}",
                expected.get(key),
                found.get(key)
            );
        }
    }
    Err(report)
}

// A row in front of a test: the cases of its file that show it do not name it themselves.

// row 11.8/P8: `user process, one word is a script`
// row 11.8/P12: `PAPI 0.15, three element command, user args`; `PAPI 0.15, three element command, no user args`
// row 11.8/P13: `PAPI 0.15, BpAPI 0.9, one element command, user args`
// row 11.8/P14: `PAPI 0.15, BpAPI 0.8, one element command, user args`
// row 11.8/P15: `PAPI 0.9, BpAPI 0.9, one element command, user args`; `PAPI 0.9, BpAPI 0.8, one element command, user args`
// row 11.8/P16: `exec-env ineligible process still claims the name`
// row 11.8/P17: `exec-env none, CNB_EXEC_ENV test`; `exec-env star, CNB_EXEC_ENV test`; `exec-env test, CNB_EXEC_ENV test`; `exec-env production, CNB_EXEC_ENV test`; `exec-env ignored at PAPI 0.14`
// row 11.8/P18: `exec-env, first eligible of one type`
// row 11.8/P30: `PAPI 0.10, three element command in the shell`
#[test]
fn processes_are_chosen_as_in_the_reference() {
    check_all("select.json", check);
}

#[test]
fn it_starts_or_fails_as_the_reference_does() {
    check_all("startup.json", check);
}

// row 11.8/P3: `working dir set`; `user process runs in the app dir`
#[test]
fn direct_processes_run_as_in_the_reference() {
    check_all("direct.json", check);
}

#[test]
fn environments_are_as_in_the_reference() {
    check_all("env.json", check);
}

// row 11.8/P6: `exec.d order`; `exec.d overrides values of env files`
#[test]
fn exec_d_programs_run_as_in_the_reference() {
    check_all("exec-d.json", check);
}

// row 11.8/P7: `profile scripts order`; `profile dollar zero is the launcher's argv0 as given`
// row 11.8/P8: `shell script mode, plain command`; `shell token mode, args are evaluated`; `shell, user command with spaces in one word and args`
// row 11.8/P30: `shell, command list for PAPI 0.7 style string command`
#[test]
fn shell_processes_run_as_in_the_reference() {
    check_all("shell.json", check);
}

#[test]
fn mixtures_run_as_in_the_reference() {
    check_all("generated.json", check);
}

#[test]
fn an_unsupported_buildpack_api_is_named_as_it_is_written() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(root.path().join("config")).expect("a directory");
    for api in ["0.", "1", "v0.2"] {
        let text = format!("[[buildpacks]]\nid = 'a'\nversion = '1'\napi = '{api}'\n");
        fs::write(root.path().join("config/metadata.toml"), text).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_launcher"))
            .arg("true")
            .env("CNB_PLATFORM_API", "0.12")
            .env("CNB_LAYERS_DIR", root.path())
            .env("CNB_NO_COLOR", "true")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let version = format!("buildpack API version '{api}' is incompatible with the lifecycle");
        assert!(said.contains(&version), "{said}");
    }
}

//! The launcher against what the reference's launcher did.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

const PLACES: [&str; 4] = ["layers", "app", "bin", "out"];

/// Cases in which this launcher differs, each with the reason.
const DIFFERENT: [(&str, &str); 0] = [];

/// Starts a program with exactly these environment entries, which no safe interface of the standard library can.
const RAW_EXEC: &str = "import ctypes,json,sys,os\nos.closerange(3,1024)\nc=json.loads(sys.argv[1])\nl=lambda x:(ctypes.c_char_p*(len(x)+1))(*[os.fsencode(e) for e in x],None)\nctypes.CDLL(None).execve(os.fsencode(c['program']),l(c['argv']),l(c['env']))\nsys.exit(99)";

static ALONE: Mutex<()> = Mutex::new(());

fn own_uid() -> u32 {
    fs::metadata("/proc/self").expect("there is a /proc").uid()
}

fn place(root: &Path, text: &str) -> String {
    let mut text = text.replace("<root>", &root.display().to_string());
    for name in PLACES {
        text = text.replace(&format!("<{name}>"), &root.join(name).display().to_string());
    }
    text
}

fn normal(bytes: &[u8], root: &Path) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Value::String(normal_text(text, root)),
        _ => json!({ "base64": base64(bytes) }),
    }
}

fn normal_text(text: &str, root: &Path) -> String {
    let mut text = text.to_owned();
    for name in PLACES {
        text = text.replace(&root.join(name).display().to_string(), &format!("<{name}>"));
    }
    // Two signals that the C library keeps for itself are ignored in whatever it spawns.
    for internal in ["0000000080000000", "0000000100000000", "0000000180000000"] {
        text = text.replace(internal, "0000000000000000");
    }
    text.replace(&root.display().to_string(), "<root>")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            if at > chunk.len() {
                out.push('=');
            } else {
                out.push(char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]));
            }
        }
    }
    out
}

fn unbase64(text: &str) -> Vec<u8> {
    let digit = |byte| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(digit(byte));
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).expect("it is masked"));
        }
    }
    out
}

fn set_up(root: &Path, case: &Value, dump_script: &str) {
    for name in PLACES {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    for (path, content) in case["files"].as_object().into_iter().flatten() {
        let path = PathBuf::from(place(root, path));
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        let mut mode = content["mode"]
            .as_str()
            .map(|mode| u32::from_str_radix(mode, 8).expect("an octal mode"));
        if let Some(text) = content.as_str().or(content["text"].as_str()) {
            fs::write(&path, place(root, text)).expect("a file");
            mode = mode.or(Some(0o644));
        } else if let Some(text) = content["base64"].as_str() {
            fs::write(&path, unbase64(text)).expect("a file");
            mode = mode.or(Some(0o644));
        } else if let Some(target) = content["link"].as_str() {
            symlink(place(root, target), &path).expect("a link");
        } else if content["dump"] == true {
            fs::write(&path, place(root, dump_script)).expect("a file");
            mode = Some(0o755);
        } else {
            fs::create_dir_all(&path).expect("a directory");
        }
        if let Some(mode) = mode {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        }
    }
}

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
    // This process may have been given descriptors that its children then have, too.
    let no_raw = Vec::new();
    let closed = case["name"]
        .as_str()
        .is_some_and(|name| name.contains("descriptors"))
        .then_some(&no_raw);
    let Some(raw) = case["env_raw"].as_array().or(closed) else {
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

fn check(case: &Value, dump_script: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().canonicalize().expect("it exists");
    // A child forked while another thread writes a program would keep that program busy.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_up(&root, case, dump_script);
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
    if let Some(signal) = case["signal"].as_str() {
        let since = Instant::now();
        while !root.join("out/ready").exists() && since.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
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

fn dump(root: &Path) -> Value {
    let Ok(argv) = fs::read(root.join("out/argv")) else {
        return Value::Null;
    };
    let mut argv: Vec<Value> = argv.split(|byte| *byte == 0).map(|arg| normal(arg, root)).collect();
    argv.pop();
    let name = argv.remove(0);
    let mut env = BTreeMap::new();
    for entry in fs::read(root.join("out/env"))
        .unwrap_or_default()
        .split(|byte| *byte == 0)
    {
        if let Some(at) = entry.iter().position(|byte| *byte == b'=') {
            env.insert(
                normal_text(&String::from_utf8_lossy(&entry[..at]), root),
                normal(&entry[at + 1..], root),
            );
        }
    }
    let cwd = fs::read_to_string(root.join("out/cwd")).unwrap_or_default();
    json!({ "self": name, "argv": argv, "env": env, "cwd": normal_text(cwd.trim_end_matches('\n'), root) })
}

fn out(root: &Path) -> Map<String, Value> {
    let known = ["argv", "env", "cwd", "ready", "pid"];
    fs::read_dir(root.join("out"))
        .expect("it was made")
        .filter_map(Result::ok)
        .filter(|entry| !known.iter().any(|name| entry.file_name() == *name))
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, normal(&fs::read(entry.path()).unwrap_or_default(), root))
        })
        .collect()
}

fn check_all(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let text = fs::read_to_string(path).expect("the fixture is there");
    let document: Value = serde_json::from_str(&text).expect("the fixture is JSON");
    let dump_script = document["dump_script"].as_str().expect("it has the script");
    let cases = document["cases"].as_array().expect("it has cases");
    let is_root = own_uid() == 0;
    let only = std::env::var("CASE").ok();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = case["name"].as_str().expect("a name");
                    let known = DIFFERENT.iter().any(|(different, _)| *different == name);
                    if known || only.as_deref().is_some_and(|only| only != name) || (case["root"] == true && !is_root) {
                        continue;
                    }
                    if let Err(problem) = check(case, dump_script) {
                        failures
                            .lock()
                            .expect("no thread panicked")
                            .push(format!("{name}: {problem}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panicked");
    assert!(
        failures.is_empty(),
        "{} of {} cases of {file} fail:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

macro_rules! files {
    ($($test:ident = $file:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            check_all($file);
        }
    )*};
}

files! {
    processes_are_chosen_as_in_the_reference = "select.json",
    it_starts_or_fails_as_the_reference_does = "startup.json",
    direct_processes_run_as_in_the_reference = "direct.json",
    environments_are_as_in_the_reference = "env.json",
    exec_d_programs_run_as_in_the_reference = "exec-d.json",
    shell_processes_run_as_in_the_reference = "shell.json",
    mixtures_run_as_in_the_reference = "generated.json",
}

//! Recorded scenarios: a tree of files, a phase, and what must be there afterwards.
//!
//! Shared by the tests that start the program and those that call it in-process; `Outcome` is what both hand over.
#![allow(dead_code)] // each test program uses a part

pub(crate) mod build;
pub(crate) mod detect;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

use serde_json::Value;

const PLACES: [&str; 8] = [
    "app",
    "layers",
    "platform",
    "buildpacks",
    "extensions",
    "build-config",
    "conf",
    "tmp",
];

/// Writers write programs, readers make children: a child forked while another thread writes a program would keep that
/// program busy.
pub(crate) static PROGRAMS: RwLock<()> = RwLock::new(());

/// What a run left behind, with directories and times replaced.
pub(crate) struct Outcome {
    pub(crate) exit: Option<i32>,
    pub(crate) log: String,
    pub(crate) stderr: String,
    pub(crate) root: tempfile::TempDir,
}

pub(crate) fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("a case is JSON"))
        .collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

pub(crate) fn place(root: &Path, text: &str) -> String {
    let mut text = text.replace("<root>", &root.display().to_string());
    for name in PLACES {
        text = text.replace(&format!("<{name}>"), &root.join(name).display().to_string());
    }
    text
}

fn base64(text: &str) -> Vec<u8> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut out = Vec::new();
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).expect("it is masked"));
        }
    }
    out
}

pub(crate) fn set_up(root: &Path, given: &Value) {
    for name in PLACES {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    let mut modes = Vec::new();
    for (path, entry) in given["tree"].as_object().into_iter().flatten() {
        let full = PathBuf::from(place(root, path));
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent).expect("a parent");
        }
        let mode = entry["mode"].as_str().unwrap_or("0644");
        let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
        if let Some(text) = entry.as_str() {
            fs::write(&full, text).expect("a file");
            modes.push((full, 0o644));
        } else if let Some(text) = entry["text"].as_str() {
            fs::write(&full, text).expect("a file");
            modes.push((full, mode));
        } else if let Some(text) = entry["base64"].as_str() {
            fs::write(&full, base64(text)).expect("a file");
            modes.push((full, mode));
        } else if let Some(target) = entry["link"].as_str() {
            symlink(place(root, target), &full).expect("a link");
        } else if entry["absent"] == true {
            fs::remove_dir_all(&full).expect("it was there");
        } else {
            fs::create_dir_all(&full).expect("a directory");
            if let Some(mode) = entry["dir"].as_str() {
                modes.push((full, u32::from_str_radix(mode, 8).expect("an octal mode")));
            }
        }
    }
    if is_root() {
        own(root);
    }
    modes.sort_by(|(a, _), (b, _)| b.cmp(a));
    for (path, mode) in modes {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    }
    fs::set_permissions(root, Permissions::from_mode(0o755)).expect("a mode");
}

fn own(path: &Path) {
    let _ = lchown(path, Some(1000), Some(1000));
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("a directory") {
            own(&entry.expect("an entry").path());
        }
    }
}

pub(crate) fn environment(root: &Path, given: &Value, level: &str) -> BTreeMap<String, String> {
    let dir = |name: &str| root.join(name).display().to_string();
    let mut env: BTreeMap<String, String> = [
        ("CNB_APP_DIR", dir("app")),
        ("CNB_LAYERS_DIR", dir("layers")),
        ("CNB_PLATFORM_DIR", dir("platform")),
        ("CNB_BUILDPACKS_DIR", dir("buildpacks")),
        ("CNB_EXTENSIONS_DIR", dir("extensions")),
        ("CNB_BUILD_CONFIG_DIR", dir("build-config")),
        ("CNB_ORDER_PATH", dir("conf/order.toml")),
        ("CNB_SYSTEM_PATH", dir("conf/system.toml")),
        ("CNB_RUN_PATH", dir("conf/run.toml")),
        ("CNB_NO_COLOR", "true".to_owned()),
        ("PATH", "/usr/bin:/bin".to_owned()),
        ("TMPDIR", dir("tmp")),
        ("CNB_LOG_LEVEL", level.to_owned()),
        (
            "CNB_PLATFORM_API",
            given["platform_api"].as_str().unwrap_or_default().to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for (name, value) in given["env"].as_object().into_iter().flatten() {
        match value.as_str() {
            Some(value) => env.insert(name.clone(), place(root, value)),
            None => env.remove(name),
        };
    }
    env
}

/// Replaces what differs from run to run.
pub(crate) fn normal(text: &str, root: &Path) -> String {
    let mut text = text.to_owned();
    let mut places: Vec<(String, String)> = PLACES
        .iter()
        .map(|name| (root.join(name).display().to_string(), format!("<{name}>")))
        .collect();
    places.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    for (path, name) in places {
        text = directory(&text, &path, &name);
    }
    text = text.replace(&root.display().to_string(), "<root>");
    text = numbers(&text, "<tmp>/plan.");
    text = numbers(&text, "<tmp>/cnb-extensions-generated.");
    text = plan_directories(&text);
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("Timer: ").and_then(|rest| rest.split_once(' ')) {
            Some((what, rest)) if rest.starts_with("started at") => {
                out.push_str(&format!("Timer: {what} started at <time>\n"));
            }
            Some((what, _)) => out.push_str(&format!("Timer: {what} ran for <duration> and ended at <time>\n")),
            None => out.push_str(line),
        }
    }
    out
}

/// Replaces `path` by `name` where it is that directory and not the beginning of a longer name.
fn directory(text: &str, path: &str, name: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let (before, behind) = (&rest[..at], &rest[at + path.len()..]);
        out.push_str(before);
        out.push_str(if behind.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            path
        } else {
            name
        });
        rest = behind;
    }
    out + rest
}

/// Replaces the digits behind `prefix` by `<random>`.
fn numbers(text: &str, prefix: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(prefix) {
        let (before, behind) = rest.split_at(at + prefix.len());
        out.push_str(before);
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            out.push_str("<random>");
        }
        rest = &behind[digits..];
    }
    out + rest
}

/// Replaces the number in `<tmp>/id-0/id/`.
fn plan_directories(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("<tmp>/") {
        let (before, behind) = rest.split_at(at + "<tmp>/".len());
        out.push_str(before);
        let name = behind.split('/').next().unwrap_or_default();
        if let Some((id, number)) = name.rsplit_once('-')
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && behind[name.len()..].starts_with(&format!("/{id}/"))
        {
            out.push_str(&format!("{id}-<random>"));
            rest = &behind[name.len()..];
        } else {
            rest = behind;
        }
    }
    out + rest
}

/// Cuts the words that come from the TOML decoder or the operating system off each error line.
pub(crate) fn without_foreign_words(log: &str) -> String {
    let mut text = String::new();
    for mut line in log.lines() {
        for mark in ["toml: ", ": open ", "Checking for match against descriptor"] {
            if let Some(at) = line.find(mark) {
                line = &line[..at];
            }
        }
        text.extend([line, "\n"]);
    }
    text
}

fn levels(case: &Value) -> Vec<&str> {
    match case["given"]["levels"].as_array() {
        Some(levels) => levels.iter().filter_map(Value::as_str).collect(),
        None => vec!["info", "debug"],
    }
}

/// Runs `check` on all cases at their log levels on a few threads and reports all that failed.
pub(crate) fn check_all(file: &str, check: impl Fn(&Value, &str) -> Result<(), String> + Sync) {
    check_cases(file, &cases(file), check);
}

/// Does that for cases from elsewhere.
pub(crate) fn check_cases(file: &str, cases: &[Value], check: impl Fn(&Value, &str) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let only = std::env::var("CASE").ok();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = case["name"].as_str().expect("a name");
                    if only.as_deref().is_some_and(|only| only != name) {
                        continue;
                    }
                    for level in levels(case) {
                        if let Err(problem) = check(case, level) {
                            failures
                                .lock()
                                .expect("no thread panicked")
                                .push(format!("{name} at {level}: {problem}"));
                        }
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panicked");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} cases of {file} fail:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

pub(crate) fn compare(what: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!(
        "{what} differs\n--- expected\n{expected}\n--- found\n{found}\n"
    ))
}

pub(crate) fn read(path: &Path) -> Option<String> {
    fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Sorts the `[[entries]]` of a plan by their names.
pub(crate) fn sorted_plan(text: &str) -> String {
    if !text.starts_with("[[entries]]") {
        return text.to_owned();
    }
    let mut blocks: Vec<String> = Vec::new();
    for block in text.split("[[entries]]\n").filter(|block| !block.is_empty()) {
        blocks.push(block.trim_end_matches('\n').to_owned());
    }
    let name = |block: &String| {
        block
            .find("[[entries.requires]]")
            .map(|at| block[at..].lines().nth(1).unwrap_or_default().to_owned())
    };
    blocks.sort_by_key(name);
    blocks
        .iter()
        .map(|block| format!("[[entries]]\n{block}\n"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Describes everything below a directory.
pub(crate) fn tree(directory: &Path, root: &Path) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(directory, directory, root, &mut found);
    found
}

fn collect(top: &Path, directory: &Path, root: &Path, found: &mut BTreeMap<String, Value>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(top).expect("it is beneath").display().to_string();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let mode = format!("{:04o}", meta.mode() & 0o7777);
        if meta.is_symlink() {
            let target = fs::read_link(&path).expect("a link").display().to_string();
            found.insert(name, serde_json::json!({ "link": normal(&target, root) }));
        } else if meta.is_dir() {
            found.insert(name, serde_json::json!({ "dir": mode }));
            collect(top, &path, root, found);
        } else if meta.is_file() {
            let text = normal(&read(&path).unwrap_or_default(), root);
            found.insert(name, serde_json::json!({ "mode": mode, "text": text }));
        }
    }
}

/// Checks what an executable recorded of the call it got: how often, arguments, directory, input, environment, plan.
pub(crate) fn check_seen(seen: &Value, root: &Path) -> Result<(), String> {
    let text = |key: &str| seen[key].as_str().unwrap_or_default();
    let (module, phase) = (text("module"), text("phase"));
    let (kind, name) = module.split_once(' ').expect("a kind and a name");
    let (id, version) = name.rsplit_once('@').expect("id@version");
    let directory = root.join(format!("{kind}s")).join(id).join(version);
    let recorded = |what: &str| read(&directory.join(format!("seen.{phase}.{what}")));
    let runs = recorded("runs").unwrap_or_default().lines().count();
    if seen["runs"] != runs {
        return Err(format!(
            "{module} ran {runs} times in {phase} instead of {}",
            seen["runs"]
        ));
    }
    let lines = |text: String| -> Value { text.lines().map(|line| normal(line, root)).collect() };
    for (key, found) in [
        ("argv", recorded("argv").map(lines)),
        (
            "cwd",
            recorded("cwd").map(|text| normal(text.trim_end_matches('\n'), root).into()),
        ),
        (
            "stdin",
            recorded("stdin").map(|text| text.trim_end_matches('\n').into()),
        ),
        ("env", recorded("env").map(|text| environment_of(&text, root))),
        ("plan_toml", recorded("plan").map(Value::from)),
    ] {
        if let Some(expected) = seen.get(key)
            && found.as_ref() != Some(expected)
        {
            return Err(format!("{key} of {module} in {phase}:\n{expected:#}\n{found:#?}"));
        }
    }
    Ok(())
}

fn environment_of(text: &str, root: &Path) -> Value {
    let entries = text.split('\0').filter_map(|entry| entry.split_once('='));
    Value::Object(
        entries
            .map(|(name, value)| (name.to_owned(), normal(value, root).into()))
            .collect(),
    )
}

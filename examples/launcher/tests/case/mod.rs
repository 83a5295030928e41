//! Recorded launches: what is there before, and what the launched program told of itself.
#![allow(dead_code)] // each test program uses a part

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

const PLACES: [&str; 4] = ["layers", "app", "bin", "out"];

pub(crate) fn own_uid() -> u32 {
    fs::metadata("/proc/self").expect("there is a /proc").uid()
}

pub(crate) fn place(root: &Path, text: &str) -> String {
    let mut text = text.replace("<root>", &root.display().to_string());
    for name in PLACES {
        text = text.replace(&format!("<{name}>"), &root.join(name).display().to_string());
    }
    text
}

pub(crate) fn normal(bytes: &[u8], root: &Path) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Value::String(normal_text(text, root)),
        _ => json!({ "base64": base64(bytes) }),
    }
}

pub(crate) fn normal_text(text: &str, root: &Path) -> String {
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

pub(crate) fn set_up(root: &Path, case: &Value, dump_script: &str) {
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

pub(crate) fn dump(root: &Path) -> Value {
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

pub(crate) fn out(root: &Path) -> Map<String, Value> {
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

pub(crate) fn check_all(file: &str, check: impl Fn(&Value, &str) -> Result<(), String> + Sync) {
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
                    if only.as_deref().is_some_and(|only| only != name) || (case["root"] == true && !is_root) {
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

//! What the tests of recorded values share.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod file_server;
pub(crate) mod repositories;
pub(crate) mod sshd;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use base64::Engine as _;
use serde_json::Value;

/// Reads a file of recorded values.
pub(crate) fn recorded(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("the file is JSON")
}

/// Decodes base64.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

/// Describes a tree, one line a path, git's own directory at its top left out.
pub(crate) fn tree_of(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).expect("readable").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("beneath").to_string_lossy().into_owned();
            if name == ".git" && path.join("HEAD").is_file() {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("there");
            let mode = metadata.permissions().mode() & 0o7777;
            let line = if metadata.is_dir() {
                walk(root, &path, found);
                format!("dir {mode:04o}")
            } else if metadata.is_symlink() {
                format!("symlink {}", fs::read_link(&path).expect("a link").to_string_lossy())
            } else {
                format!("file {mode:04o} {}", summary(&fs::read(&path).expect("readable")))
            };
            found.insert(name, line);
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// Describes a recorded tree the same way.
pub(crate) fn recorded_tree(entries: &Value, place: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let line = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        let content = || match &entry["content_b64"] {
            Value::String(bytes) => summary(&base64(bytes)),
            _ if entry["sha256"].is_string() => format!("{} {}", entry["size"], text("sha256")),
            _ => summary(place(text("content")).as_bytes()),
        };
        let line = match text("type") {
            "dir" => format!("dir {}", text("mode")),
            "symlink" => format!("symlink {}", text("target")),
            _ => format!("file {} {}", text("mode"), content()),
        };
        (text("path").to_owned(), line)
    };
    entries.as_array().into_iter().flatten().map(line).collect()
}

fn summary(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    if bytes.len() > 4096 {
        let digest = registry_auth::Digest::from_sha256_bytes(sha2::Sha256::digest(bytes).into());
        return format!("{} {}", bytes.len(), digest.hex());
    }
    format!("{:?}", String::from_utf8_lossy(bytes))
}

/// The differences between two trees, a line each.
pub(crate) fn differences(expected: &BTreeMap<String, String>, actual: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = expected.keys().chain(actual.keys()).collect();
    let different = |name: &&&String| expected.get(**name) != actual.get(**name);
    let line = |name: &String| {
        format!(
            "{name}: expected {:?}, found {:?}",
            expected.get(name),
            actual.get(name)
        )
    };
    names.iter().filter(different).map(|name| line(name)).collect()
}

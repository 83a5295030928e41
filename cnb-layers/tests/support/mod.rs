//! Reading recorded cases, and making the file trees they describe.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use serde_json::Value;

pub fn fixture(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("fixtures are JSON")
}

pub fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .bytes()
        .filter_map(|byte| ALPHABET.iter().position(|digit| *digit == byte));
    let (mut bits, mut count, mut bytes) = (0usize, 0, Vec::new());
    for digit in digits {
        (bits, count) = (bits << 6 | digit, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("a byte"));
        }
    }
    bytes
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Text under `key`, or bytes under `key_base64`.
pub fn bytes(value: &Value, key: &str) -> Vec<u8> {
    match value[format!("{key}_base64").as_str()].as_str() {
        Some(encoded) => base64(encoded),
        None => text(value, key).as_bytes().to_vec(),
    }
}

pub fn number(value: &Value, key: &str, default: i64) -> i64 {
    value[key].as_i64().unwrap_or(default)
}

pub fn mode(value: &Value, default: u32) -> u32 {
    value["mode"]
        .as_str()
        .map_or(default, |text| u32::from_str_radix(text, 8).expect("octal"))
}

pub fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file tree on disk, and what its entries should be where the test may not make them so.
pub struct MadeTree {
    pub root: tempfile::TempDir,
    pub metadata: HashMap<PathBuf, (u32, i64, i64)>,
}

impl MadeTree {
    pub fn new(entries: &Value) -> Self {
        let mut tree = Self {
            root: tempfile::tempdir().expect("temp dir"),
            metadata: HashMap::new(),
        };
        for dir in ["/layers", "/workspace", "/platform"] {
            tree.directory(Path::new(dir));
        }
        for entry in entries.as_array().into_iter().flatten() {
            tree.entry(entry);
        }
        tree
    }

    pub fn below(&self, path: &Path) -> PathBuf {
        self.root.path().join(path.strip_prefix("/").expect("absolute"))
    }

    pub fn known(&self, path: &Path) -> (u32, i64, i64) {
        self.metadata.get(path).copied().unwrap_or((0o755, 1000, 1000))
    }

    fn directory(&mut self, path: &Path) {
        if path == Path::new("/") || self.below(path).is_dir() {
            return;
        }
        self.directory(path.parent().expect("not the root"));
        fs::create_dir(self.below(path)).expect("new directory");
        self.set(path, 0o755, 1000, 1000);
    }

    fn set(&mut self, path: &Path, mode: u32, uid: i64, gid: i64) {
        self.metadata.insert(path.to_owned(), (mode, uid, gid));
        let disk = self.below(path);
        if am_root() {
            let id = |id: i64| u32::try_from(id).expect("an id");
            std::os::unix::fs::lchown(&disk, Some(id(uid)), Some(id(gid))).expect("chown");
        }
        if !disk.is_symlink() {
            fs::set_permissions(&disk, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    }

    pub fn entry(&mut self, entry: &Value) {
        let path = PathBuf::from(OsString::from_vec(bytes(entry, "path")));
        let kind = entry["type"].as_str().unwrap_or("file");
        let default = match kind {
            "dir" | "socket" => 0o755,
            "char" | "block" => 0o666,
            _ => 0o644,
        };
        self.directory(path.parent().expect("not the root"));
        let disk = self.below(&path);
        if kind != "dir" && disk.symlink_metadata().is_ok() {
            fs::remove_file(&disk).expect("replaced");
        }
        match kind {
            "dir" => self.directory(&path),
            "symlink" => {
                let target = OsString::from_vec(bytes(entry, "target"));
                std::os::unix::fs::symlink(target, &disk).expect("symlink");
            }
            "hardlink" => {
                fs::hard_link(self.below(Path::new(text(entry, "target"))), &disk).expect("hard link");
                return;
            }
            "fifo" => rustix::fs::mknodat(CWD, &disk, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("fifo"),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&disk).expect("socket")),
            "char" | "block" => {
                let kind = if kind == "char" {
                    FileType::CharacterDevice
                } else {
                    FileType::BlockDevice
                };
                let part = |at: usize| u32::try_from(entry["dev"][at].as_u64().expect("dev")).expect("small");
                let device = rustix::fs::makedev(part(0), part(1));
                rustix::fs::mknodat(CWD, &disk, kind, Mode::from_raw_mode(0o666), device).expect("device");
            }
            _ => fs::write(&disk, content(entry)).expect("file"),
        }
        let mode = if kind == "symlink" { 0o777 } else { mode(entry, default) };
        self.set(&path, mode, number(entry, "uid", 1000), number(entry, "gid", 1000));
    }
}

pub fn content(entry: &Value) -> Vec<u8> {
    if let Some(encoded) = entry["base64"].as_str() {
        return base64(encoded);
    }
    if let Some(size) = entry["size"].as_u64() {
        let fill = match &entry["fill"] {
            Value::String(text) => text.as_bytes().first().copied().unwrap_or(0),
            Value::Number(number) => u8::try_from(number.as_u64().expect("a byte")).expect("a byte"),
            _ => 0,
        };
        return vec![fill; usize::try_from(size).expect("it fits")];
    }
    text(entry, "content").as_bytes().to_vec()
}

//! [`Files`]: one JSON file an object, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::OpenStoreError;
use crate::{ApiError, Kind, Object};

/// Directory name in place of a namespace for kinds of the whole cluster; no namespace can be called so.
const CLUSTER: &str = "_cluster";

/// The largest file, in bytes: more than one request brings. Without a bound, patches could make an object grow for ever.
const LARGEST: usize = 8 << 20;

/// Names longer than this are shortened in file names, which are limited to 255 bytes.
const LONGEST_NAME: usize = 200;

/// The directory of the objects' files: `objects/<resource>/<namespace>/<name>.json`.
///
/// A file is written beside, synced, renamed, and its directory synced: at any moment each file holds one
/// whole state of its object. Only the owner can read them, secrets are among them.
pub(super) struct Files {
    root: PathBuf,
    /// Keeps other processes out for as long as this lives.
    _lock: File,
}

impl Files {
    /// Opens (or makes) the directory and takes its lock.
    pub(super) fn open(root: &Path) -> Result<Self, OpenStoreError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenStoreError::Io { action, path, source }
        };
        make_dir(root).map_err(failed("make", root))?;
        let lock = take_lock(root)?;
        for name in ["objects", "tmp"] {
            make_dir(&root.join(name)).map_err(failed("make", &root.join(name)))?;
        }
        let files = Self {
            root: root.to_owned(),
            _lock: lock,
        };
        files.clear_leftovers().map_err(failed("clear", &root.join("tmp")))?;
        sync_dir(root).map_err(failed("sync", root))?;
        Ok(files)
    }

    /// Reads every object.
    pub(super) fn load(&self) -> Result<Vec<Object>, OpenStoreError> {
        let mut found = Vec::new();
        for resource in entries(&self.root.join("objects"))? {
            for namespace in entries(&resource)? {
                for file in entries(&namespace)? {
                    found.push(self.load_one(&file)?);
                }
            }
        }
        Ok(found)
    }

    fn load_one(&self, path: &Path) -> Result<Object, OpenStoreError> {
        let bytes = fs::read(path).map_err(|source| OpenStoreError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let corrupt = |problem: String| OpenStoreError::Corrupt {
            path: path.to_owned(),
            problem,
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let object = Object::from_value(value).map_err(|error| corrupt(error.to_string()))?;
        let expected = self.path(object.kind(), object.namespace(), object.name());
        if expected != path {
            return Err(corrupt(format!(
                "it holds {object}, which belongs to {}",
                expected.display()
            )));
        }
        Ok(object)
    }

    /// Writes the state of an object, durable when this returns.
    pub(super) fn write(&self, object: &Object) -> Result<(), ApiError> {
        let path = self.path(object.kind(), object.namespace(), object.name());
        let failed = |source| ApiError::Storage {
            action: "write",
            path: path.display().to_string(),
            source,
        };
        let mut text = serde_json::to_vec_pretty(object.as_value()).map_err(|error| ApiError::Internal {
            message: format!("{object} cannot be written: {error}"),
        })?;
        text.push(b'\n');
        if text.len() > LARGEST {
            return Err(ApiError::TooLarge { limit: LARGEST });
        }
        self.replace(&path, &text).map_err(failed)
    }

    /// Removes the file of an object, durable when this returns.
    pub(super) fn remove(&self, object: &Object) -> Result<(), ApiError> {
        let path = self.path(object.kind(), object.namespace(), object.name());
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let directory = path.parent().unwrap_or(&self.root);
        removed
            .and_then(|()| sync_dir(directory))
            .map_err(|source| ApiError::Storage {
                action: "remove",
                path: path.display().to_string(),
                source,
            })
    }

    /// Reads the highest revision that may have been given out; 0 in a new store.
    pub(super) fn reserved_revision(&self) -> Result<u64, OpenStoreError> {
        let path = self.root.join("revision");
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(OpenStoreError::Io {
                action: "read",
                path,
                source,
            }),
            Ok(text) => text.trim().parse().map_err(|_| OpenStoreError::Corrupt {
                path,
                problem: "it holds no number".to_owned(),
            }),
        }
    }

    /// Writes the highest revision that may be given out from now on.
    pub(super) fn reserve_revision(&self, revision: u64) -> Result<(), ApiError> {
        let path = self.root.join("revision");
        self.replace(&path, format!("{revision}\n").as_bytes())
            .map_err(|source| ApiError::Storage {
                action: "write",
                path: path.display().to_string(),
                source,
            })
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.root);
        if !directory.is_dir() {
            self.make_dirs(directory)?;
        }
        let temporary = self.root.join("tmp/next");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(directory)
    }

    /// Makes the directories of a kind and of a namespace, durably.
    fn make_dirs(&self, directory: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = directory
            .ancestors()
            .take_while(|path| *path != self.root && !path.is_dir())
            .collect();
        while let Some(path) = missing.pop() {
            make_dir(path)?;
            sync_dir(path.parent().unwrap_or(&self.root))?;
        }
        Ok(())
    }

    fn clear_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("tmp"))? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    fn path(&self, kind: Kind, namespace: Option<&str>, name: &str) -> PathBuf {
        let mut path = self.root.join("objects");
        path.push(kind.resource());
        path.push(namespace.unwrap_or(CLUSTER));
        path.push(format!("{}.json", file_stem(name)));
        path
    }
}

/// Names are checked before (no `/`, never `..`), so only their length matters.
fn file_stem(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let half = u128::from_be_bytes(std::array::from_fn(|index| digest[index]));
    format!("{}~{half:032x}", &name[..LONGEST_NAME])
}

fn take_lock(root: &Path) -> Result<File, OpenStoreError> {
    let path = root.join("lock");
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let mut file = opened.map_err(|source| OpenStoreError::Io {
        action: "open",
        path: path.clone(),
        source,
    })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(OpenStoreError::Locked {
                dir: root.to_owned(),
                holder,
            });
        }
        Err(error) => {
            return Err(OpenStoreError::Io {
                action: "lock",
                path,
                source: error.into(),
            });
        }
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|source| OpenStoreError::Io {
        action: "write",
        path,
        source,
    })?;
    Ok(file)
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, OpenStoreError> {
    let list = || {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    let mut paths = list().map_err(|source| OpenStoreError::Io {
        action: "read",
        path: dir.to_owned(),
        source,
    })?;
    paths.sort();
    Ok(paths)
}

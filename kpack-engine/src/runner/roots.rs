//! [`Roots`]: images unpacked once, for all containers of all pods.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use cnb_layers::{Digest, Image, ImageConfig, ImageSource, Reference, UnpackError, UnpackOptions, unpack};

use super::sandbox::remove_tree;

/// The directory of unpacked images: `HEX/root` and `HEX/config.json` of each.
pub(super) struct Roots {
    dir: PathBuf,
    /// One lock an image, so that an image is unpacked once and others do not wait for it.
    locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// How many containers use an image.
    used: Mutex<HashMap<String, usize>>,
}

/// An unpacked image that is not removed while this exists.
pub(super) struct Root {
    roots: Arc<Roots>,
    hex: String,
    pub(super) dir: PathBuf,
    pub(super) config: ImageConfig,
}

/// Why there is no root of an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootError {
    #[error("cannot unpack the image")]
    Unpack(#[from] UnpackError),
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{path} is damaged; remove its directory")]
    Config { path: PathBuf },
}

const BEGUN: &str = ".begun-";

impl Roots {
    /// Opens the directory; what an earlier process did not finish is removed.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(BEGUN) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(Self {
            dir,
            locks: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// Returns the root of an image when it is unpacked already.
    pub(super) fn present(self: &Arc<Self>, digest: &Digest) -> Result<Option<Root>, RootError> {
        let place = self.dir.join(digest.hex());
        let used = self.use_one(digest.hex());
        if !place.is_dir() {
            return Ok(None);
        }
        let path = place.join("config.json");
        let json = fs::read(&path).map_err(|source| io_error("read", &path, source))?;
        let config = ImageConfig::from_json(&json).map_err(|_| RootError::Config { path: path.clone() })?;
        // The time of the last use, for `prune`.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Some(used.finish(place.join("root"), config)))
    }

    /// Returns the root of an image; unpacks it if that has not been done.
    pub(super) fn unpacked(
        self: &Arc<Self>,
        source: &dyn ImageSource,
        reference: &Reference,
        image: &Image,
        options: &UnpackOptions,
    ) -> Result<Root, RootError> {
        let hex = image.digest().hex().to_owned();
        let lock = lock(&self.locks).entry(hex.clone()).or_default().clone();
        let _one_at_a_time = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = self.present(image.digest())? {
            return Ok(root);
        }
        let begun = self.dir.join(format!("{BEGUN}{hex}"));
        let result = unpack_into(&begun, source, reference, image, options);
        if let Err(error) = result {
            // The next start removes what cannot be removed now.
            let _ = remove_tree(&begun);
            return Err(error);
        }
        let place = self.dir.join(&hex);
        fs::rename(&begun, &place).map_err(|source| io_error("rename", &begun, source))?;
        self.present(image.digest())?.ok_or(RootError::Config { path: place })
    }

    /// Removes the least recently used images but `kept` and those in use.
    pub(super) fn prune(&self, kept: usize) -> io::Result<()> {
        let in_use: HashSet<String> = lock(&self.used).keys().cloned().collect();
        let mut unused = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || in_use.contains(&name) {
                continue;
            }
            let used = fs::metadata(entry.path().join("config.json")).and_then(|file| file.modified());
            unused.push((used.unwrap_or(SystemTime::UNIX_EPOCH), name));
        }
        unused.sort();
        unused.truncate(unused.len().saturating_sub(kept));
        for (_, name) in unused {
            // Gone under another name first, so that nobody begins to use half of it.
            let gone = self.dir.join(format!("{BEGUN}{name}"));
            let used = lock(&self.used);
            if !used.contains_key(&name) {
                fs::rename(self.dir.join(&name), &gone)?;
                drop(used);
                remove_tree(&gone)?;
            }
        }
        Ok(())
    }

    fn use_one(self: &Arc<Self>, hex: &str) -> Use {
        *lock(&self.used).entry(hex.to_owned()).or_insert(0) += 1;
        Use {
            roots: self.clone(),
            hex: hex.to_owned(),
            done: false,
        }
    }

    fn leave(&self, hex: &str) {
        let mut used = lock(&self.used);
        if let Some(count) = used.get_mut(hex) {
            *count -= 1;
            if *count == 0 {
                used.remove(hex);
            }
        }
    }
}

fn unpack_into(
    begun: &Path,
    source: &dyn ImageSource,
    reference: &Reference,
    image: &Image,
    options: &UnpackOptions,
) -> Result<(), RootError> {
    remove_tree(begun).map_err(|source| io_error("remove", begun, source))?;
    let root = begun.join("root");
    fs::create_dir_all(&root).map_err(|source| io_error("create", &root, source))?;
    unpack(source, reference, image, &root, options)?;
    let config = begun.join("config.json");
    fs::write(&config, image.config_json()).map_err(|source| io_error("write", &config, source))?;
    // A root is never looked at again: after a power failure it must be whole or absent.
    let synced = fs::File::open(&config).and_then(|file| Ok(rustix::fs::syncfs(file)?));
    synced.map_err(|source| io_error("write", begun, source))
}

/// Counts as a use until it becomes a [`Root`].
struct Use {
    roots: Arc<Roots>,
    hex: String,
    done: bool,
}

impl Use {
    fn finish(mut self, dir: PathBuf, config: ImageConfig) -> Root {
        self.done = true;
        Root {
            roots: self.roots.clone(),
            hex: self.hex.clone(),
            dir,
            config,
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if !self.done {
            self.roots.leave(&self.hex);
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.roots.leave(&self.hex);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> RootError {
    RootError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

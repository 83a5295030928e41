//! A cache in a directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use sha2::{Digest as _, Sha256};

use super::{Cache, CacheError, CachedLayer};
use crate::metadata::CacheMetadata;
use crate::phase::os_error_text;
use crate::{DiffId, LayerError};

const METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";

/// A cache in a directory: `committed/` holds the last build's layers as uncompressed tars and a JSON file
/// that describes them, `staging/` those of the build that is going on.
#[derive(Debug)]
pub struct VolumeCache {
    committed: PathBuf,
    staging: PathBuf,
    backup: PathBuf,
    done: AtomicBool,
}

impl VolumeCache {
    /// Opens the cache in `dir` and clears away what an interrupted build left there.
    ///
    /// # Errors
    /// When `dir` is no directory or cannot be written.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let broken = |problem: String| CacheError::Open {
            path: dir.to_owned(),
            problem,
        };
        if let Err(error) = fs::metadata(dir) {
            return Err(broken(format!("stat {}: {}", dir.display(), os_error_text(&error))));
        }
        let cache = Self {
            committed: dir.join("committed"),
            staging: dir.join("staging"),
            backup: dir.join("committed-backup"),
            done: AtomicBool::new(false),
        };
        let at = |path: &Path, action: &str, error: &io::Error| {
            broken(format!("{action} {}: {}", path.display(), os_error_text(error)))
        };
        let initializing = format!("initializing staging directory '{}': unlinkat", cache.staging.display());
        remove(&cache.staging).map_err(|error| at(&cache.staging, &initializing, &error))?;
        remove(&cache.backup).map_err(|error| at(&cache.backup, "remove", &error))?;
        for path in [&cache.staging, &cache.committed] {
            match fs::create_dir(path) {
                // Another build may make them at the same time.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path, "mkdir", &error)),
                _ => {}
            }
        }
        Ok(cache)
    }

    fn file(dir: &Path, diff_id: &DiffId) -> PathBuf {
        dir.join(format!("{diff_id}.tar"))
    }

    fn writable(&self) -> Result<(), CacheError> {
        if self.done.load(Ordering::SeqCst) {
            Err(CacheError::Committed)
        } else {
            Ok(())
        }
    }

    fn open_committed(&self, diff_id: &DiffId) -> Result<File, CacheError> {
        match open_file(&Self::file(&self.committed, diff_id)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CacheError::NoLayer(diff_id.to_string())),
            Err(source) => Err(CacheError::Layer {
                diff_id: diff_id.clone(),
                source,
            }),
        }
    }
}

impl Cache for VolumeCache {
    fn metadata(&self) -> Result<CacheMetadata, CacheError> {
        let path = self.committed.join(METADATA);
        let read = open_file(&path).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        match read {
            Ok(bytes) => Ok(CacheMetadata::from_start(&bytes).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                Ok(CacheMetadata::default())
            }
            Err(source) => Err(CacheError::Metadata { path, source }),
        }
    }

    fn layer(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, CacheError> {
        Ok(Box::new(self.open_committed(diff_id)?))
    }

    fn keep(&self, diff_id: &DiffId) -> Result<(), CacheError> {
        self.writable()?;
        let found = hash(&mut self.open_committed(diff_id)?).map_err(CacheError::Read)?;
        if found != *diff_id {
            return Err(CacheError::WrongBytes {
                expected: diff_id.clone(),
                found,
            });
        }
        let (from, to) = (Self::file(&self.committed, diff_id), Self::file(&self.staging, diff_id));
        match fs::hard_link(&from, &to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Not all file systems have hard links.
            Err(_) => fs::copy(&from, &to).map(|_| ()).map_err(|source| CacheError::Write {
                action: "copying to",
                path: to,
                source,
            }),
        }
    }

    fn add(&self, layer: &CachedLayer<'_>) -> Result<(), CacheError> {
        self.writable()?;
        let path = Self::file(&self.staging, layer.diff_id);
        if path.exists() {
            return Ok(());
        }
        let part = self.staging.join(format!("{}.part", layer.diff_id));
        let failed = |source| CacheError::Write {
            action: "caching layer in",
            path: path.clone(),
            source,
        };
        let file = File::create(&part).map_err(failed)?;
        let mut sink = Hashed {
            inner: io::BufWriter::with_capacity(1 << 20, file),
            hash: Sha256::new(),
        };
        let written = match layer.content.write_tar(&mut sink) {
            Ok(()) => sink.flush().map_err(failed),
            Err(LayerError::Write(source)) => Err(failed(source)),
            Err(error) => Err(error.into()),
        };
        let found = DiffId::from_sha256_bytes(sink.hash.finalize().into());
        let outcome = match written {
            Ok(()) if found == *layer.diff_id => fs::rename(&part, &path).map_err(failed),
            Ok(()) => Err(CacheError::WrongBytes {
                expected: layer.diff_id.clone(),
                found,
            }),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            let _ = fs::remove_file(&part);
        }
        outcome
    }

    fn commit(&self, metadata: &CacheMetadata) -> Result<(), CacheError> {
        self.writable()?;
        let failed = |action, path: &Path, source| CacheError::Write {
            action,
            path: path.to_owned(),
            source,
        };
        let file = self.staging.join(METADATA);
        fs::write(&file, metadata.to_json()? + "\n").map_err(|source| failed("writing", &file, source))?;
        self.done.store(true, Ordering::SeqCst);
        // One step where the system can do it, so that a crash leaves either the old cache or the new one.
        let swapped = rustix::fs::renameat_with(CWD, &self.staging, CWD, &self.committed, RenameFlags::EXCHANGE);
        if swapped.is_ok() {
            return remove(&self.staging).map_err(|source| failed("removing", &self.staging, source));
        }
        match fs::rename(&self.committed, &self.backup) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("backing up", &self.committed, error));
            }
            _ => {}
        }
        if let Err(source) = fs::rename(&self.staging, &self.committed) {
            let _ = fs::rename(&self.backup, &self.committed);
            return Err(failed("committing", &self.staging, source));
        }
        remove(&self.backup).map_err(|source| failed("removing", &self.backup, source))
    }
}

/// Opens a file to read it, also through a link. What is no regular file, such as a pipe that nobody writes to, is
/// [`InvalidInput`](io::ErrorKind::InvalidInput) at once.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let problem = format!("{} is not a regular file", path.display());
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

/// Removes a file or a directory with everything in it; missing is fine.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn hash(reader: &mut dyn Read) -> io::Result<DiffId> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(DiffId::from_sha256_bytes(hash.finalize().into())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerContent;

    struct Text(&'static str);

    impl LayerContent for Text {
        fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
            out.write_all(self.0.as_bytes()).map_err(LayerError::Write)
        }
    }

    fn add(cache: &VolumeCache, text: &'static str) -> Result<DiffId, CacheError> {
        let diff_id = DiffId::of(text.as_bytes());
        cache.add(&CachedLayer {
            diff_id: &diff_id,
            content: &Text(text),
            placed: None,
        })?;
        Ok(diff_id)
    }

    fn text(cache: &VolumeCache, diff_id: &DiffId) -> Result<String, CacheError> {
        let mut text = String::new();
        cache.layer(diff_id)?.read_to_string(&mut text).expect("it can be read");
        Ok(text)
    }

    #[test]
    fn what_was_added_is_there_after_the_commit_and_not_before() {
        let dir = tempfile::tempdir().expect("there is room");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        let id = add(&cache, "one").expect("it is stored");
        assert!(matches!(text(&cache, &id), Err(CacheError::NoLayer(_))));
        cache
            .commit(&CacheMetadata {
                sbom: "x".into(),
                buildpacks: None,
            })
            .expect("it is committed");
        assert!(matches!(add(&cache, "two"), Err(CacheError::Committed)));
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        assert_eq!(text(&cache, &id).expect("it is there"), "one");
        assert_eq!(cache.metadata().expect("it is readable").sbom, "x");
    }

    #[test]
    fn layers_that_are_neither_kept_nor_added_vanish() {
        let dir = tempfile::tempdir().expect("there is room");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        let one = add(&cache, "one").expect("it is stored");
        let two = add(&cache, "two").expect("it is stored");
        cache.commit(&CacheMetadata::default()).expect("it is committed");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        cache.keep(&one).expect("it is there");
        cache.commit(&CacheMetadata::default()).expect("it is committed");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        assert!(text(&cache, &one).is_ok());
        assert!(matches!(text(&cache, &two), Err(CacheError::NoLayer(_))));
    }

    #[test]
    fn a_damaged_layer_is_not_kept() {
        let dir = tempfile::tempdir().expect("there is room");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        let id = DiffId::of(b"one");
        fs::write(VolumeCache::file(&cache.committed, &id), "other").expect("there is room");
        let error = cache.keep(&id).expect_err("it is damaged");
        assert_eq!(
            error.to_string(),
            format!(
                "expected layer contents to have SHA '{id}'; found '{}'",
                DiffId::of(b"other")
            )
        );
    }

    #[test]
    fn unreadable_metadata_is_an_empty_cache() {
        let dir = tempfile::tempdir().expect("there is room");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        fs::write(cache.committed.join(METADATA), "garbage").expect("there is room");
        assert_eq!(cache.metadata().expect("it is readable"), CacheMetadata::default());
    }

    #[test]
    fn a_pipe_or_a_directory_in_place_of_a_file_is_a_miss_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().expect("there is room");
        let cache = VolumeCache::open(dir.path()).expect("it opens");
        let (pipe, folder) = (DiffId::of(b"pipe"), DiffId::of(b"folder"));
        let make_pipe = |path: &Path| {
            rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("pipes can be made");
        };
        make_pipe(&VolumeCache::file(&cache.committed, &pipe));
        fs::create_dir(VolumeCache::file(&cache.committed, &folder)).expect("there is room");
        for id in [&pipe, &folder] {
            for error in [cache.layer(id).err(), cache.keep(id).err()] {
                let error = error.expect("it is no file");
                assert!(error.is_miss(), "{error}");
            }
        }
        make_pipe(&cache.committed.join(METADATA));
        assert_eq!(cache.metadata().expect("it counts as empty"), CacheMetadata::default());
    }

    #[test]
    fn builds_at_the_same_time_can_open_one_cache() {
        let dir = tempfile::tempdir().expect("there is room");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        VolumeCache::open(dir.path()).expect("it opens");
                    }
                });
            }
        });
    }

    #[test]
    fn a_missing_directory_is_refused() {
        let error = VolumeCache::open(Path::new("/nowhere")).expect_err("there is none");
        assert_eq!(error.to_string(), "stat /nowhere: no such file or directory");
    }
}

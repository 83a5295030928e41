//! [`LogStore`]: the directory of all logs.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::feed::Feed;
use super::{LogError, LogName, LogReader, LogWriter, ReadOptions, name};

/// How many bytes of a container's output are kept, unless set otherwise: 64 MiB.
pub const DEFAULT_LOG_BYTES: u64 = 64 << 20;

/// All logs, as files of one directory: `NAMESPACE_POD_UID/CONTAINER.log`.
///
/// Cheap to clone; all clones share the same logs. One process at a time.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    max_bytes: u64,
    clock: fn() -> SystemTime,
    /// Of the logs that are being written.
    feeds: Mutex<HashMap<LogName, Arc<Feed>>>,
}

impl LogStore {
    /// Opens the directory, or makes it. Logs that another process left open count as closed.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, LogError> {
        Self::open_with(dir, DEFAULT_LOG_BYTES, SystemTime::now)
    }

    /// Opens the directory; of each container `max_bytes` of output are kept, lines are dated by `clock`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open_with(dir: impl Into<PathBuf>, max_bytes: u64, clock: fn() -> SystemTime) -> Result<Self, LogError> {
        let dir = dir.into();
        make_dir(&dir)?;
        let shared = Shared {
            dir,
            max_bytes,
            clock,
            feeds: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Begins a container's log; what an earlier run of the container wrote is gone.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn writer(&self, name: &LogName) -> Result<LogWriter, LogError> {
        make_dir(&self.shared.dir.join(name.pod_dir()))?;
        let path = self.path(name);
        // A new file: who still reads the old one reads it to its end.
        if let Err(source) = fs::remove_file(&path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(io_error("remove", &path, source));
        }
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| io_error("create", &path, source))?;
        let feed = Arc::new(Feed::default());
        let before = self.feeds().insert(name.clone(), feed.clone());
        if let Some(before) = before {
            before.close();
        }
        Ok(LogWriter::new(
            self.clone(),
            name.clone(),
            file,
            feed,
            self.shared.max_bytes,
            self.shared.clock,
        ))
    }

    /// Reads a container's log from its beginning.
    ///
    /// With [`ReadOptions::follow`] the reader waits for more until the log is closed, and then ends.
    ///
    /// # Errors
    /// [`LogError::NotFound`] when the container has not begun; otherwise when the file cannot be read.
    pub fn reader(&self, name: &LogName, options: &ReadOptions) -> Result<LogReader, LogError> {
        let path = self.path(name);
        // The feed first: a log that is closed after this look is read to its end.
        let feed = self.feeds().get(name).cloned();
        let file = fs::File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LogError::NotFound { name: name.clone() },
            _ => io_error("open", &path, source),
        })?;
        LogReader::new(file, feed, options).map_err(|source| io_error("open", &path, source))
    }

    /// Removes the logs of a pod; readers that are open read on to the end.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, namespace: &str, pod: &str, uid: &str) -> Result<(), LogError> {
        for (part, text) in [("namespace", namespace), ("pod", pod), ("uid", uid)] {
            if name::check(part, text).is_err() {
                return Ok(());
            }
        }
        remove_dir(&self.shared.dir.join(name::pod_dir(namespace, pod, uid)))
    }

    /// Removes the logs of all pods but those with one of these uids, and returns how many pods that were.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn retain(&self, uids: &HashSet<String>) -> Result<usize, LogError> {
        let dir = &self.shared.dir;
        let list = fs::read_dir(dir).map_err(|source| io_error("list", dir, source))?;
        let mut removed = 0;
        for entry in list {
            let entry = entry.map_err(|source| io_error("list", dir, source))?;
            let file_name = entry.file_name();
            let uid = file_name.to_str().and_then(|name| name.rsplit_once('_'));
            if uid.is_none_or(|(_, uid)| !uids.contains(uid)) {
                remove_dir(&entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Forgets the feed of a log that is closed, unless a new run of the container has another.
    pub(super) fn closed(&self, name: &LogName, feed: &Arc<Feed>) {
        let mut feeds = self.feeds();
        if feeds.get(name).is_some_and(|current| Arc::ptr_eq(current, feed)) {
            feeds.remove(name);
        }
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<LogName, Arc<Feed>>> {
        self.shared.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &LogName) -> PathBuf {
        self.shared.dir.join(name.path())
    }
}

fn make_dir(dir: &Path) -> Result<(), LogError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| io_error("create", dir, source))
}

fn remove_dir(dir: &Path) -> Result<(), LogError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error("remove", dir, source)),
        _ => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> LogError {
    LogError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

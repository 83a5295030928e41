//! What all clones of a store share: the objects in memory, their files, and the watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::files::Files;
use super::history::{Entry, History};
use super::{Clock, OpenStoreError};
use crate::{ApiError, Kind, Object, ResourceVersion, WatchEvent, WatchFilter, WatchSource};

/// How many revisions are reserved on disk at once, so that not each change writes that file.
const RESERVE: u64 = 1000;

pub(super) type Key = (Kind, Option<String>, String);

/// The one state of a store.
///
/// Changes take `writer` first and hold it while files are synced; `state` is held only for moments, so
/// readers never wait for a disk.
pub(super) struct Shared {
    writer: Mutex<Writer>,
    state: Mutex<State>,
    changed: Condvar,
    pub(super) clock: Clock,
}

/// Files and the counter; whoever holds it is the only one who changes something.
pub(super) struct Writer {
    files: Files,
    revision: u64,
    reserved: u64,
    /// The creation time of the newest Build, as RFC 3339 in UTC; such texts sort by time.
    newest_build: String,
}

struct State {
    objects: BTreeMap<Key, Arc<Object>>,
    history: History,
    revision: u64,
    closed: bool,
}

impl Shared {
    pub(super) fn open(files: Files, clock: Clock) -> Result<Self, OpenStoreError> {
        let objects: BTreeMap<Key, Arc<Object>> = files
            .load()?
            .into_iter()
            .map(|object| (key(&object), Arc::new(object)))
            .collect();
        let highest = objects
            .values()
            .filter_map(|object| object.resource_version())
            .max()
            .unwrap_or_default();
        let revision = files.reserved_revision()?.max(highest.number()).max(1);
        let builds = objects.values().filter(|object| object.kind() == Kind::Build);
        let newest_build = builds.filter_map(|build| build.creation_timestamp()).max();
        let newest_build = newest_build.unwrap_or_default().to_owned();
        Ok(Self {
            writer: Mutex::new(Writer {
                files,
                revision,
                reserved: revision,
                newest_build,
            }),
            state: Mutex::new(State {
                objects,
                history: History::new(revision),
                revision,
                closed: false,
            }),
            changed: Condvar::new(),
            clock,
        })
    }

    /// Becomes the one who may change something.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Option<Arc<Object>> {
        self.state()
            .objects
            .get(&(kind, namespace.map(str::to_owned), name.to_owned()))
            .cloned()
    }

    /// Returns the objects of a kind, by namespace and name, and the revision they were read at.
    pub(super) fn of_kind(&self, kind: Kind, namespace: Option<&str>) -> (Vec<Arc<Object>>, u64) {
        let state = self.state();
        let from = (kind, namespace.map(str::to_owned), String::new());
        let found = state
            .objects
            .range(from..)
            .take_while(|(key, _)| key.0 == kind && (namespace.is_none() || key.1.as_deref() == namespace))
            .map(|(_, object)| object.clone())
            .collect();
        (found, state.revision)
    }

    pub(super) fn all(&self) -> Vec<Arc<Object>> {
        self.state().objects.values().cloned().collect()
    }

    /// Stores a new state of an object under the next revision.
    pub(super) fn put(&self, writer: &mut Writer, mut object: Object) -> Result<Object, ApiError> {
        let revision = writer.next_revision()?;
        object
            .metadata_mut()
            .insert("resourceVersion".to_owned(), json!(revision.to_string()));
        writer.files.write(&object)?;
        let new = Arc::new(object.clone());
        let mut state = self.state();
        let old = state.objects.insert(key(&object), new.clone());
        state.record(Entry {
            revision,
            old,
            new,
            deleted: false,
        });
        drop(state);
        self.changed.notify_all();
        Ok(object)
    }

    /// Removes an object under the next revision, and returns its last state.
    pub(super) fn take(&self, writer: &mut Writer, object: &Object) -> Result<Object, ApiError> {
        let revision = writer.next_revision()?;
        writer.files.remove(object)?;
        let mut last = object.clone();
        last.metadata_mut()
            .insert("resourceVersion".to_owned(), json!(revision.to_string()));
        let mut state = self.state();
        let old = state.objects.remove(&key(object));
        state.record(Entry {
            revision,
            old,
            new: Arc::new(last.clone()),
            deleted: true,
        });
        drop(state);
        self.changed.notify_all();
        Ok(last)
    }

    /// Ends all watches.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

impl Writer {
    /// Returns the creation time of an object that is created at `now`.
    ///
    /// Builds alone are compared by age, to find the newest of an Image: none is dated before another one, so that the
    /// newest stays so when the clock is set back. All else is dated `now`: a clock that was once in the future must not
    /// date all that comes after.
    pub(super) fn creation_time(&mut self, kind: Kind, now: &str) -> String {
        if kind != Kind::Build {
            return now.to_owned();
        }
        if now > self.newest_build.as_str() {
            now.clone_into(&mut self.newest_build);
        }
        self.newest_build.clone()
    }

    fn next_revision(&mut self) -> Result<u64, ApiError> {
        if self.revision >= self.reserved {
            self.files.reserve_revision(self.revision + RESERVE)?;
            self.reserved = self.revision + RESERVE;
        }
        self.revision += 1;
        Ok(self.revision)
    }
}

impl State {
    fn record(&mut self, entry: Entry) {
        self.revision = entry.revision;
        self.history.push(entry);
    }
}

/// Reads the changes that a watch lets through.
pub(super) struct Reader {
    shared: Arc<Shared>,
    filter: WatchFilter,
    position: u64,
}

impl Reader {
    /// Begins after `from`, or (`None`) now, with the objects that exist now.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        filter: WatchFilter,
        from: Option<ResourceVersion>,
    ) -> Result<(Vec<WatchEvent>, Self), ApiError> {
        let state = shared.state();
        let (position, existing) = match from.map(ResourceVersion::number).filter(|from| *from > 0) {
            Some(from) if from < state.history.start() => return Err(too_old(from, state.history.start())),
            Some(from) => (from, Vec::new()),
            None => (
                state.revision,
                state
                    .objects
                    .values()
                    .filter(|object| filter.matches(object))
                    .cloned()
                    .collect(),
            ),
        };
        drop(state);
        let initial = existing
            .into_iter()
            .map(|object| WatchEvent {
                change: crate::Change::Added,
                object: (*object).clone(),
            })
            .collect();
        Ok((
            initial,
            Self {
                shared: shared.clone(),
                filter,
                position,
            },
        ))
    }
}

impl WatchSource for Reader {
    fn next(&mut self, timeout: Duration) -> Result<Option<WatchEvent>, ApiError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state();
        loop {
            match state.history.next(&mut self.position, &self.filter) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(old) => return Err(too_old(self.position, old.start)),
            }
            if state.closed {
                return Err(ApiError::Internal {
                    message: "the store is closed".to_owned(),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

pub(super) fn key(object: &Object) -> Key {
    (
        object.kind(),
        object.namespace().map(str::to_owned),
        object.name().to_owned(),
    )
}

fn too_old(from: u64, start: u64) -> ApiError {
    ApiError::Expired {
        message: format!("too old resource version: {from} ({start})"),
    }
}

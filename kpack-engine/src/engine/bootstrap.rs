//! What exists from the beginning, and what does not stay for ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::local_images::LocalImages;
use crate::logs::LogStore;
use crate::runner::LOCAL_HOST;
use crate::store::{Clock, Store};
use crate::{ApiError, Kind, Object, Resources, Selector};

/// The namespaces that exist from the beginning.
const NAMESPACES: [&str; 2] = ["default", "kpack"];

/// The ClusterLifecycle that builders use when they name none.
const LIFECYCLE: &str = "default-lifecycle";

/// How long events are kept, as in Kubernetes.
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// How often old things are looked for.
const ROUND: Duration = Duration::from_secs(300);

/// How long a stop may go unnoticed.
const TICK: Duration = Duration::from_millis(100);

/// Makes what is missing of the first objects.
pub(super) fn first_objects(resources: &dyn Resources, own: &LocalImages) -> Result<(), ApiError> {
    for name in NAMESPACES {
        ensure(resources, Object::new(Kind::Namespace, None, name))?;
    }
    ensure(resources, storage_class())?;
    let mut lifecycle = Object::new(Kind::ClusterLifecycle, None, LIFECYCLE);
    lifecycle.set("spec", json!({"image": own.lifecycle}));
    match resources.get(Kind::ClusterLifecycle, None, LIFECYCLE)? {
        None => ensure(resources, lifecycle),
        // Of an older version of this engine: its image may be gone. Another one is the user's choice.
        Some(mut found) => {
            let image = found.text("/spec/image").unwrap_or_default();
            if image.starts_with(&format!("{LOCAL_HOST}/")) && image != own.lifecycle {
                found.set("spec", json!({"image": own.lifecycle}));
                resources.update(found)?;
            }
            Ok(())
        }
    }
}

/// The default class of storage, so that Images have a cache volume: a directory of this machine, of any size.
fn storage_class() -> Object {
    let mut class = Object::new(Kind::StorageClass, None, "directory");
    class.set_annotation("storageclass.kubernetes.io/is-default-class", "true");
    class.set("provisioner", json!(format!("{LOCAL_HOST}/directory")));
    class.set("allowVolumeExpansion", json!(true));
    class
}

/// Creates an object unless there is one of its name.
fn ensure(resources: &dyn Resources, object: Object) -> Result<(), ApiError> {
    match resources.create(object) {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Removes old events, and logs of pods that are gone; dropping it ends it.
pub(super) struct Housekeeping {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    /// Starts; `None` when no thread can be started, which is no reason not to work.
    pub(super) fn start(store: Store, logs: LogStore, clock: Clock) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("housekeeping".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    if let Err(error) = tidy_up(&store, &logs, clock()) {
                        tracing::warn!(%error, "cannot remove old events and logs");
                    }
                    let next = Instant::now() + ROUND;
                    while Instant::now() < next && !stopped.load(Ordering::Relaxed) {
                        std::thread::sleep(TICK);
                    }
                }
            });
        let thread = thread
            .inspect_err(|error| tracing::warn!(%error, "cannot start a thread"))
            .ok()?;
        Some(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("housekeeping has panicked");
        }
    }
}

fn tidy_up(store: &Store, logs: &LogStore, now: Timestamp) -> Result<(), ApiError> {
    let everything = Selector::everything();
    for event in store.list(Kind::Event, None, &everything)?.items {
        let last = event.text("/lastTimestamp").or_else(|| event.creation_timestamp());
        let last = last.and_then(|time| time.parse::<Timestamp>().ok());
        if last.is_none_or(|last| now.duration_since(last) > EVENT_LIFE) {
            match store.delete(Kind::Event, event.namespace(), event.name()) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
    }
    let pods = store.list(Kind::Pod, None, &everything)?.items;
    let uids: HashSet<String> = pods.iter().map(|pod| pod.uid().to_owned()).collect();
    logs.retain(&uids).map_err(|error| ApiError::Internal {
        message: error.to_string(),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn only_events_of_the_past_are_old() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        let clock: Clock = Arc::new(move || now);
        let store = Store::open(StoreOptions {
            dir: dir.path().join("store"),
            clock,
        })
        .unwrap();
        ensure(&store, Object::new(Kind::Namespace, None, "demo")).unwrap();
        let times = [("past", "08:00"), ("recent", "09:30"), ("future", "12:00")];
        for (name, time) in times {
            let mut event = Object::new(Kind::Event, Some("demo"), name);
            event.set("lastTimestamp", json!(format!("2026-01-05T{time}:00Z")));
            store.create(event).unwrap();
        }
        tidy_up(&store, &LogStore::open(dir.path().join("logs")).unwrap(), now).unwrap();
        let left = store.list(Kind::Event, None, &Selector::everything()).unwrap().items;
        let left: Vec<_> = left.iter().map(Object::name).collect();
        assert_eq!(left, ["future", "recent"]);
    }
}

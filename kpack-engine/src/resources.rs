//! [`Resources`]: the one interface through which everything reads and changes objects.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::api_error::ApiError;
use crate::kind::Kind;
use crate::object::{Object, ResourceVersion};
use crate::selector::Selector;

/// Reads, changes and watches objects.
///
/// Reconcilers, the pod runner and the server use this and nothing else. [`Store`](crate::store::Store)
/// implements it on files.
pub trait Resources: Send + Sync {
    /// Returns the object, or `None` when there is none of this name.
    ///
    /// `namespace` is `None` exactly for kinds of the whole cluster.
    fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Object>, ApiError>;

    /// Lists the selected objects of one namespace or (with `None`) of all, by namespace and name.
    fn list(&self, kind: Kind, namespace: Option<&str>, selector: &Selector) -> Result<ObjectList, ApiError>;

    /// Creates the object and returns it as it is stored.
    ///
    /// An empty name is made from `metadata.generateName`. A `status` is dropped for kinds that have the
    /// sub resource, as Kubernetes does; for Pods too.
    ///
    /// # Errors
    /// [`ApiError::AlreadyExists`], [`ApiError::NotFound`] (of the namespace), [`ApiError::Invalid`],
    /// [`ApiError::Denied`].
    fn create(&self, object: Object) -> Result<Object, ApiError>;

    /// Replaces everything but the status, and returns the object as it is stored.
    ///
    /// Writes nothing when nothing changed. Removing the last finalizer of an object that is being deleted
    /// deletes it.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] when `object` carries a resource version that is not the current one;
    /// without one the last writer wins. [`ApiError::NotFound`], [`ApiError::Invalid`], [`ApiError::Denied`].
    fn update(&self, object: Object) -> Result<Object, ApiError>;

    /// Replaces the status (nothing else) and returns the object as it is stored.
    ///
    /// # Errors
    /// As [`Resources::update`].
    fn update_status(&self, object: Object) -> Result<Object, ApiError>;

    /// Deletes the object and what it owns. An object with finalizers stays, marked, until they are gone.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    fn delete(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<(), ApiError>;

    /// Watches objects.
    ///
    /// With `from`, every change after that version is delivered; without, first an [`Change::Added`] for
    /// each object that exists, then every change.
    ///
    /// # Errors
    /// [`ApiError::Expired`] when `from` is too long ago: list again.
    fn watch(&self, filter: WatchFilter, from: Option<ResourceVersion>) -> Result<Watch, ApiError>;
}

/// The objects of one [`Resources::list`].
#[derive(Clone, Debug, Default)]
pub struct ObjectList {
    /// The objects, by namespace and name.
    pub items: Vec<Object>,
    /// The state they were read from: a watch from here misses nothing.
    pub resource_version: ResourceVersion,
}

/// Which objects a watch is about.
#[derive(Clone, Debug, Default)]
pub struct WatchFilter {
    /// The kinds; empty means all.
    pub kinds: Vec<Kind>,
    /// The namespace; `None` means all.
    pub namespace: Option<String>,
    /// Labels and fields.
    pub selector: Selector,
}

impl WatchFilter {
    /// Makes a filter for all objects of these kinds.
    pub fn kinds(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Says whether `object` is meant.
    pub fn matches(&self, object: &Object) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&object.kind()))
            && self
                .namespace
                .as_deref()
                .is_none_or(|namespace| object.namespace() == Some(namespace))
            && self.selector.matches(object)
    }
}

/// What happened to a watched object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created, or begins to match the filter, or existed when the watch began.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted, or no longer matches the filter.
    Deleted,
}

impl Change {
    /// Returns the word of watch streams: `ADDED`, `MODIFIED`, `DELETED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub change: Change,
    /// The object after the change; the last state for [`Change::Deleted`].
    pub object: Object,
}

/// A running watch; dropping it ends it.
pub struct Watch {
    /// What the watch began with, delivered first.
    initial: VecDeque<WatchEvent>,
    source: Box<dyn WatchSource>,
    ended: Option<ApiError>,
}

/// Where the events of a [`Watch`] come from.
pub trait WatchSource: Send {
    /// Waits at most `timeout` for the next event; `Ok(None)` when none came.
    ///
    /// # Errors
    /// When the watch cannot go on, such as [`ApiError::Expired`] for a reader that is too slow.
    fn next(&mut self, timeout: Duration) -> Result<Option<WatchEvent>, ApiError>;
}

impl Watch {
    /// Makes a watch that delivers `initial` and then what `source` has.
    pub fn new(initial: impl IntoIterator<Item = WatchEvent>, source: Box<dyn WatchSource>) -> Self {
        Self {
            initial: initial.into_iter().collect(),
            source,
            ended: None,
        }
    }

    /// Waits at most `timeout` for the next event.
    ///
    /// `None` when none came in that time, and for ever after the watch has [ended](Watch::ended) (then,
    /// too, only after `timeout`, so that a loop around it does not spin).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<WatchEvent> {
        if let Some(event) = self.initial.pop_front() {
            return Some(event);
        }
        if self.ended.is_some() {
            std::thread::sleep(timeout);
            return None;
        }
        self.source.next(timeout).unwrap_or_else(|error| {
            self.ended = Some(error);
            None
        })
    }

    /// Returns why the watch delivers no more; `None` while it does. List and watch again then.
    pub fn ended(&self) -> Option<&ApiError> {
        self.ended.as_ref()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("initial", &self.initial.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

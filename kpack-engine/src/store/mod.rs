//! [`Store`]: objects as files, crash-safe.
//!
//! Each object is one JSON file that is replaced whole or not at all. Every change of any object gets the
//! next [`ResourceVersion`], which also grows over restarts, so that optimistic concurrency and watches
//! work as they do in Kubernetes. Deleting an object deletes what it owns.
//!
//! - Opening: [`Store::open`] with [`StoreOptions`], or why not: [`OpenStoreError`].
//! - The engine's own changes: [`Resources`]. Those of others, with what the API lets them choose:
//!   [`Store::create_as`], [`Store::modify_as`], [`Store::replace_as`], [`Store::delete_with`].

mod admission;
mod cascade;
mod field_set;
mod files;
mod history;
mod list_strategy;
mod managed_fields;
mod metadata;
mod request;
mod rules;
mod shared;
mod write;

/// Ownership of fields, as server-side apply needs it.
pub(crate) mod fields {
    pub(crate) use super::field_set::FieldSet;
    pub(crate) use super::list_strategy::ListStrategy;
    pub(crate) use super::managed_fields::{Manager, Operation, managers, ownable, set_managers};
}

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

pub use self::request::{Caller, DeleteOptions, Deleted, Part, Propagation, WriteOptions, Written};

use self::shared::{Reader, Shared};
use crate::{ApiError, Kind, Object, ObjectList, ResourceVersion, Resources, Selector, Watch, WatchFilter};

/// Tells the time; passed in, so that tests decide it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a [`Store`] needs from its surroundings.
#[derive(Clone)]
pub struct StoreOptions {
    /// The directory of the objects' files; made when it is missing.
    pub dir: PathBuf,
    /// The clock of creation and deletion times. When it is set back, Builds are dated as the newest one until it has
    /// caught up.
    pub clock: Clock,
}

/// Objects as files; cheap to clone, all clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens the store in a directory, and finishes what a crash interrupted.
    ///
    /// # Errors
    /// When another process has it open, or the directory or a file in it cannot be read or written, or a
    /// file holds no object.
    pub fn open(options: StoreOptions) -> Result<Self, OpenStoreError> {
        let files = files::Files::open(&options.dir)?;
        let shared = Arc::new(Shared::open(files, options.clock)?);
        let store = Self { shared };
        store
            .finish_interrupted()
            .map_err(|source| OpenStoreError::Finish { source })?;
        Ok(store)
    }

    fn finish_interrupted(&self) -> Result<(), ApiError> {
        let mut writer = self.shared.writer();
        cascade::settle(&self.shared, &mut writer)?;
        let (namespaces, _) = self.shared.of_kind(Kind::Namespace, None);
        for namespace in namespaces
            .iter()
            .filter(|namespace| namespace.deletion_timestamp().is_none())
        {
            write::add_default_account(&self.shared, &mut writer, namespace.name())?;
        }
        Ok(())
    }

    /// Creates an object for someone.
    ///
    /// # Errors
    /// As [`Resources::create`].
    pub fn create_as(&self, object: Object, options: &WriteOptions) -> Result<Written, ApiError> {
        write::create(&self.shared, object, options)
    }

    /// Replaces a part of an object for someone.
    ///
    /// # Errors
    /// As [`Resources::update`].
    pub fn replace_as(&self, object: &Object, part: Part, options: &WriteOptions) -> Result<Written, ApiError> {
        write::replace(&self.shared, object, part, options)
    }

    /// Changes a part of an object by a function of its current state, with no other change in between.
    ///
    /// A resource version that `change` sets must be the current one. `change` must not use the store.
    ///
    /// # Errors
    /// As [`Resources::update`], and those of `change`.
    pub fn modify_as(
        &self,
        (kind, namespace, name): (Kind, Option<&str>, &str),
        part: Part,
        options: &WriteOptions,
        change: &mut dyn FnMut(&Object) -> Result<Object, ApiError>,
    ) -> Result<Written, ApiError> {
        write::modify(&self.shared, (kind, namespace, name), part, options, change)
    }

    /// Deletes an object as the options say.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], and [`ApiError::Conflict`] when a precondition does not hold.
    pub fn delete_with(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        cascade::delete(&self.shared, (kind, namespace, name), options)
    }

    /// Ends all watches, so that their readers can stop.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Resources for Store {
    fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Object>, ApiError> {
        Ok(self.shared.find(kind, namespace, name).map(|object| (*object).clone()))
    }

    fn list(&self, kind: Kind, namespace: Option<&str>, selector: &Selector) -> Result<ObjectList, ApiError> {
        let (objects, revision) = self.shared.of_kind(kind, namespace);
        let items = objects
            .iter()
            .filter(|object| selector.matches(object))
            .map(|object| (**object).clone());
        Ok(ObjectList {
            items: items.collect(),
            resource_version: ResourceVersion::new(revision),
        })
    }

    fn create(&self, object: Object) -> Result<Object, ApiError> {
        self.create_as(object, &own_options()).map(|written| written.object)
    }

    fn update(&self, object: Object) -> Result<Object, ApiError> {
        self.replace_as(&object, Part::Main, &own_options())
            .map(|written| written.object)
    }

    fn update_status(&self, object: Object) -> Result<Object, ApiError> {
        self.replace_as(&object, Part::Status, &own_options())
            .map(|written| written.object)
    }

    fn delete(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<(), ApiError> {
        self.delete_with(kind, namespace, name, &DeleteOptions::default())
            .map(drop)
    }

    fn watch(&self, filter: WatchFilter, from: Option<ResourceVersion>) -> Result<Watch, ApiError> {
        let (initial, reader) = Reader::begin(&self.shared, filter, from)?;
        Ok(Watch::new(initial, Box::new(reader)))
    }
}

fn own_options() -> WriteOptions {
    WriteOptions::new(Caller::controller(), "controller")
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// Another process works in the directory.
    #[error("the data directory {} is in use by process {holder}: stop it, or choose another directory", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process id that holds it.
        holder: String,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}; the data directory must be one that this user may make and write to", path.display())]
    Io {
        /// What was tried: `read`, `write`, `make`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: {problem}; repair it, or move it away to start without it", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What a crash interrupted could not be finished.
    #[error("cannot finish what was interrupted")]
    Finish {
        /// The cause.
        source: ApiError,
    },
}

#[cfg(test)]
mod tests;

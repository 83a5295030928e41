//! [`Store`]: objects as files, crash-safe.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{ApiError, Kind, Object, ObjectList, ResourceVersion, Resources, Selector, Watch, WatchFilter};

/// Tells the time; passed in, so that tests decide it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a [`Store`] needs from its surroundings.
#[derive(Clone)]
pub struct StoreOptions {
    /// The directory of the objects' files; made when it is missing.
    pub dir: PathBuf,
    /// The clock of creation and deletion times.
    pub clock: Clock,
}

/// Objects as files; cheap to clone, all clones are the same store.
#[derive(Clone)]
pub struct Store {
    _options: StoreOptions,
}

impl Store {
    /// Opens the store in a directory, and finishes what a crash interrupted.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be read or written.
    pub fn open(options: StoreOptions) -> Result<Self, ApiError> {
        Ok(Self { _options: options })
    }
}

impl Resources for Store {
    fn get(&self, _: Kind, _: Option<&str>, _: &str) -> Result<Option<Object>, ApiError> {
        Err(ApiError::NotServed)
    }
    fn list(&self, _: Kind, _: Option<&str>, _: &Selector) -> Result<ObjectList, ApiError> {
        Err(ApiError::NotServed)
    }
    fn create(&self, _: Object) -> Result<Object, ApiError> {
        Err(ApiError::NotServed)
    }
    fn update(&self, _: Object) -> Result<Object, ApiError> {
        Err(ApiError::NotServed)
    }
    fn update_status(&self, _: Object) -> Result<Object, ApiError> {
        Err(ApiError::NotServed)
    }
    fn delete(&self, _: Kind, _: Option<&str>, _: &str) -> Result<(), ApiError> {
        Err(ApiError::NotServed)
    }
    fn watch(&self, _: WatchFilter, _: Option<ResourceVersion>) -> Result<Watch, ApiError> {
        Err(ApiError::NotServed)
    }
}

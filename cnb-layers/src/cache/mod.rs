//! Where layers wait for the next build: a directory (volume cache) or an image in a registry.
//!
//! Both are in the reference's formats, so that a cache written by one lifecycle serves the other. A
//! cache never fails a build: whatever is wrong with its content is a miss with a warning. Only a cache
//! that cannot be used as configured (a missing directory, an unreachable registry) is refused, when it
//! is opened.

mod extract;
mod image;
mod volume;

pub use extract::ExtractError;
pub use image::{CacheImage, CacheImageState, DeleteImage};
pub use volume::VolumeCache;

pub(crate) use extract::{LayerPlace, extract_layer, extract_sbom};
pub(crate) use image::is_whole;

use std::io::{self, Read};
use std::path::PathBuf;

use registry_auth::Reference;

use crate::metadata::{CacheMetadata, EncodeError};
use crate::{DiffId, ImageError, Layer, LayerContent, LayerError, UploadError};

/// The layers of the last build, and a place for those of this one.
pub trait Cache: Send + Sync {
    /// Returns what users should know about the cache as it was found, such as that there is none.
    fn notice(&self) -> Option<String> {
        None
    }

    /// Returns what the last build left; empty when there was none or it cannot be understood.
    ///
    /// # Errors
    /// When the cache is there and cannot be read.
    fn metadata(&self) -> Result<CacheMetadata, CacheError>;

    /// Opens the uncompressed tar of a layer of the last build. Nobody has checked its bytes yet.
    ///
    /// # Errors
    /// [`CacheError::NoLayer`] when the cache does not have the layer, others when it cannot be read.
    fn layer(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, CacheError>;

    /// Opens the same tar for somebody who checks its diff id; then nothing else of it is checked where that takes time.
    ///
    /// # Errors
    /// As those of [`layer`](Self::layer).
    fn layer_to_check(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, CacheError> {
        self.layer(diff_id)
    }

    /// Checks that a layer of the last build is there and whole, then keeps it for the next build.
    ///
    /// # Errors
    /// When the layer is missing or damaged; it is not kept then.
    fn keep(&self, diff_id: &DiffId) -> Result<(), CacheError>;

    /// Takes a layer of this build.
    ///
    /// # Errors
    /// When the bytes cannot be stored, or are not those of its diff id.
    fn add(&self, layer: &CachedLayer<'_>) -> Result<(), CacheError>;

    /// Replaces the last build's cache by what was kept and added since. Nothing can be changed after it.
    ///
    /// # Errors
    /// When the cache cannot be written; the last build's cache stays.
    fn commit(&self, metadata: &CacheMetadata) -> Result<(), CacheError>;
}

/// A layer on its way into a cache.
#[derive(Clone, Copy)]
pub struct CachedLayer<'a> {
    /// The diff id.
    pub diff_id: &'a DiffId,
    /// What writes the tar.
    pub content: &'a dyn LayerContent,
    /// An image in a registry that has the layer's blob already, and the layer there.
    pub placed: Option<(&'a Reference, &'a Layer)>,
}

/// Why something cannot be done with a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The directory of a volume cache cannot be used.
    #[error("{problem}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The cache has no such layer.
    #[error("failed to find cache layer with SHA '{0}'")]
    NoLayer(String),
    /// The cache has the layer, but it cannot be opened.
    #[error("failed to get cache layer with SHA '{diff_id}'")]
    Layer {
        /// The layer.
        diff_id: DiffId,
        /// The cause.
        source: io::Error,
    },
    /// A layer's bytes are not those of its name.
    #[error("expected layer contents to have SHA '{expected}'; found '{found}'")]
    WrongBytes {
        /// What the layer is called.
        expected: DiffId,
        /// What it holds.
        found: DiffId,
    },
    /// A layer's bytes could not be read.
    #[error("hashing layer")]
    Read(#[source] io::Error),
    /// The metadata could not be read.
    #[error("opening metadata file '{path}'")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The layer could not be made.
    #[error("creating layer")]
    Content(#[from] LayerError),
    /// The layer could not be made or sent.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// A file of the cache could not be written.
    #[error("{action} {path}")]
    Write {
        /// What was to be done, such as `creating`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The metadata holds a number that JSON cannot hold.
    #[error("setting cache metadata")]
    Unwritable(#[from] EncodeError),
    /// The cache image could not be read or written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The cache has been committed already.
    #[error("cache cannot be modified after commit")]
    Committed,
}

impl CacheError {
    /// Returns whether the layer itself is missing or damaged, so that others may still be fine.
    pub fn is_miss(&self) -> bool {
        matches!(
            self,
            Self::NoLayer(_) | Self::WrongBytes { .. } | Self::Layer { .. } | Self::Read(_)
        )
    }
}

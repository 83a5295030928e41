use std::io;
use std::path::PathBuf;

use registry_auth::{Digest, Repository};
use registry_client::RegistryError;

use crate::InvalidImage;

/// Why an image could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A registry could not be reached, refused or answered nonsense.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What is stored is not a readable image.
    #[error("{reference} is not an image that can be used")]
    Invalid {
        /// The image's reference.
        reference: String,
        /// What is wrong with it.
        source: InvalidImage,
    },
    /// A blob is not where its manifest says.
    #[error("{repository} has no blob {digest}: the image is incomplete; push it again")]
    NoBlob {
        /// Where it should be.
        repository: Repository,
        /// The blob.
        digest: Digest,
    },
    /// Bytes are not those that a digest promises.
    #[error("the bytes have digest {actual}, but should have {expected}")]
    WrongDigest {
        /// The digest expected.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// A manifest or config is larger than any honest one.
    #[error("{what} is larger than {limit} bytes, which nothing honest is")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A blob could not be read or written.
    #[error("cannot transfer blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// A file of an image layout could not be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A directory is no image layout, or one of another version.
    #[error("{path} is not an OCI image layout: {problem}")]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ImageError {
    /// Returns whether a registry refused a manifest because it lacks a blob.
    pub(crate) fn is_missing_blob(&self) -> bool {
        let missing = |code: &&str| matches!(*code, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN");
        matches!(self, Self::Registry(error) if error.codes().iter().any(missing))
    }

    /// Returns whether the same may succeed when it is tried again.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_retryable(),
            Self::Blob { source, .. } => {
                let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<Self>());
                inner.is_some_and(Self::is_retryable)
            }
            _ => false,
        }
    }
}

//! Why a local source could not be packed or pushed.

use std::{io, path::PathBuf};

use registry_auth::InvalidReference;
use registry_client::RegistryError;

use crate::limits::LimitExceeded;

/// Why a local source could not be packed or pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is nothing at the path, or it can't be looked at.
    #[error("cannot look at local source {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What is at the path is no source.
    #[error("local path must be a directory or zip")]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// A file of the source can't be read, or changed meanwhile.
    #[error("cannot read {} of the local source", path.display())]
    Read {
        /// The path beneath the source.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An ignore file holds a pattern that is none.
    #[error("ignore file {} of the local source is not valid; write its lines as in a .gitignore", path.display())]
    Ignore {
        /// The path beneath the source.
        path: PathBuf,
        /// The cause, with the line.
        source: ignore::Error,
    },
    /// The zip is damaged, or holds what no source may hold.
    #[error("cannot read local zip {}", path.display())]
    Zip {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source is larger than allowed, or somebody cancelled.
    #[error("local source {} is not packed", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// Which bound was crossed.
        source: LimitExceeded,
    },
    /// The layer can't be stored while it is made.
    #[error("cannot store the packed source")]
    Spool(#[source] io::Error),
    /// A tag is none.
    #[error(transparent)]
    Tag(#[from] InvalidReference),
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl LocalError {
    /// Returns whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_retryable())
    }
}

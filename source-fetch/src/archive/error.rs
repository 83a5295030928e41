//! Why an archive could not be unpacked.

use std::io;

use crate::{beneath::WriteError, limits::LimitExceeded};

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The content is of none of the kinds that are understood.
    #[error("unexpected blob file type, must be one of .zip, .tar.gz, .tar, .jar")]
    Kind,
    /// The content is not of the kind that it is said to be.
    #[error("expected file '{name}' to be a {expected} archive")]
    OtherKind {
        /// The file.
        name: String,
        /// What it was said to be.
        expected: &'static str,
    },
    /// A name leads out of the target, or is none.
    #[error("the archive holds an entry named {name:?}, which {problem}; it is not unpacked")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The archive breaks the rules of its format.
    #[error("the archive is damaged: {problem}")]
    Damaged {
        /// What is wrong.
        problem: &'static str,
    },
    /// The zip archive breaks the rules of its format.
    #[error("the zip archive is damaged")]
    Zip(#[source] zip::result::ZipError),
    /// The archive could not be read.
    #[error("the archive can't be read")]
    Read(#[source] io::Error),
    /// A file could not be written, or there is too much.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ArchiveError {
    /// Returns the bound that the archive went beyond, if that is the reason.
    pub fn limit(&self) -> Option<&LimitExceeded> {
        match self {
            Self::Write(WriteError::Limit(limit)) => Some(limit),
            _ => None,
        }
    }
}

use std::io;
use std::path::{Path, PathBuf};

use super::InvalidPattern;
use crate::tar::{InvalidHeader, TarError};

/// Why a layer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A file or directory could not be read, or changed while it was read.
    #[error("{action} {path}")]
    Read {
        /// What was done: `open`, `lstat`, `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of the application could not be read, or changed while it was read.
    #[error("failed to add file {path} to archive")]
    AddFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<LayerError>,
    },
    /// A file cannot be expressed in a tar.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    /// An archive given as a layer is damaged.
    #[error("cannot use {path} as a layer")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The cause.
        source: TarError,
    },
    /// The tar could not be written to where it goes.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// A slice's pattern is malformed.
    #[error("failed to check if '{path}' matches '{pattern}'")]
    Pattern {
        /// The first path it was tried on.
        path: PathBuf,
        /// The pattern.
        pattern: String,
        /// The cause.
        source: InvalidPattern,
    },
    /// A process has no type.
    #[error("type is required for all processes")]
    NoProcessType,
    /// A process type cannot be a file name in `/cnb/process`.
    #[error("invalid process type '{name}': type may not contain characters '/><:|&\\'")]
    ProcessType {
        /// The type.
        name: String,
    },
}

impl LayerError {
    pub(crate) fn open(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        Self::during("open", path)
    }

    pub(crate) fn lstat(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        Self::during("lstat", path)
    }

    pub(crate) fn during<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Read {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Tells an error of the entry (its header, its file) from one of the output.
    pub(super) fn entry(path: &Path, error: io::Error) -> Self {
        let is_header = error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<InvalidHeader>);
        match error.kind() {
            io::ErrorKind::InvalidInput if is_header => {
                let inner = error
                    .into_inner()
                    .map(<dyn std::error::Error + Send + Sync>::downcast::<InvalidHeader>);
                match inner {
                    Some(Ok(header)) => Self::Header(*header),
                    _ => Self::Write(io::ErrorKind::InvalidInput.into()),
                }
            }
            io::ErrorKind::InvalidData => Self::Read {
                action: "read",
                path: path.to_owned(),
                source: error,
            },
            _ => Self::Write(error),
        }
    }
}

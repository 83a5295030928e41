//! [`LogError`]: why a log cannot be opened.

use std::io;
use std::path::PathBuf;

use super::LogName;

/// Why a log cannot be opened or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The container has not begun to write, or its pod is gone.
    #[error("there is no log of {name}")]
    NotFound {
        /// Whose log was asked for.
        name: LogName,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried: `create`, `open`, `list`, `remove`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

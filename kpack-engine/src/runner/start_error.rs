//! [`StartError`]: why a pod runner does not start.

use std::io;
use std::path::PathBuf;

use crate::ApiError;

/// Why a pod runner does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Containers cannot be made by this user on this machine.
    #[error("{explanation}")]
    NoPrivilege {
        /// Everything that is missing, and what to do.
        explanation: String,
    },
    /// There is no OCI runtime.
    #[error("no OCI runtime found: looked for {tried}; install one (Debian: apt-get install runc) or name its path")]
    NoRuntime {
        /// What was looked for.
        tried: String,
    },
    /// A program of every Linux system is missing.
    #[error("program {program} is missing; it is part of util-linux or coreutils")]
    NoProgram {
        /// The program.
        program: &'static str,
    },
    /// Another process runs pods from the same directory.
    #[error("{path} is used by another process; stop it, or choose another data directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The pods cannot be watched.
    #[error("cannot watch pods")]
    Watch(#[from] ApiError),
}

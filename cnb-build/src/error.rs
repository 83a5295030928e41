//! Why a build fails.

use std::io;
use std::path::{Path, PathBuf};

use cnb_detect::{EnvFileError, Exit, RunError, os_text};
use cnb_order::{DecodeError, LookupError};

/// Why the build phase fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Something is wrong with one buildpack or what it wrote; displayed as that, since the log has the same words as the
    /// reference's.
    #[error("{source}")]
    In {
        /// `id@version` of the buildpack.
        buildpack: String,
        /// What is wrong.
        source: Box<BuildError>,
    },
    /// A `bin/build` ended with an error.
    #[error("{exit}")]
    Failed {
        /// `id@version` of the buildpack.
        buildpack: String,
        /// How it ended.
        exit: Exit,
    },
    /// A `bin/build` could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A buildpack of the group is missing or its descriptor broken.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The Buildpack API of a descriptor is no version.
    #[error("failed to parse buildpack API '{api}' for buildpack '{buildpack}'")]
    Api {
        /// `id@version` of the buildpack.
        buildpack: String,
        /// What the descriptor says.
        api: String,
    },
    /// An environment directory could not be applied.
    #[error(transparent)]
    Environment(#[from] EnvFileError),
    /// A layer's metadata is wrong.
    #[error("failed to process buildpack layer: {message}")]
    Layer {
        /// Which file, and what is wrong with it.
        message: String,
    },
    /// A file of a buildpack could not be understood.
    #[error("{}", in_file(.source, .path))]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// Something in a file of a buildpack is against the rules.
    #[error("{message}")]
    Rule {
        /// What, and where.
        message: String,
    },
    /// A file or directory could not be used.
    #[error("{operation} {}: {}", .path.display(), os_text(.source))]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl BuildError {
    /// Returns the exit code of the builder for it: 51 when a buildpack failed, 52 otherwise.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::In { source, .. } => source.exit_code(),
            Self::Failed { .. } | Self::Run(_) => 51,
            _ => 52,
        }
    }

    /// Returns `id@version` of the buildpack that is to blame, if one is.
    pub fn buildpack(&self) -> Option<&str> {
        match self {
            Self::In { buildpack, .. } | Self::Failed { buildpack, .. } | Self::Api { buildpack, .. } => {
                Some(buildpack)
            }
            _ => None,
        }
    }

    pub(crate) fn rule(message: impl Into<String>) -> Self {
        Self::Rule {
            message: message.into(),
        }
    }

    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

/// Adds the file to what the TOML reader says; messages about rules have the words of the reference, and name it or not.
pub(crate) fn in_file(error: &DecodeError, path: &Path) -> String {
    match error {
        DecodeError::Syntax { .. } | DecodeError::WrongType { .. } => format!("{error} in {}", path.display()),
        _ => error.to_string(),
    }
}

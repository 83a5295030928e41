//! [`ReconcileError`]: why an object could not be brought to where it should be.

use rebuild_policy::{DecideError, InvalidBuildNumber};

use super::{SourceError, WarehouseError};
use crate::{ApiError, InvalidObject};

/// Why a step could not be finished; it is tried again later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// An object could not be read or written.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An object is not what its kind says.
    #[error(transparent)]
    Object(#[from] InvalidObject),
    /// An image could not be read or written.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// A source could not be resolved.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Whether a build is needed could not be decided.
    #[error("error determining if an image build is needed: {0}")]
    Decide(#[from] DecideError),
    /// The newest Build has no number.
    #[error(transparent)]
    BuildNumber(#[from] InvalidBuildNumber),
    /// An Image names a builder of a kind that there is not.
    #[error("unknown builder type: {0}")]
    UnknownBuilderKind(String),
    /// A Build cannot have a pod just now.
    #[error("{0}")]
    Pod(#[from] rebuild_policy::PodError),
    /// Something that a builder is made of is missing or not ready.
    #[error("{0}")]
    Precondition(String),
}

impl ReconcileError {
    /// Returns whether trying the same again may help. What is missing or wrong in objects is not tried again: whoever
    /// mends it wakes the object.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Api(_) | Self::Source(_) => true,
            Self::Warehouse(error) => error.retryable,
            Self::Pod(error) => error.is_retryable(),
            Self::Object(_)
            | Self::Decide(_)
            | Self::BuildNumber(_)
            | Self::UnknownBuilderKind(_)
            | Self::Precondition(_) => false,
        }
    }

    /// Returns whether somebody else changed the object meanwhile: then trying again at once is right.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_conflict())
    }
}

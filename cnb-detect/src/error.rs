//! Why detection fails.

use cnb_order::{ExpandError, LookupError};

use crate::Explanation;

/// Why no group was selected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// No group passed.
    #[error("no buildpacks participating")]
    NoDetection {
        /// What became of each group.
        explanation: Explanation,
    },
    /// No group passed, and a module failed with an error rather than declining.
    #[error("buildpack(s) failed with err")]
    ModulesFailed {
        /// What became of each group.
        explanation: Explanation,
    },
    /// The order could not be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The build plans of a group depend on each other in more ways than are looked at.
    #[error(
        "no plan was found for the group within {limit} steps: the alternatives ([[or]]) in the build plans of its modules \
         depend on each other in too many ways; use fewer alternatives"
    )]
    TooManyTrials {
        /// How many steps are taken at most.
        limit: u64,
    },
}

impl DetectError {
    /// Returns the exit code of the detector for it.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NoDetection { .. } => 20,
            Self::ModulesFailed { .. } => 21,
            _ => 22,
        }
    }

    /// Returns why no group was selected, group by group and module by module; nothing when detection ended for another
    /// reason than that.
    pub fn explanation(&self) -> Option<&Explanation> {
        match self {
            Self::NoDetection { explanation } | Self::ModulesFailed { explanation } => Some(explanation),
            _ => None,
        }
    }
}

/// Why the Buildpack API of a module is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The descriptor cannot be read.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The text is no version.
    #[error("failed to parse buildpack API '<nil>' for {kind} '{module}'")]
    Unparsable {
        /// What the descriptor says.
        api: String,
        /// `buildpack` or `extension`.
        kind: &'static str,
        /// `id@version`.
        module: String,
    },
    /// The version is not supported.
    #[error(
        "failed to set API for {kind} '{module}': buildpack API version '{api}' is incompatible with the lifecycle"
    )]
    Unsupported {
        /// The version.
        api: String,
        /// `Buildpack` or `Extension`.
        kind: &'static str,
        /// `id@version`.
        module: String,
    },
}

//! Why a phase ends with an exit code other than 0.

use std::error::Error;
use std::fmt;

pub(crate) use cnb_layers::phase::with_causes;

/// The exit codes of the platform specification.
pub(crate) mod code {
    /// Anything that has no code of its own.
    pub(crate) const FAILED: i32 = 1;
    /// An unknown or malformed flag.
    pub(crate) const FLAGS: i32 = 2;
    /// Arguments or inputs that cannot be used.
    pub(crate) const INVALID_ARGS: i32 = 3;
    /// A platform API that this lifecycle does not speak.
    pub(crate) const PLATFORM_API: i32 = 11;
    /// A buildpack API that this lifecycle does not speak.
    pub(crate) const BUILDPACK_API: i32 = 12;
    /// The analyzer failed.
    pub(crate) const ANALYZE: i32 = 32;
    /// The restorer failed.
    pub(crate) const RESTORE: i32 = 42;
    /// The exporter failed.
    pub(crate) const EXPORT: i32 = 62;
    /// The rebaser failed.
    pub(crate) const REBASE: i32 = 72;
}

/// An exit code and the text that explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code of the process.
    pub(crate) code: i32,
    /// The text after `ERROR: `.
    pub(crate) message: String,
}

impl Failure {
    /// Returns a failure with a text of its own.
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Returns the failure of an `action` ("resolve inputs"), with the reasons of `cause` in full.
    pub(crate) fn of(code: i32, action: &str, cause: &dyn Error) -> Self {
        Self::because(code, action, with_causes(cause))
    }

    /// Returns the failure of an `action` ("parse arguments") for a reason given as text.
    pub(crate) fn because(code: i32, action: &str, reason: impl fmt::Display) -> Self {
        Self::new(code, format!("failed to {action}: {reason}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

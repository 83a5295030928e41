//! [`SourceReader`]: what an app's source is now.

use rebuild_policy::{ResolvedSource, SourceConfig};

use super::Account;

/// Looks at sources.
pub trait SourceReader: Send + Sync {
    /// Resolves a source with the secrets of an account.
    ///
    /// A git repository that cannot be reached is no error: its type is `Unknown` then, as in the reference.
    ///
    /// # Errors
    /// When the source is of no known kind or its secrets are unusable.
    fn resolve(&self, source: &SourceConfig, account: &Account) -> Result<ResolvedSource, SourceError>;
}

/// Why a source could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What is wrong.
    pub message: String,
    /// The cause.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// Makes an error without a cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }
}

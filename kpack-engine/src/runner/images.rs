//! Where images of pods come from.

use std::sync::Arc;

use cnb_layers::ImageSource;
use registry_auth::{Keychain, Reference};

/// The host of images that the engine itself holds: `kpackd.local/lifecycle:…`.
pub const LOCAL_HOST: &str = "kpackd.local";

/// Chooses where an image is read from, on behalf of someone who has these credentials.
pub trait ImageRouter: Send + Sync {
    /// Returns the place that holds `reference`.
    ///
    /// # Errors
    /// When no connection to such a place can be made at all.
    fn route(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError>;
}

/// Why there is no way to an image.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the registry of {reference}")]
pub struct RouteError {
    /// The image.
    pub reference: String,
    /// The cause.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

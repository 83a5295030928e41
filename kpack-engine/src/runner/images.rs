//! Where images of pods come from.

use std::sync::Arc;

use cnb_layers::{ImageSource, LayoutStore, RegistryStore};
use registry_auth::{Keychain, Reference};
use registry_client::{Client, ClientError, HttpPolicy};

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

/// Images of [`LOCAL_HOST`] come from a directory, all others from their registries.
#[derive(Clone)]
pub struct LocalAndRegistries {
    local: Arc<LayoutStore>,
    http: HttpPolicy,
}

impl LocalAndRegistries {
    /// Makes a router over the engine's own images in `local`; registries are reached by `http`.
    pub fn new(local: Arc<LayoutStore>, http: HttpPolicy) -> Self {
        Self { local, http }
    }
}

impl ImageRouter for LocalAndRegistries {
    fn route(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        if reference.registry().as_str() == LOCAL_HOST {
            return Ok(self.local.clone());
        }
        let client = Client::new(self.http.clone(), keychain).map_err(|source: ClientError| RouteError {
            reference: reference.to_string(),
            source: Box::new(source),
        })?;
        Ok(Arc::new(RegistryStore::new(client)))
    }
}

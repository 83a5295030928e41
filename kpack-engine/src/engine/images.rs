//! [`Images`]: where images are read from and written to.

use std::sync::Arc;

use cnb_layers::{ImageSource, ImageTarget, LayoutStore, RegistryStore};
use registry_auth::{Keychain, Reference};
use registry_client::{Client, HttpPolicy};

use crate::runner::{ImageRouter, LOCAL_HOST, RouteError};

/// Images of [`LOCAL_HOST`] are in a directory, all others in their registries.
#[derive(Clone)]
pub(super) struct Images {
    local: Arc<LayoutStore>,
    http: HttpPolicy,
}

impl Images {
    pub(super) fn new(local: Arc<LayoutStore>, http: HttpPolicy) -> Self {
        Self { local, http }
    }

    /// Returns the place to which `reference` is written.
    pub(super) fn target(
        &self,
        reference: &Reference,
        keychain: Arc<dyn Keychain>,
    ) -> Result<Arc<dyn ImageTarget>, RouteError> {
        if is_local(reference) {
            return Ok(self.local.clone());
        }
        Ok(Arc::new(self.registry(reference, keychain)?))
    }

    fn registry(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<RegistryStore, RouteError> {
        let client = Client::new(self.http.clone(), keychain).map_err(|source| RouteError {
            reference: reference.to_string(),
            source: Box::new(source),
        })?;
        Ok(RegistryStore::new(client))
    }
}

impl ImageRouter for Images {
    fn route(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        if is_local(reference) {
            return Ok(self.local.clone());
        }
        Ok(Arc::new(self.registry(reference, keychain)?))
    }
}

fn is_local(reference: &Reference) -> bool {
    reference.registry().as_str() == LOCAL_HOST
}

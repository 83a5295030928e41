//! [`RegistryImages`]: images in registries, and those that the engine itself holds.

use std::fmt;
use std::sync::Arc;

use cnb_layers::{ImageSource, ImageTarget, LayoutStore, RegistryStore};
use registry_auth::{Keychain, Reference};
use registry_client::{Client, ClientError, Http, HttpPolicy};

use crate::runner::{ImageRouter, LOCAL_HOST, RouteError};

/// A place that is read from and written to.
pub type ImagePlace = (Arc<dyn ImageSource>, Arc<dyn ImageTarget>);

/// Chooses where images are read from and written to, on behalf of someone who has these credentials.
pub trait ImageStores: Send + Sync {
    /// Returns the place that holds `reference`.
    ///
    /// # Errors
    /// When no connection to such a place can be made at all.
    fn source(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError>;

    /// Returns the place that `reference` is read from and written to. Where both are one, what was read need not be asked
    /// for when it is written.
    ///
    /// # Errors
    /// As [`ImageStores::source`] and [`ImageStores::target`].
    fn place(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<ImagePlace, RouteError> {
        Ok((
            self.source(reference, Arc::clone(&keychain))?,
            self.target(reference, keychain)?,
        ))
    }

    /// Returns the place that `reference` is written to.
    ///
    /// # Errors
    /// When no connection to such a place can be made at all, or nothing may be written there.
    fn target(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageTarget>, RouteError>;
}

/// Registries over one http client; the host `kpackd.local` stands for a directory of the engine.
#[derive(Clone)]
pub struct RegistryImages {
    http: Http,
    local: Option<Arc<LayoutStore>>,
}

impl RegistryImages {
    /// Makes the connection to registries; `local` holds the images of `kpackd.local`.
    ///
    /// # Errors
    /// When a certificate or proxy of the policy is malformed.
    pub fn new(policy: &HttpPolicy, local: Option<Arc<LayoutStore>>) -> Result<Self, ClientError> {
        Ok(Self {
            http: Http::new(policy)?,
            local,
        })
    }

    /// Returns the client that requests are sent with.
    pub fn http(&self) -> &Http {
        &self.http
    }

    fn registry(&self, keychain: Arc<dyn Keychain>) -> Arc<RegistryStore> {
        Arc::new(RegistryStore::new(Client::with_http(self.http.clone(), keychain)))
    }

    fn local(&self, reference: &Reference) -> Option<Result<Arc<LayoutStore>, RouteError>> {
        if reference.registry().as_str() != LOCAL_HOST {
            return None;
        }
        Some(self.local.clone().ok_or_else(|| RouteError {
            reference: reference.to_string(),
            source: format!("{LOCAL_HOST} stands for images of the engine, and it has none here").into(),
        }))
    }
}

impl ImageStores for RegistryImages {
    fn place(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<ImagePlace, RouteError> {
        match self.local(reference) {
            Some(_) => Ok((
                self.source(reference, Arc::clone(&keychain))?,
                self.target(reference, keychain)?,
            )),
            None => {
                let store = self.registry(keychain);
                Ok((store.clone(), store))
            }
        }
    }

    fn source(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        match self.local(reference) {
            Some(local) => Ok(local?),
            None => Ok(self.registry(keychain)),
        }
    }

    fn target(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageTarget>, RouteError> {
        match self.local(reference) {
            Some(_) => Err(RouteError {
                reference: reference.to_string(),
                source: format!("{LOCAL_HOST} holds images of the engine; name a registry instead").into(),
            }),
            None => Ok(self.registry(keychain)),
        }
    }
}

impl ImageRouter for RegistryImages {
    fn route(&self, reference: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        self.source(reference, keychain)
    }
}

impl fmt::Debug for RegistryImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryImages")
            .field("local", &self.local.is_some())
            .finish_non_exhaustive()
    }
}

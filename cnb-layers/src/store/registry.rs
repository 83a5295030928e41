use std::collections::HashSet;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_auth::{Digest, Reference, Repository};
use registry_client::{BlobReader, Client};

use super::registry_blob::RegistryBlob;
use super::{BlobWriter, Document, ImageError, ImageSource, ImageTarget, OpenBlob, read_limited, resolve};
use crate::{Descriptor, Image, Platform, media_type};

/// So many blobs are remembered; then all are forgotten.
const MOST: usize = 65_536;

/// Images in registries, through a [`registry_client::Client`]. Cheap to clone.
///
/// Clones share what they know about which repository holds which blob: what they read of images there and what they
/// wrote. So many images with common layers take few requests.
#[derive(Clone)]
pub struct RegistryStore {
    client: Client,
    known: Known,
}

/// Blobs known to be in repositories.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashSet<(Repository, Digest)>>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashSet<(Repository, Digest)>> {
        // A set is whole after each statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, repository: &Repository, digest: &Digest) -> bool {
        self.lock().contains(&(repository.clone(), digest.clone()))
    }

    pub(super) fn note(&self, repository: &Repository, digest: &Digest) {
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert((repository.clone(), digest.clone()));
    }

    fn forget(&self, repository: &Repository) {
        self.lock().retain(|(known, _)| known != repository);
    }
}

impl RegistryStore {
    /// Returns the store that reaches registries through `client`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: Known::default(),
        }
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn open(&self, reference: &Reference, layer: &Descriptor) -> Result<BlobReader, ImageError> {
        // Only of a foreign layer may the registry not have the bytes.
        let foreign = media_type::is_foreign_layer(&layer.media_type);
        let urls = if foreign { layer.urls.as_slice() } else { &[] };
        let blob = self.client.foreign_blob(reference.repository(), &layer.digest, urls)?;
        Ok(blob.expecting(layer.size)?)
    }
}

impl std::fmt::Debug for RegistryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryStore")
    }
}

impl ImageSource for RegistryStore {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        let manifest = |digest: Option<&Digest>| {
            let found = match digest {
                None => self.client.manifest(reference)?,
                Some(digest) => self.client.manifest(&reference.with_digest(digest))?,
            };
            Ok(found.map(|raw| Document {
                media_type: raw.media_type,
                json: raw.bytes,
            }))
        };
        let config = |config: &Descriptor| {
            read_limited(
                self.client.blob(reference.repository(), &config.digest)?,
                &config.digest,
            )
        };
        let image = resolve(reference, platform, &manifest, &config)?;
        if let Some(image) = &image {
            let manifest = image.manifest();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                self.known.note(reference.repository(), &blob.digest);
            }
        }
        Ok(image)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        Ok(Box::new(self.open(reference, layer)?))
    }

    fn layer_to_check(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        Ok(Box::new(self.open(reference, layer)?.unchecked()))
    }

    fn mountable(&self, reference: &Reference) -> Option<Repository> {
        Some(reference.repository().clone())
    }
}

impl ImageTarget for RegistryStore {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        let found = self.client.has_blob(repository, digest)?.is_some();
        if found {
            self.known.note(repository, digest);
        } else {
            self.known.forget(repository);
        }
        Ok(found)
    }

    fn is_known(&self, repository: &Repository, digest: &Digest) -> bool {
        self.known.has(repository, digest)
    }

    fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        if from.registry() != to.registry() {
            return Ok(false);
        }
        let mounted = self.client.mount_blob(from, to, digest)?;
        if mounted {
            self.known.note(to, digest);
        }
        Ok(mounted)
    }

    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        let blob = RegistryBlob::start(&self.client, &self.known, repository);
        Ok(Box::new(blob))
    }

    fn push_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut OpenBlob<'_>,
    ) -> Result<(), ImageError> {
        self.client.push_new_blob(repository, digest, size, open)?;
        self.known.note(repository, digest);
        Ok(())
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        let pushed = self.client.push_manifest(reference, media_type, json);
        // Refused for a blob that is missing, perhaps: what was known of the repository may be wrong.
        pushed.map_err(|error| {
            self.known.forget(reference.repository());
            error.into()
        })
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        Ok(self.client.head(reference)?.map(|descriptor| descriptor.digest))
    }
}

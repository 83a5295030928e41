use std::io::{self, Read, Write};

use registry_auth::{Digest, Reference, Repository};
use registry_client::{BlobUpload, Client};

use super::{BlobWriter, Document, ImageError, ImageSource, ImageTarget, OpenBlob, read_limited, resolve};
use crate::{Descriptor, Image, Platform};

/// Images in registries, through a [`registry_client::Client`]. Cheap to clone.
#[derive(Clone)]
pub struct RegistryStore(Client);

impl RegistryStore {
    /// Returns the store that reaches registries through `client`.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.0
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
                None => self.0.manifest(reference)?,
                Some(digest) => self.0.manifest(&reference.with_digest(digest))?,
            };
            Ok(found.map(|raw| Document {
                media_type: raw.media_type,
                json: raw.bytes,
            }))
        };
        let config =
            |config: &Descriptor| read_limited(self.0.blob(reference.repository(), &config.digest)?, &config.digest);
        resolve(reference, platform, &manifest, &config)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        Ok(Box::new(self.0.blob(reference.repository(), &layer.digest)?))
    }

    fn mountable(&self, reference: &Reference) -> Option<Repository> {
        Some(reference.repository().clone())
    }
}

impl ImageTarget for RegistryStore {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        Ok(self.0.has_blob(repository, digest)?.is_some())
    }

    fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        if from.registry() != to.registry() {
            return Ok(false);
        }
        Ok(self.0.mount_blob(from, to, digest)?)
    }

    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        Ok(Box::new(RegistryBlob(self.0.start_upload(repository)?)))
    }

    fn push_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut OpenBlob<'_>,
    ) -> Result<(), ImageError> {
        Ok(self.0.push_blob(repository, digest, size, open)?)
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        Ok(self.0.push_manifest(reference, media_type, json)?)
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        Ok(self.0.head(reference)?.map(|descriptor| descriptor.digest))
    }
}

struct RegistryBlob(BlobUpload);

impl Write for RegistryBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BlobWriter for RegistryBlob {
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), ImageError> {
        self.0.finish(digest)?;
        Ok(())
    }
}

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_auth::{Digest, Reference, Repository};

use super::{BlobWriter, Document, ImageError, ImageSource, ImageTarget, Verified, resolve};
use crate::{Descriptor, Image, Platform, digest_of};

/// Images in memory: a source and target for tests, and for previews of what would be pushed.
///
/// Behaves like one registry that serves all hosts: blobs belong to repositories, and are mounted only
/// within one host. Cheap to clone; clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Content>>);

/// A manifest's media type and text.
type Stored = (String, Arc<[u8]>);

#[derive(Debug, Default)]
struct Content {
    /// Blobs by repository and digest.
    blobs: BTreeMap<(String, Digest), Arc<[u8]>>,
    /// Manifests by repository and digest.
    manifests: BTreeMap<(String, Digest), Stored>,
    /// Digests by repository and tag.
    tags: BTreeMap<(String, String), Digest>,
    events: Vec<StoreEvent>,
}

/// Something that was done to a [`MemoryStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// A blob's bytes were sent.
    BlobWritten {
        /// To which repository.
        repository: String,
        /// Which blob.
        digest: Digest,
    },
    /// A blob was mounted from another repository.
    BlobMounted {
        /// From which repository.
        from: String,
        /// To which repository.
        to: String,
        /// Which blob.
        digest: Digest,
    },
    /// A manifest was put.
    ManifestPut {
        /// Under which name.
        reference: String,
        /// Which manifest.
        digest: Digest,
    },
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns what was done so far, and forgets it.
    pub fn take_events(&self) -> Vec<StoreEvent> {
        std::mem::take(&mut self.content().events)
    }

    /// Puts a blob into a repository and returns its digest.
    pub fn insert_blob(&self, repository: &Repository, bytes: &[u8]) -> Digest {
        let digest = digest_of(bytes);
        self.content()
            .blobs
            .insert((repository.to_string(), digest.clone()), bytes.into());
        digest
    }

    /// Removes a blob; returns whether it was there.
    pub fn remove_blob(&self, repository: &Repository, digest: &Digest) -> bool {
        self.content()
            .blobs
            .remove(&(repository.to_string(), digest.clone()))
            .is_some()
    }

    /// Returns a blob's bytes.
    pub fn blob(&self, repository: &Repository, digest: &Digest) -> Option<Arc<[u8]>> {
        self.content()
            .blobs
            .get(&(repository.to_string(), digest.clone()))
            .cloned()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // Each change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn digest(&self, reference: &Reference) -> Option<Digest> {
        let repository = reference.repository().to_string();
        match reference.digest() {
            Some(digest) => self
                .manifests
                .contains_key(&(repository, digest.clone()))
                .then(|| digest.clone()),
            None => self.tags.get(&(repository, reference.identifier())).cloned(),
        }
    }
}

impl ImageSource for MemoryStore {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        let repository = reference.repository();
        let manifest = |digest: Option<&Digest>| {
            let content = self.content();
            let digest = digest.cloned().or_else(|| content.digest(reference));
            let found = digest.and_then(|digest| content.manifests.get(&(repository.to_string(), digest)));
            Ok(found.map(|(media_type, json)| Document {
                media_type: media_type.clone(),
                json: json.to_vec(),
            }))
        };
        let config = |config: &Descriptor| match self.blob(repository, &config.digest) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(ImageError::NoBlob {
                repository: repository.clone(),
                digest: config.digest.clone(),
            }),
        };
        resolve(reference, platform, &manifest, &config)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        let repository = reference.repository();
        let bytes = self.blob(repository, &layer.digest).ok_or_else(|| ImageError::NoBlob {
            repository: repository.clone(),
            digest: layer.digest.clone(),
        })?;
        Ok(Box::new(Verified::new(
            Cursor::new(bytes),
            layer.digest.clone(),
            layer.size,
        )))
    }

    fn mountable(&self, reference: &Reference) -> Option<Repository> {
        Some(reference.repository().clone())
    }
}

impl ImageTarget for MemoryStore {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        Ok(self.blob(repository, digest).is_some())
    }

    fn is_known(&self, repository: &Repository, digest: &Digest) -> bool {
        self.blob(repository, digest).is_some()
    }

    fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        if from.registry() != to.registry() {
            return Ok(false);
        }
        let Some(bytes) = self.blob(from, digest) else {
            return Ok(false);
        };
        let mut content = self.content();
        content.blobs.insert((to.to_string(), digest.clone()), bytes);
        content.events.push(StoreEvent::BlobMounted {
            from: from.to_string(),
            to: to.to_string(),
            digest: digest.clone(),
        });
        Ok(true)
    }

    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        Ok(Box::new(MemoryBlob {
            store: self.clone(),
            repository: repository.to_string(),
            bytes: Vec::new(),
        }))
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        let actual = digest_of(json);
        if let Some(expected) = reference.digest().filter(|digest| **digest != actual) {
            return Err(ImageError::WrongDigest {
                expected: expected.clone(),
                actual,
            });
        }
        let repository = reference.repository().to_string();
        let mut content = self.content();
        content.manifests.insert(
            (repository.clone(), actual.clone()),
            (media_type.to_owned(), json.into()),
        );
        if reference.digest().is_none() {
            content
                .tags
                .insert((repository, reference.identifier()), actual.clone());
        }
        content.events.push(StoreEvent::ManifestPut {
            reference: reference.to_string(),
            digest: actual.clone(),
        });
        Ok(actual)
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        Ok(self.content().digest(reference))
    }
}

struct MemoryBlob {
    store: MemoryStore,
    repository: String,
    bytes: Vec<u8>,
}

impl Write for MemoryBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryBlob {
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), ImageError> {
        let actual = digest_of(&self.bytes);
        if actual != *digest {
            return Err(ImageError::WrongDigest {
                expected: digest.clone(),
                actual,
            });
        }
        let mut content = self.store.content();
        content
            .blobs
            .insert((self.repository.clone(), actual.clone()), self.bytes.into());
        content.events.push(StoreEvent::BlobWritten {
            repository: self.repository,
            digest: actual,
        });
        Ok(())
    }
}

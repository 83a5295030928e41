//! Operations on registries.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use http::{
    Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use registry_auth::{Digest, Keychain, Reference, Repository, Scope};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    answer::{self, MAX_MANIFEST},
    blob::{BlobReader, build},
    body::{AnswerBody, Body},
    descriptor::{Descriptor, MANIFEST_TYPES, RawManifest},
    error::{ClientError, Operation, Reason, RegistryError},
    http_client::{Http, origin_text},
    policy::HttpPolicy,
    push,
    session::{Call, Root, Session},
    tags,
    upload::BlobUpload,
};

/// Moves manifests and blobs to and from registries.
///
/// Cheap to clone; clones share connections, tokens and what was learned about registries. Every call may block on
/// the network and retries by itself as the policy says.
#[derive(Clone)]
pub struct Client {
    session: Arc<Session>,
}

impl Client {
    /// Makes a client that asks `keychain` who it is at each registry, at most once for each repository.
    ///
    /// # Errors
    /// When a certificate or proxy of the policy is malformed.
    pub fn new(policy: HttpPolicy, keychain: Arc<dyn Keychain>) -> Result<Self, ClientError> {
        Ok(Self::with_http(Http::new(&policy)?, keychain))
    }

    /// Makes a client that sends its requests through `http`.
    pub fn with_http(http: Http, keychain: Arc<dyn Keychain>) -> Self {
        Self {
            session: Arc::new(Session::new(http, keychain)),
        }
    }

    /// Returns the sender of requests, to be used for what is no registry.
    pub fn http(&self) -> &Http {
        &self.session.http
    }

    /// Asks for a manifest's digest, type and size; `None` when there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry does not answer with either.
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let call = read_manifest(reference);
        let described = self.session.run(
            &call,
            |root| manifest_request(Method::HEAD, root, reference),
            |_, answer| match answer.status() {
                StatusCode::OK => describe(reference, &answer).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(answer::failure(answer)),
            },
        )?;
        match described {
            None => Ok(None),
            Some(Some(descriptor)) => Ok(Some(descriptor)),
            // Some registries leave the digest to whoever reads the manifest.
            Some(None) => Ok(self.manifest(reference)?.map(|manifest| Descriptor {
                size: Some(manifest.bytes.len() as u64),
                media_type: manifest.media_type,
                digest: manifest.digest,
            })),
        }
    }

    /// Reads a manifest or index; `None` when there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry does not answer with either, when the bytes are not those of the digest asked for or
    /// announced, or more than 4 MiB.
    pub fn manifest(&self, reference: &Reference) -> Result<Option<RawManifest>, RegistryError> {
        self.session.run(
            &read_manifest(reference),
            |root| manifest_request(Method::GET, root, reference),
            |address, answer| match answer.status() {
                StatusCode::OK => take_manifest(reference, address, answer).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(answer::failure(answer)),
            },
        )
    }

    /// Starts to read a blob.
    ///
    /// # Errors
    /// When the registry does not have it or does not answer. Later errors come from reading.
    pub fn blob(&self, repository: &Repository, digest: &Digest) -> Result<BlobReader, RegistryError> {
        BlobReader::open(&self.session, repository, digest)
    }

    /// Returns the size of a blob if the repository has it.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let operation = Operation::ReadBlob(digest.clone());
        push::exists(
            &self.session,
            &Call::new(repository, operation, Scope::pull(repository)),
            digest,
        )
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
        push::whole(&self.session, repository, digest, size, open)
    }

    /// Starts an upload of a blob whose size is not known.
    ///
    /// # Errors
    /// When the registry does not allow it.
    pub fn start_upload(&self, repository: &Repository) -> Result<BlobUpload, RegistryError> {
        Ok(BlobUpload::new(&self.session, repository))
    }

    /// Makes a blob of repository `from` one of `to` without sending it, if the registry can; `false` if it did not.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        push::mount(&self.session, from, to, digest)
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
        let repository = reference.repository();
        let operation = Operation::PushManifest(reference.identifier());
        let call = Call::new(repository, operation, Scope::push(repository));
        let digest = Digest::from_sha256_bytes(Sha256::digest(bytes).into());
        if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
            return Err(call.error(Reason::Local(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the manifest's digest is {digest}, not {expected}"),
            ))));
        }
        self.session.run(
            &call,
            |root| {
                let address = root.address(repository, &format!("manifests/{}", reference.identifier()))?;
                let request = Request::put(address).header(CONTENT_TYPE, media_type);
                build(request.body(Body::from(bytes.to_vec())))
            },
            |_, answer| match answer.status() {
                StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => Ok(digest.clone()),
                _ => Err(answer::failure(answer)),
            },
        )
    }

    /// Lists all tags of a repository, in the registry's order, page by page.
    ///
    /// # Errors
    /// When the repository does not exist or the registry does not answer.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        tags::list(&self.session, repository)
    }

    /// Lists the descriptors of the manifests that refer to `subject`, such as signatures; empty when there are none.
    ///
    /// Registries without the referrers API are asked for the index that clients keep under the tag `sha256-HEX`.
    ///
    /// # Errors
    /// When the registry does not answer, or with something that is no index.
    pub fn referrers(&self, repository: &Repository, subject: &Digest) -> Result<Vec<Value>, RegistryError> {
        tags::referrers(&self.session, repository, subject)
    }

    /// Deletes a manifest (by digest) or a tag, as far as the registry supports it.
    ///
    /// # Errors
    /// When it does not exist or may not be deleted.
    pub fn delete(&self, reference: &Reference) -> Result<(), RegistryError> {
        let repository = reference.repository();
        let operation = Operation::Delete(reference.identifier());
        self.session.run(
            &Call::new(repository, operation, Scope::delete(repository)),
            |root| {
                let address = root.address(repository, &format!("manifests/{}", reference.identifier()))?;
                build(Request::delete(address).body(Body::empty()))
            },
            |_, answer| match answer.status() {
                StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
                _ => Err(answer::failure(answer)),
            },
        )
    }

    /// Checks that a manifest can be read.
    ///
    /// # Errors
    /// When it can't, also because it does not exist.
    pub fn check_read(&self, reference: &Reference) -> Result<(), RegistryError> {
        let repository = reference.repository();
        let operation = Operation::CheckRead(reference.identifier());
        self.session.run(
            &Call::new(repository, operation, Scope::pull(repository)),
            |root| manifest_request(Method::GET, root, reference),
            |address, answer| match answer.status() {
                StatusCode::OK => take_manifest(reference, address, answer).map(|_| ()),
                _ => Err(answer::failure(answer)),
            },
        )
    }

    /// Checks that the repository can be written to, by starting an upload and cancelling it.
    ///
    /// # Errors
    /// When it can't.
    pub fn check_write(&self, repository: &Repository) -> Result<(), RegistryError> {
        let call = Call::new(repository, Operation::CheckWrite, Scope::push(repository));
        let upload = push::start(&self.session, &call)?;
        push::cancel(&self.session, &call, &upload);
        Ok(())
    }
}

fn read_manifest(reference: &Reference) -> Call<'_> {
    let repository = reference.repository();
    Call::new(
        repository,
        Operation::ReadManifest(reference.identifier()),
        Scope::pull(repository),
    )
}

fn manifest_request(method: Method, root: &Root<'_>, reference: &Reference) -> Result<Request<Body>, Reason> {
    let address = root.address(reference.repository(), &format!("manifests/{}", reference.identifier()))?;
    let request = Request::builder().method(method).uri(address);
    build(request.header(ACCEPT, MANIFEST_TYPES).body(Body::empty()))
}

fn describe<B>(reference: &Reference, answer: &Response<B>) -> Result<Option<Descriptor>, Reason> {
    let Some(digest) = answer::content_digest(answer.headers()) else {
        return Ok(None);
    };
    if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
        return Err(Reason::WrongBytes {
            expected: expected.clone(),
            found: digest.to_string(),
        });
    }
    Ok(Some(Descriptor {
        digest,
        media_type: answer::media_type(answer.headers()),
        size: answer::content_length(answer.headers()),
    }))
}

fn take_manifest(reference: &Reference, address: &Uri, answer: Response<AnswerBody>) -> Result<RawManifest, Reason> {
    let (parts, body) = answer.into_parts();
    let bytes = answer::read_body(&origin_text(address), body, MAX_MANIFEST)?;
    let digest = Digest::from_sha256_bytes(Sha256::digest(&bytes).into());
    let announced = answer::content_digest(&parts.headers);
    let expected = reference.digest().or(announced.as_ref());
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        return Err(Reason::WrongBytes {
            expected: expected.clone(),
            found: digest.to_string(),
        });
    }
    let mut media_type = answer::media_type(&parts.headers);
    if media_type.is_empty() || media_type == "application/json" || media_type == "text/plain" {
        let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(given) = document.get("mediaType").and_then(Value::as_str) {
            given.clone_into(&mut media_type);
        }
    }
    Ok(RawManifest {
        bytes,
        media_type,
        digest,
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

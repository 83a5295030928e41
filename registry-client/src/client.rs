//! Operations on registries.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use http::{
    Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use registry_auth::{Digest, Keychain, Origin, Reference, RegistryHost, Repository, Scope, ScopeSet};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    answer::{self, MAX_MANIFEST},
    blob::{BlobReader, build},
    body::{AnswerBody, Body},
    cancellation::Cancellation,
    descriptor::{Descriptor, MANIFEST_TYPES, RawManifest},
    error::{ClientError, Operation, Reason, RegistryError},
    foreign,
    http_client::{Http, origin_text},
    policy::HttpPolicy,
    progress::Progress,
    push,
    session::{Call, Root, Session},
    tags,
    terms::Terms,
    upload::{BlobUpload, StreamedUpload},
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
    /// Makes a client that asks `keychain` who it is at each registry: once for each repository, and again when what it
    /// gave is refused.
    ///
    /// The keychain is asked on a thread of its own. It may take its time, as one that starts a program does: operations
    /// end with their time limit all the same, and what it says later is kept for the next.
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

    /// Makes a client that shares everything with this one, but ends each operation after `limit`: attempts and waits
    /// included, for a blob from its opening to its last byte. The error is a
    /// [deadline](RegistryError::is_deadline) then.
    #[must_use]
    pub fn with_time_limit(&self, limit: Duration) -> Self {
        self.with_terms(|terms| terms.time_limit = Some(limit))
    }

    /// Makes a client that shares everything with this one, but whose operations `cancellation` ends.
    #[must_use]
    pub fn with_cancellation(&self, cancellation: Cancellation) -> Self {
        self.with_terms(|terms| terms.cancellation = Some(cancellation))
    }

    /// Makes a client that shares everything with this one, and tells `listener` how its operations go on.
    ///
    /// The listener is called by whoever moves the bytes, for every few of them, and should be quick.
    #[must_use]
    pub fn with_progress(&self, listener: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.with_terms(|terms| terms.listener = Some(Arc::new(listener)))
    }

    fn with_terms(&self, change: impl FnOnce(&mut Terms)) -> Self {
        let mut session = Session::clone(&self.session);
        change(&mut session.terms);
        Self {
            session: Arc::new(session),
        }
    }

    /// Finds out how a registry is spoken to; asks it only where both schemes are possible.
    ///
    /// # Errors
    /// When it does not answer, or its name can't be connected to.
    pub fn origin(&self, repository: &Repository) -> Result<Origin, RegistryError> {
        let call = self.session.call(repository, Operation::Connect, ScopeSet::default());
        self.session.find_origin(&call)
    }

    /// Asks for a manifest's digest, type and size; `None` when there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry does not answer with either.
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let found = self.mirrored(reference, |reference, call| self.head_at(reference, &call))?;
        match found {
            None => Ok(None),
            Some(Described::Fully(descriptor)) => Ok(Some(descriptor)),
            // Some registries leave the digest to whoever reads the manifest.
            Some(Described::WithoutDigest) => Ok(self.manifest(reference)?.map(|manifest| Descriptor {
                size: Some(manifest.bytes.len() as u64),
                media_type: manifest.media_type,
                digest: manifest.digest,
            })),
        }
    }

    fn head_at(&self, reference: &Reference, call: &Call<'_>) -> Result<Option<Described>, RegistryError> {
        self.session.run(
            call,
            |root| manifest_request(Method::HEAD, root, reference),
            |_, answer| match answer.status() {
                StatusCode::OK => describe(reference, &answer).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(answer::failure(answer)),
            },
        )
    }

    /// Reads a manifest or index; `None` when there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry does not answer with either, when the bytes are not those of the digest asked for or
    /// announced, or more than 4 MiB.
    pub fn manifest(&self, reference: &Reference) -> Result<Option<RawManifest>, RegistryError> {
        self.mirrored(reference, |reference, call| {
            self.session.run(
                &call,
                |root| manifest_request(Method::GET, root, reference),
                |address, answer| match answer.status() {
                    StatusCode::OK => take_manifest(reference, address, answer).map(Some),
                    StatusCode::NOT_FOUND => Ok(None),
                    _ => Err(answer::failure(answer)),
                },
            )
        })
    }

    /// Asks the mirrors and then the registry itself, until one has it.
    fn mirrored<T>(
        &self,
        reference: &Reference,
        ask: impl Fn(&Reference, Call<'_>) -> Result<Option<T>, RegistryError>,
    ) -> Result<Option<T>, RegistryError> {
        let (session, policy) = (&self.session, self.session.http.policy());
        let by_digest = reference.digest().is_some();
        for place in session.mirrors.places(policy, reference.repository(), by_digest) {
            let there = reference.with_repository(&place);
            match ask(&there, self.read_manifest(&there).once()) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => session.terms.tell(Progress::MirrorFailed { repository: &place }),
                Err(error) if error.is_over() => return Err(error),
                Err(error) => session.mirror_failed(&place, &error),
            }
        }
        ask(reference, self.read_manifest(reference))
    }

    fn read_manifest<'a>(&self, reference: &'a Reference) -> Call<'a> {
        let repository = reference.repository();
        let operation = Operation::ReadManifest(reference.identifier());
        self.session.call(repository, operation, Scope::pull(repository))
    }

    /// Starts to read a blob.
    ///
    /// # Errors
    /// When the registry does not have it or does not answer. Later errors come from reading.
    pub fn blob(&self, repository: &Repository, digest: &Digest) -> Result<BlobReader, RegistryError> {
        BlobReader::open(&self.session, repository, digest, Vec::new())
    }

    /// Starts to read a blob that a manifest says is at `urls`, too, as it does of a foreign layer. The registry is
    /// asked first.
    ///
    /// The addresses get no credentials. They are not followed from https to http, nor from a public registry into a
    /// private network.
    ///
    /// # Errors
    /// When neither has it; the error is that of the last address then.
    pub fn foreign_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        urls: &[String],
    ) -> Result<BlobReader, RegistryError> {
        BlobReader::open(&self.session, repository, digest, foreign::addresses(urls))
    }

    /// Returns the size of a blob if the repository has it.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let operation = Operation::ReadBlob(digest.clone());
        let call = self.session.call(repository, operation, Scope::pull(repository));
        let found = push::exists(&self.session, &call, digest)?;
        let now = self.session.http.policy().clock.now();
        self.session.facts.note(now, repository, digest, found.is_some());
        Ok(found)
    }

    /// Brings a blob of `size` bytes to a repository with as few requests as the registry allows.
    ///
    /// None, if this client has just seen it there or sent it there; one, if the repository has it, if another one of
    /// the registry is known to this client to have it (it is mounted then), or if the registry takes blobs in the
    /// request that starts an upload; else three.
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
        let operation = Operation::PushBlob(Some(digest.clone()));
        let call = self.session.call(repository, operation, Scope::push(repository));
        push::whole(&self.session, &call, digest, size, open, false)
    }

    /// Brings a blob that the repository probably lacks there, as [`push_blob`](Self::push_blob) does.
    ///
    /// Whether it is there is asked by the request that starts the upload, as a mount from the repository itself: two
    /// requests instead of three.
    ///
    /// # Errors
    /// As [`push_blob`](Self::push_blob).
    pub fn push_new_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), RegistryError> {
        let operation = Operation::PushBlob(Some(digest.clone()));
        let call = self.session.call(repository, operation, Scope::push(repository));
        push::whole(&self.session, &call, digest, size, open, true)
    }

    /// Uploads a blob whose size and digest are not known yet, while it is made, in one request and without keeping
    /// any of it. Blocks until `bytes` ends. The blob is complete after [`StreamedUpload::finish`].
    ///
    /// # Errors
    /// When the registry does not take it, or reading fails. What was sent cannot be repeated from here: after a
    /// retryable error (a break, or a token that expired meanwhile), start again with a new reader.
    pub fn stream_blob(
        &self,
        repository: &Repository,
        bytes: impl Read + Send + 'static,
    ) -> Result<StreamedUpload, RegistryError> {
        StreamedUpload::send(&self.session, repository, bytes)
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
        push::mount(&self.session, from, to, digest, None)
    }

    /// Writes a manifest or index under a tag or its digest, and returns its digest.
    ///
    /// # Errors
    /// When the registry does not take it, for example because it lacks a blob, or has taken other bytes.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let repository = reference.repository();
        let operation = Operation::PushManifest(reference.identifier());
        let call = self.session.call(repository, operation, Scope::push(repository));
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
                StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => {
                    match answer::content_digest(answer.headers()).filter(|taken| *taken != digest) {
                        // Something on the way has changed the bytes.
                        Some(taken) => Err(Reason::WrongBytes {
                            expected: digest.clone(),
                            found: taken.to_string(),
                        }),
                        None => Ok(digest.clone()),
                    }
                }
                _ => {
                    // A blob may be gone that was thought to be there.
                    self.session.facts.forget(repository);
                    Err(answer::failure(answer))
                }
            },
        )
    }

    /// Lists all tags of a repository, in the registry's order, page by page.
    ///
    /// # Errors
    /// When the repository does not exist or the registry does not answer.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        tags::tags(&self.session, repository, None)
    }

    /// Lists all tags as [`Client::tags`], but asks for `page` of them at a time; the registry may give fewer.
    ///
    /// # Errors
    /// As [`Client::tags`].
    pub fn tags_by(&self, repository: &Repository, page: u32) -> Result<Vec<String>, RegistryError> {
        tags::tags(&self.session, repository, Some(page))
    }

    /// Lists the paths of all repositories of a registry, in its order, page by page. Many registries refuse it.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub fn repositories(&self, registry: &RegistryHost) -> Result<Vec<String>, RegistryError> {
        tags::repositories(&self.session, registry)
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
    /// When it may not be deleted or does not exist, also because it was deleted by an earlier attempt whose answer was
    /// lost.
    pub fn delete(&self, reference: &Reference) -> Result<(), RegistryError> {
        let repository = reference.repository();
        let operation = Operation::Delete(reference.identifier());
        self.session.run(
            &self.session.call(repository, operation, Scope::delete(repository)),
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
            &self.session.call(repository, operation, Scope::pull(repository)),
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
        let call = self
            .session
            .call(repository, Operation::CheckWrite, Scope::push(repository));
        match push::start(&self.session, &call) {
            Ok(upload) => push::cancel(&self.session, &call, &upload),
            // It is allowed all the same, and there is nothing to cancel.
            Err(error) if error.status() == Some(201) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn manifest_request(method: Method, root: &Root<'_>, reference: &Reference) -> Result<Request<Body>, Reason> {
    let address = root.address(reference.repository(), &format!("manifests/{}", reference.identifier()))?;
    let request = Request::builder().method(method).uri(address);
    build(request.header(ACCEPT, MANIFEST_TYPES).body(Body::empty()))
}

/// What the head of an answer tells about a manifest.
enum Described {
    Fully(Descriptor),
    WithoutDigest,
}

fn describe<B>(reference: &Reference, answer: &Response<B>) -> Result<Described, Reason> {
    let Some(digest) = answer::content_digest(answer.headers()) else {
        return Ok(Described::WithoutDigest);
    };
    if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
        return Err(Reason::WrongBytes {
            expected: expected.clone(),
            found: digest.to_string(),
        });
    }
    Ok(Described::Fully(Descriptor {
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

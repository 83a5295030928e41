//! A blob as it is read.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read},
    sync::Arc,
    time::SystemTime,
};

use http::{
    Request, Response, StatusCode, Uri,
    header::{CONTENT_RANGE, RANGE},
};
use registry_auth::{Digest, Repository, Scope};

use crate::{
    answer,
    body::{AnswerBody, Body},
    error::{Operation, Reason, RegistryError},
    foreign,
    hashing::Hashing,
    http_client::origin_text,
    http_error::HttpError,
    progress::Progress,
    session::{Call, Session},
};

/// How often one blob is taken up again after a break; each time with the policy's own attempts.
const RESUMES: u32 = 5;

/// Reads a blob from a registry.
///
/// At the end its size and digest are checked (unless somebody [else](Self::unchecked) does); a break in the middle is mended by asking for the rest. An error of
/// reading holds a [`RegistryError`].
pub struct BlobReader {
    session: Arc<Session>,
    repository: Repository,
    digest: Digest,
    /// Where it is read from, and where else it can be.
    place: Place,
    others: VecDeque<Place>,
    until: Option<SystemTime>,
    size: Option<u64>,
    body: Option<AnswerBody>,
    /// `None` where somebody else checks the bytes.
    hashing: Option<Hashing>,
    position: u64,
    resumes: u32,
}

/// Where a blob can be read.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The registry itself.
    Registry(Repository),
    /// A mirror of it.
    Mirror(Repository),
    /// An address that a manifest names.
    Elsewhere(Uri),
}

impl BlobReader {
    /// Opens the blob of `repository` at the first of its places that has it.
    pub(crate) fn open(
        session: &Arc<Session>,
        repository: &Repository,
        digest: &Digest,
        elsewhere: Vec<Uri>,
    ) -> Result<Self, RegistryError> {
        let policy = session.http.policy();
        let mirrors = session.mirrors.places(policy, repository, true);
        let places = mirrors
            .into_iter()
            .map(Place::Mirror)
            .chain([Place::Registry(repository.clone())])
            .chain(elsewhere.into_iter().map(Place::Elsewhere));
        let mut others: VecDeque<_> = places.collect();
        let until = session
            .call(repository, Operation::ReadBlob(digest.clone()), Scope::pull(repository))
            .until;
        let mut last_error = None;
        while let Some(place) = others.pop_front() {
            match request(session, repository, &place, digest, 0, until) {
                Ok((body, size)) => {
                    if let Place::Registry(repository) | Place::Mirror(repository) = &place {
                        session.facts.note(policy.clock.now(), repository, digest, true);
                    }
                    return Ok(Self {
                        session: Arc::clone(session),
                        repository: repository.clone(),
                        digest: digest.clone(),
                        place,
                        others,
                        until,
                        size,
                        body: Some(body),
                        hashing: Some(Hashing::new()),
                        position: 0,
                        resumes: 0,
                    });
                }
                Err(error) if error.is_over() => return Err(error),
                Err(error) => match place {
                    Place::Mirror(mirror) => session.mirror_failed(&mirror, &error),
                    // What the registry says counts; the rest is looked at only when it does not have the blob.
                    Place::Registry(_) if !error.is_not_found() => return Err(error),
                    Place::Registry(_) | Place::Elsewhere(_) => {
                        // The last word has the last address; a registry need not hold such a blob.
                        last_error = Some(error);
                    }
                },
            }
        }
        Err(last_error.expect("the registry itself is always asked"))
    }

    /// Returns the blob's size in bytes, where the registry told it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Expects exactly `size` bytes, as a manifest says: no more are read of an answer that does not end.
    ///
    /// # Errors
    /// When the registry has announced another size.
    pub fn expecting(mut self, size: u64) -> Result<Self, RegistryError> {
        if let Some(announced) = self.size.filter(|announced| *announced != size) {
            return Err(RegistryError::new(
                &self.repository,
                Operation::ReadBlob(self.digest.clone()),
                Reason::WrongBytes {
                    expected: self.digest.clone(),
                    found: format!("{announced} bytes instead of {size}"),
                },
            ));
        }
        self.size = Some(size);
        Ok(self)
    }

    /// Checks the size only, and leaves the digest to whoever reads.
    ///
    /// For content that has a name of its own, which is checked in any case: a layer has its diff id, and the hash of
    /// its blob says nothing then that the hash of its tar does not. Nothing else may be read this way.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.hashing = None;
        self
    }

    fn error(&self, reason: Reason) -> io::Error {
        RegistryError::new(&self.repository, Operation::ReadBlob(self.digest.clone()), reason).into()
    }

    fn resume(&mut self, problem: io::Error) -> io::Result<()> {
        let reason = answer::broken(self.repository.registry().as_str(), problem);
        let retryable = matches!(&reason, Reason::Http(error) if error.kind.is_retryable());
        if !retryable || self.resumes >= RESUMES {
            return Err(self.error(reason));
        }
        self.resumes += 1;
        if let (Place::Mirror(mirror), Some(next)) = (&self.place, self.others.pop_front()) {
            let at = Operation::ReadBlob(self.digest.clone());
            self.session
                .mirror_failed(mirror, &RegistryError::new(mirror, at, reason));
            self.place = next;
        }
        loop {
            let error = match self.request() {
                Ok((body, _)) => {
                    self.body = Some(body);
                    return Ok(());
                }
                Err(error) => error,
            };
            // Bytes are the same everywhere, so another place can give the rest.
            match self.others.pop_front() {
                Some(next) if !error.is_over() => {
                    if let Place::Mirror(mirror) = &self.place {
                        self.session.mirror_failed(mirror, &error);
                    }
                    self.place = next;
                }
                _ => return Err(error.into()),
            }
        }
    }

    fn request(&self) -> Result<(AnswerBody, Option<u64>), RegistryError> {
        let Self {
            session,
            repository,
            place,
            digest,
            position,
            until,
            ..
        } = self;
        request(session, repository, place, digest, *position, *until)
    }

    fn check(&mut self) -> io::Result<()> {
        let Some(hashing) = &mut self.hashing else {
            return Ok(());
        };
        let found = hashing.finish();
        if found.as_ref() == Some(&self.digest) {
            return Ok(());
        }
        Err(self.error(Reason::WrongBytes {
            expected: self.digest.clone(),
            found: found.map_or_else(|| "no digest".to_owned(), |found| found.to_string()),
        }))
    }

    /// Takes in the next bytes.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hashing) = &mut self.hashing {
            hashing.update(bytes);
        }
        self.position += bytes.len() as u64;
        if self.size.is_some_and(|size| self.position > size) {
            return Err(self.error(Reason::WrongBytes {
                expected: self.digest.clone(),
                found: "more bytes than were announced".to_owned(),
            }));
        }
        self.session.terms.tell(Progress::Received {
            repository: &self.repository,
            digest: &self.digest,
            bytes: self.position,
            size: self.size,
        });
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(body) = &mut self.body {
            let problem = match body.read(buffer) {
                Ok(0) if self.size.is_none_or(|size| size == self.position) => {
                    self.body = None;
                    return self.check().map(|()| 0).inspect_err(|_| self.fail());
                }
                Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "the blob ended early"),
                Ok(count) => {
                    return self.take(&buffer[..count]).map(|()| count).inspect_err(|_| self.fail());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if let Err(error) = self.resume(problem) {
                self.fail();
                return Err(error);
            }
        }
        Ok(0)
    }
}

impl BlobReader {
    /// Whoever reads on after an error must not take the end of this part for the end of the blob.
    fn fail(&mut self) {
        self.body = Some(AnswerBody::new(Failed));
    }
}

/// Fails each time it is read.
struct Failed;

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "reading has failed before"))
    }
}

/// Asks for a blob from byte `start` on; gives its whole size if that is known.
fn request(
    session: &Session,
    repository: &Repository,
    place: &Place,
    digest: &Digest,
    start: u64,
    until: Option<SystemTime>,
) -> Result<(AnswerBody, Option<u64>), RegistryError> {
    let call = |repository| Call {
        until,
        ..session.call(repository, Operation::ReadBlob(digest.clone()), Scope::pull(repository))
    };
    let (call, repository) = match place {
        Place::Registry(repository) => (call(repository), repository),
        Place::Mirror(repository) => (call(repository).once(), repository),
        Place::Elsewhere(address) => return foreign::request(session, &call(repository), address, start),
    };
    let range = format!("bytes={start}-");
    let ranged = |request: http::request::Builder| {
        if start > 0 {
            request.header(RANGE, &range)
        } else {
            request
        }
    };
    session.run(
        &call,
        |root| {
            let address = root.address(repository, &format!("blobs/{digest}"))?;
            build(ranged(Request::get(address)).body(Body::empty()))
        },
        |address, answer| take(address, answer, start),
    )
}

pub(crate) fn take(
    address: &Uri,
    answer: Response<AnswerBody>,
    start: u64,
) -> Result<(AnswerBody, Option<u64>), Reason> {
    match answer.status() {
        StatusCode::OK => {
            let size = answer::content_length(answer.headers());
            let mut body = answer.into_body();
            // A server without ranges sends all of it again.
            let skipped = io::copy(&mut body.by_ref().take(start), &mut io::sink());
            let skipped = skipped.map_err(|error| answer::broken(&origin_text(address), error))?;
            if skipped < start {
                let short = io::Error::new(io::ErrorKind::UnexpectedEof, "the blob ended early");
                return Err(answer::broken(&origin_text(address), short));
            }
            Ok((body, size))
        }
        StatusCode::PARTIAL_CONTENT if start > 0 => {
            let range = answer
                .headers()
                .get(CONTENT_RANGE)
                .and_then(|range| range.to_str().ok());
            let expected = format!("bytes {start}-");
            if range.is_none_or(|range| !range.starts_with(&expected)) {
                return Err(Reason::Answer("it holds another range than was asked for".to_owned()));
            }
            Ok((answer.into_body(), None))
        }
        _ => Err(answer::failure(answer)),
    }
}

pub(crate) fn build<B>(request: http::Result<Request<B>>) -> Result<Request<B>, Reason> {
    request.map_err(|error| Reason::Http(HttpError::new("request", crate::HttpErrorKind::Request).because(error)))
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BlobReader({} of {}, at {})",
            self.digest, self.repository, self.position
        )
    }
}

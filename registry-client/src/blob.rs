//! A blob as it is read.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use http::{
    Request, Response, StatusCode, Uri,
    header::{CONTENT_RANGE, RANGE},
};
use registry_auth::{Digest, Repository, Scope};
use sha2::{Digest as _, Sha256};

use crate::{
    answer,
    body::{AnswerBody, Body},
    error::{Operation, Reason, RegistryError},
    http_client::origin_text,
    http_error::HttpError,
    session::{Call, Session},
};

/// How often one blob is taken up again after a break; each time with the policy's own attempts.
const RESUMES: u32 = 5;

/// Reads a blob from a registry.
///
/// At the end its size and digest are checked; a break in the middle is mended by asking for the rest. An error of
/// reading holds a [`RegistryError`].
pub struct BlobReader {
    session: Arc<Session>,
    repository: Repository,
    digest: Digest,
    size: Option<u64>,
    body: Option<AnswerBody>,
    hasher: Sha256,
    position: u64,
    resumes: u32,
}

impl BlobReader {
    pub(crate) fn open(
        session: &Arc<Session>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Self, RegistryError> {
        let (body, size) = request(session, repository, digest, 0)?;
        Ok(Self {
            session: Arc::clone(session),
            repository: repository.clone(),
            digest: digest.clone(),
            size,
            body: Some(body),
            hasher: Sha256::new(),
            position: 0,
            resumes: 0,
        })
    }

    /// Returns the blob's size in bytes, where the registry told it.
    pub fn size(&self) -> Option<u64> {
        self.size
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
        let (body, _) = request(&self.session, &self.repository, &self.digest, self.position)?;
        self.body = Some(body);
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        let found = Digest::from_sha256_bytes(std::mem::take(&mut self.hasher).finalize().into());
        if found == self.digest {
            return Ok(());
        }
        Err(self.error(Reason::WrongBytes {
            expected: self.digest.clone(),
            found: found.to_string(),
        }))
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
                    self.check()?;
                    return Ok(0);
                }
                Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "the blob ended early"),
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.position += count as u64;
                    if self.size.is_some_and(|size| self.position > size) {
                        self.body = None;
                        return Err(self.error(Reason::WrongBytes {
                            expected: self.digest.clone(),
                            found: "more bytes than were announced".to_owned(),
                        }));
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // Whoever reads on after an error must not take the end of this part for the end of the blob.
            if let Err(error) = self.resume(problem) {
                self.body = Some(AnswerBody::new(Failed));
                return Err(error);
            }
        }
        Ok(0)
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
    digest: &Digest,
    start: u64,
) -> Result<(AnswerBody, Option<u64>), RegistryError> {
    let call = Call::new(repository, Operation::ReadBlob(digest.clone()), Scope::pull(repository));
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

fn take(address: &Uri, answer: Response<AnswerBody>, start: u64) -> Result<(AnswerBody, Option<u64>), Reason> {
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

//! A blob of unknown size as it is written.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use http::Uri;
use registry_auth::{Digest, Repository, Scope};

use crate::{
    body::Body,
    error::{Operation, RegistryError},
    progress::Progress,
    push::{self, Told},
    session::{Call, Session},
};

/// Uploads a blob whose size and digest are not known beforehand.
///
/// Bytes are collected up to the policy's `upload_chunk` and sent in one request then, so that a broken request can
/// be repeated. A blob that fits into one chunk is sent in one go at the end, and not at all if it is there already.
///
/// After a break the registry is asked how far it got, and the rest is sent. Some registries give up an upload whose
/// connection broke (distribution 2.8 does): the error is retryable then, and the bytes must be written again to a new
/// upload. Who has them on disk does better with [`Client::push_blob`](crate::Client::push_blob).
///
/// An upload that is dropped unfinished is cancelled. An error of writing holds a [`RegistryError`].
pub struct BlobUpload {
    session: Arc<Session>,
    repository: Repository,
    chunk: usize,
    buffer: Vec<u8>,
    started: Option<Uri>,
    sent: u64,
    until: Option<SystemTime>,
}

impl BlobUpload {
    pub(crate) fn new(session: &Arc<Session>, repository: &Repository) -> Self {
        Self {
            chunk: session.http.policy().upload_chunk.max(1),
            session: Arc::clone(session),
            repository: repository.clone(),
            buffer: Vec::new(),
            started: None,
            sent: 0,
            until: session
                .call(repository, Operation::PushBlob(None), Scope::push(repository))
                .until,
        }
    }

    /// Sends what is left and closes the upload.
    ///
    /// # Errors
    /// When the registry does not take it, because the bytes written are not those of `digest` for example.
    pub fn finish(mut self, digest: &Digest) -> Result<(), RegistryError> {
        let bytes = Arc::new(std::mem::take(&mut self.buffer));
        let Some(upload) = self.started.take() else {
            let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Body::shared(&bytes, 0).into_reader()) };
            let call = self.call(Some(digest));
            return push::whole(&self.session, &call, digest, bytes.len() as u64, &mut open, false);
        };
        let call = self.call(Some(digest));
        push::part(&self.session, &call, &upload, self.sent, &bytes, Some(digest))?;
        self.tell(Some(digest), self.sent + bytes.len() as u64);
        Ok(())
    }

    fn call(&self, digest: Option<&Digest>) -> Call<'_> {
        let repository = &self.repository;
        let operation = Operation::PushBlob(digest.cloned());
        Call {
            until: self.until,
            ..self.session.call(repository, operation, Scope::push(repository))
        }
    }

    fn tell(&self, digest: Option<&Digest>, bytes: u64) {
        self.session.terms.tell(Progress::Sent {
            repository: &self.repository,
            digest,
            bytes,
            size: digest.map(|_| bytes),
        });
    }

    fn send(&mut self) -> Result<(), RegistryError> {
        let started = self.started.take();
        let bytes = Arc::new(std::mem::take(&mut self.buffer));
        let call = self.call(None);
        let upload = match started {
            Some(upload) => upload,
            None => push::start(&self.session, &call)?,
        };
        let next = push::part(&self.session, &call, &upload, self.sent, &bytes, None)?;
        self.sent += bytes.len() as u64;
        self.tell(None, self.sent);
        // Usually nobody shares the buffer any more, and it is filled again.
        self.buffer = Arc::try_unwrap(bytes).unwrap_or_default();
        self.buffer.clear();
        self.started = Some(next);
        Ok(())
    }
}

impl Write for BlobUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is sent only when there is more, so that the last one closes the upload.
        if self.buffer.len() >= self.chunk && !bytes.is_empty() {
            self.send()?;
        }
        let room = self.chunk - self.buffer.len();
        let count = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobUpload {
    fn drop(&mut self) {
        if let Some(upload) = self.started.take() {
            push::cancel(&self.session, &self.call(None), &upload);
        }
    }
}

impl fmt::Debug for BlobUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobUpload({}, {} bytes sent)", self.repository, self.sent)
    }
}

/// A blob whose bytes have been sent, and that lacks its name; see [`Client::stream_blob`](crate::Client::stream_blob).
///
/// Dropped unfinished, it is cancelled.
pub struct StreamedUpload {
    session: Arc<Session>,
    repository: Repository,
    upload: Option<Uri>,
    /// How many bytes were sent.
    sent: u64,
    /// When it must be finished.
    until: Option<SystemTime>,
}

impl StreamedUpload {
    pub(crate) fn send(
        session: &Arc<Session>,
        repository: &Repository,
        bytes: impl Read + Send + 'static,
    ) -> Result<Self, RegistryError> {
        let mut streamed = Self {
            session: Arc::clone(session),
            repository: repository.clone(),
            upload: None,
            sent: 0,
            until: session
                .call(repository, Operation::PushBlob(None), Scope::push(repository))
                .until,
        };
        let upload = push::start(session, &streamed.call())?;
        streamed.upload = Some(upload.clone());
        // The request keeps the reader, so what it has read is told.
        let sent = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&sent);
        let bytes = Told::new(bytes, move |count| told.store(count, Ordering::Relaxed));
        streamed.upload = Some(push::stream(session, &streamed.call(), &upload, Box::new(bytes))?);
        streamed.sent = sent.load(Ordering::Relaxed);
        Ok(streamed)
    }

    /// Gives the blob its name; where the request breaks, the registry is asked how far it got, and it is sent again.
    ///
    /// # Errors
    /// When the registry does not take it, because the bytes sent are not those of `digest` for example.
    pub fn finish(mut self, digest: &Digest) -> Result<(), RegistryError> {
        if let Some(upload) = self.upload.take() {
            push::part(
                &self.session,
                &self.call(),
                &upload,
                self.sent,
                &Arc::default(),
                Some(digest),
            )?;
        }
        Ok(())
    }

    fn call(&self) -> Call<'_> {
        let repository = &self.repository;
        Call {
            until: self.until,
            ..self
                .session
                .call(repository, Operation::PushBlob(None), Scope::push(repository))
        }
    }
}

impl Drop for StreamedUpload {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            push::cancel(&self.session, &self.call(), &upload);
        }
    }
}

impl fmt::Debug for StreamedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamedUpload({}, {} bytes sent)", self.repository, self.sent)
    }
}

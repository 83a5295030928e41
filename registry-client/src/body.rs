//! What is sent and what comes back.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use crate::limits::Permit;

/// The body of a request.
#[derive(Default)]
pub struct Body(pub(crate) BodyKind);

#[derive(Default)]
pub(crate) enum BodyKind {
    #[default]
    Empty,
    Bytes(Vec<u8>),
    Reader {
        size: Option<u64>,
        reader: Box<dyn Read + Send>,
    },
}

impl Body {
    /// No body at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body of exactly `size` bytes, read while it is sent.
    pub fn sized(size: u64, reader: impl Read + Send + 'static) -> Self {
        Self(BodyKind::Reader {
            size: Some(size),
            reader: Box::new(reader),
        })
    }

    /// A body whose size is not known beforehand: it is sent with chunked encoding.
    pub fn streamed(reader: impl Read + Send + 'static) -> Self {
        Self(BodyKind::Reader {
            size: None,
            reader: Box::new(reader),
        })
    }

    /// A body of the bytes from `start` on, which it shares with others.
    pub(crate) fn shared(bytes: &Arc<Vec<u8>>, start: usize) -> Self {
        let size = bytes.len().saturating_sub(start) as u64;
        let mut reader = io::Cursor::new(SharedBytes(Arc::clone(bytes)));
        reader.set_position(start as u64);
        Self::sized(size, reader)
    }

    /// Returns the size in bytes where it is known.
    pub fn size(&self) -> Option<u64> {
        match &self.0 {
            BodyKind::Empty => Some(0),
            BodyKind::Bytes(bytes) => Some(bytes.len() as u64),
            BodyKind::Reader { size, .. } => *size,
        }
    }

    /// Turns the body into a reader of its bytes.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self.0 {
            BodyKind::Empty => Box::new(io::empty()),
            BodyKind::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            BodyKind::Reader { reader, .. } => reader,
        }
    }
}

struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(BodyKind::Bytes(bytes))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size() {
            Some(size) => write!(f, "Body({size} bytes)"),
            None => f.write_str("Body(streamed)"),
        }
    }
}

/// The body of an answer, read from the connection as it is asked for.
pub struct AnswerBody {
    reader: Box<dyn Read + Send>,
    permit: Option<Permit>,
}

impl AnswerBody {
    /// Makes a body of what `reader` gives.
    pub fn new(reader: impl Read + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            permit: None,
        }
    }

    /// Keeps a place among the requests under way until the body ends.
    pub(crate) fn holding(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Reads everything, but no more than `limit` bytes.
    ///
    /// # Errors
    /// When reading fails, or with [`io::ErrorKind::FileTooLarge`] when there is more.
    pub fn read_at_most(self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the answer is larger than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }
}

impl Read for AnswerBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buffer);
        if !buffer.is_empty() && !matches!(result, Ok(1..)) {
            self.permit = None;
        }
        result
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody")
    }
}

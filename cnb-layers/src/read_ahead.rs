use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 8;

/// Reads from another thread, a few chunks ahead, so that what produces bytes and what uses them work
/// at the same time.
pub(crate) struct ReadAhead<R> {
    chunks: Option<Receiver<io::Result<Vec<u8>>>>,
    chunk: io::Cursor<Vec<u8>>,
    thread: Option<JoinHandle<R>>,
}

impl<R: Read + Send + 'static> ReadAhead<R> {
    pub(crate) fn new(mut inner: R) -> Self {
        let (send, chunks) = sync_channel(CHUNKS);
        let thread = thread::spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = inner.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
                let end = chunk.is_empty();
                let failed = read.is_err();
                if !end && send.send(Ok(chunk)).is_err() {
                    return inner;
                }
                if let Err(error) = read {
                    // Nobody may be listening any more.
                    let _ = send.send(Err(error));
                }
                if end || failed {
                    return inner;
                }
            }
        });
        Self {
            chunks: Some(chunks),
            chunk: io::Cursor::default(),
            thread: Some(thread),
        }
    }

    /// Reads on to the end, and returns what was read from.
    pub(crate) fn finish(mut self) -> io::Result<R> {
        io::copy(&mut self, &mut io::sink())?;
        self.chunks = None;
        let lost = || io::Error::other("the reading thread failed");
        self.thread
            .take()
            .and_then(|thread| thread.join().ok())
            .ok_or_else(lost)
    }
}

impl<R> Read for ReadAhead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.chunks.as_ref().map(Receiver::recv) {
                Some(Ok(chunk)) => self.chunk = io::Cursor::new(chunk?),
                // The other side has come to its end.
                Some(Err(_)) | None => return Ok(0),
            }
        }
    }
}

impl<R> Drop for ReadAhead<R> {
    fn drop(&mut self) {
        // Without a receiver the thread stops at its next chunk; it is not waited for, because a slow
        // source may keep it for long.
        self.chunks = None;
    }
}

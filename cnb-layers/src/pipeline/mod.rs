//! From a layer's content to its compressed blob, in one pass.

mod bits;
mod deflate;
mod fast;
mod huffman;
mod slots;
mod upload;

pub(crate) use slots::Slots;
pub(crate) use upload::upload_layer_in;
pub use upload::{UploadError, upload_layer};

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use registry_auth::Digest;
use sha2::{Digest as _, Sha256};

use crate::{DiffId, LayerContent, LayerError};
use deflate::{Block, Deflater, Piece};

/// How layers are compressed, and with how much of the machine.
///
/// The bytes depend on the level alone: not on the number of threads, and not on the sizes in which
/// content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Deflate level, 1 (fast) to 9 (small). 2 makes layers no larger than the reference's and is several
    /// times as fast. Content that does not shrink is stored, not deflated, whatever the level.
    pub level: u32,
    /// Threads that deflate a layer, at least 1. Hashing and reading happen beside them.
    pub threads: usize,
    /// How many bytes of memory all layers that are on their way at the same time may take. One is always allowed,
    /// and more than there are threads are of no use. One that is made, and that the target is still storing, takes hardly any.
    pub memory: usize,
}

impl Default for Compression {
    /// Level 2 on two threads, in 16 MiB.
    fn default() -> Self {
        Self {
            level: 2,
            threads: 2,
            memory: 16 << 20,
        }
    }
}

impl Compression {
    /// Returns the memory that one layer needs at most on its way, in bytes.
    pub fn memory_of_layer(self) -> usize {
        // Each block in flight has its input, the window before it, and its output; a small blob is kept whole.
        (self.blocks_in_flight() + 2) * (2 * deflate::BLOCK + deflate::WINDOW) + upload::SMALL
    }

    /// Returns how many layers may be on their way at the same time.
    pub fn layers_at_once(self) -> usize {
        (self.memory / self.memory_of_layer()).clamp(1, self.threads.max(1))
    }

    fn blocks_in_flight(self) -> usize {
        self.threads.max(1) * 2
    }
}

/// A layer on its way through the pipeline has these names and sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// The SHA-256 of the uncompressed tar.
    pub diff_id: DiffId,
    /// The size of the uncompressed tar, in bytes.
    pub tar_size: u64,
    /// The SHA-256 of the gzip blob.
    pub digest: Digest,
    /// The size of the gzip blob, in bytes.
    pub size: u64,
}

/// Writes a layer's gzip blob to `sink`: reads the content once, hashes it, deflates it in blocks on
/// several threads, hashes the blob and passes it on, all at the same time and in bounded memory.
///
/// When `sink` is slow, reading waits for it; when it fails, reading stops.
///
/// # Errors
/// [`LayerError::Write`] with the sink's error when that failed first; else the content's error.
pub fn compress_layer(
    content: &dyn LayerContent,
    compression: Compression,
    sink: &mut (dyn Write + Send),
) -> Result<Compressed, LayerError> {
    let threads = compression.threads.max(1);
    let (to_workers, work) = sync_channel::<(Block, SyncSender<Piece>)>(threads);
    let (to_collector, in_order) = sync_channel::<Receiver<Piece>>(compression.blocks_in_flight());
    let work = Mutex::new(work);
    thread::scope(|scope| {
        let collector = scope.spawn(move || collect(&in_order, sink));
        let mut blocks = Blocks::new(to_workers, to_collector);
        for _ in 0..threads {
            scope.spawn(|| {
                // A layer of one block needs only one of them.
                let mut deflater = None;
                loop {
                    let next = work.lock().map(|work| work.recv());
                    let Ok(Ok((block, answer))) = next else { return };
                    let deflater = deflater.get_or_insert_with(|| Deflater::new(compression.level));
                    // The collector may have given up; then the next block finds out.
                    let _ = answer.send(deflater.deflate(&block));
                }
            });
        }
        let written = content
            .write_tar(&mut blocks)
            .and_then(|()| blocks.finish().map_err(LayerError::Write));
        // Closes both channels, so that workers and collector come to an end.
        drop(blocks);
        let collected = collector
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the compressing thread failed")));
        match (written, collected) {
            (_, Err(error)) if error.kind() != io::ErrorKind::ConnectionAborted => Err(LayerError::Write(error)),
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(LayerError::Write(error)),
            (Ok((diff_id, tar_size)), Ok((digest, size))) => Ok(Compressed {
                diff_id,
                tar_size,
                digest,
                size,
            }),
        }
    })
}

/// Cuts what is written into blocks, hashes it, and hands the blocks out.
struct Blocks {
    workers: Option<SyncSender<(Block, SyncSender<Piece>)>>,
    collector: Option<SyncSender<Receiver<Piece>>>,
    hash: Sha256,
    size: u64,
    /// The end of the last block, and this one as far as it is written.
    bytes: Vec<u8>,
    window: usize,
}

impl Blocks {
    fn new(workers: SyncSender<(Block, SyncSender<Piece>)>, collector: SyncSender<Receiver<Piece>>) -> Self {
        Self {
            workers: Some(workers),
            collector: Some(collector),
            hash: Sha256::new(),
            size: 0,
            bytes: Vec::with_capacity(deflate::BLOCK),
            window: 0,
        }
    }

    fn hand_out(&mut self, last: bool) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "what takes the layer has given up");
        let mut next = Vec::new();
        if !last {
            next.reserve_exact(deflate::WINDOW + deflate::BLOCK);
            next.extend_from_slice(&self.bytes[self.bytes.len().saturating_sub(deflate::WINDOW)..]);
        }
        let window = std::mem::replace(&mut self.window, next.len());
        let bytes = std::mem::replace(&mut self.bytes, next);
        self.hash.update(&bytes[window..]);
        self.size += (bytes.len() - window) as u64;
        let (answer, piece) = sync_channel(1);
        self.collector
            .as_ref()
            .ok_or_else(gone)?
            .send(piece)
            .map_err(|_| gone())?;
        let block = Block { bytes, window, last };
        self.workers
            .as_ref()
            .ok_or_else(gone)?
            .send((block, answer))
            .map_err(|_| gone())
    }

    fn finish(&mut self) -> io::Result<(DiffId, u64)> {
        self.hand_out(true)?;
        let hash = std::mem::take(&mut self.hash);
        Ok((DiffId::from_sha256_bytes(hash.finalize().into()), self.size))
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() - self.window == deflate::BLOCK {
            self.hand_out(false)?;
        }
        let count = bytes.len().min(deflate::BLOCK - (self.bytes.len() - self.window));
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the pieces in order, between gzip's header and trailer.
fn collect(in_order: &Receiver<Receiver<Piece>>, sink: &mut (dyn Write + Send)) -> io::Result<(Digest, u64)> {
    let mut sink = Hashed {
        sink,
        hash: Sha256::new(),
        size: 0,
    };
    // No name, no time, "fastest" as the extra flag, unknown system: as Go's gzip at its fastest level.
    sink.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff])?;
    let mut sum = flate2::Crc::new();
    let mut complete = false;
    while let Ok(piece) = in_order.recv() {
        // Without an answer, the layer ends in the middle: the writer has the reason.
        let Ok(piece) = piece.recv() else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        sink.write_all(&piece.deflated)?;
        sum.combine(&piece.sum);
        complete = piece.last;
    }
    if !complete {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    sink.write_all(&sum.sum().to_le_bytes())?;
    sink.write_all(&sum.amount().to_le_bytes())?;
    sink.sink.flush()?;
    Ok((Digest::from_sha256_bytes(sink.hash.finalize().into()), sink.size))
}

struct Hashed<'a> {
    sink: &'a mut (dyn Write + Send),
    hash: Sha256,
    size: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

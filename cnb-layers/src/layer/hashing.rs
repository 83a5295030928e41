use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

use crate::DiffId;

/// Bytes are hashed in parts of this size.
const PART: usize = 256 * 1024;
/// So many parts wait to be hashed; then writing waits.
const PARTS: usize = 2;

/// Hashes what is written. When it is more than a little, that happens on a thread of its own, so that reading goes
/// on meanwhile.
pub(super) struct Hashing {
    part: Vec<u8>,
    size: u64,
    beside: Option<Beside>,
}

struct Beside {
    parts: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256>,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self {
            part: Vec::new(),
            size: 0,
            beside: None,
        }
    }

    /// Returns the diff id of everything, and its size in bytes.
    pub(super) fn finish(self) -> io::Result<(DiffId, u64)> {
        let mut hash = match self.beside {
            None => Sha256::new(),
            Some(beside) => {
                drop(beside.parts);
                beside.thread.join().map_err(|_| lost())?
            }
        };
        hash.update(&self.part);
        Ok((DiffId::from_sha256_bytes(hash.finalize().into()), self.size))
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let beside = self.beside.get_or_insert_with(Beside::start);
        let next = beside.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PART));
        let part = std::mem::replace(&mut self.part, next);
        beside.parts.send(part).map_err(|_| lost())
    }
}

fn lost() -> io::Error {
    io::Error::other("the hashing thread failed")
}

impl Beside {
    fn start() -> Self {
        let (parts, received) = sync_channel::<Vec<u8>>(PARTS);
        let (back, empty) = sync_channel(PARTS + 1);
        let thread = thread::spawn(move || {
            let mut hash = Sha256::new();
            for mut part in received {
                hash.update(&part);
                part.clear();
                // One that does not fit any more is given up.
                let _ = back.try_send(part);
            }
            hash
        });
        Self { parts, empty, thread }
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART {
            self.pass_on()?;
        }
        let count = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

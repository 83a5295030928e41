//! SHA-256 of what is read, beside the reading.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use registry_auth::Digest;
use sha2::{Digest as _, Sha256};

/// Up to this many bytes are hashed by whoever reads them: a thread would cost more than it gives.
const ALONE: u64 = 4 << 20;
/// How many bytes are handed over at a time.
const BLOCK: usize = 512 << 10;
/// How many blocks there are, in hand and on the way together.
const BLOCKS: usize = 4;

/// Hashes bytes; those of a large blob on a thread of its own, so that the network does not wait for it.
pub(crate) struct Hashing {
    seen: u64,
    at: Place,
}

enum Place {
    Here(Sha256),
    Beside(Beside),
    /// It was taken away.
    Nowhere,
}

struct Beside {
    block: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256>,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        Self {
            seen: 0,
            at: Place::Here(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        match &mut self.at {
            Place::Here(hasher) => {
                hasher.update(bytes);
                if self.seen > ALONE {
                    // The state so far goes along.
                    self.at = Beside::start(hasher.clone()).map_or(Place::Here(hasher.clone()), Place::Beside);
                }
            }
            Place::Beside(beside) => beside.update(bytes),
            Place::Nowhere => {}
        }
    }

    /// Takes the digest of everything so far; what comes later counts no more.
    ///
    /// `None` after the first time.
    pub(crate) fn finish(&mut self) -> Option<Digest> {
        let hasher = match std::mem::replace(&mut self.at, Place::Nowhere) {
            Place::Here(hasher) => hasher,
            Place::Beside(beside) => beside.finish()?,
            Place::Nowhere => return None,
        };
        Some(Digest::from_sha256_bytes(hasher.finalize().into()))
    }
}

impl Beside {
    /// Goes on with `hasher` on a new thread; `None` where the system has none left.
    fn start(mut hasher: Sha256) -> Option<Self> {
        let (full, blocks) = sync_channel::<Vec<u8>>(BLOCKS);
        let (give_back, empty) = sync_channel(BLOCKS);
        for _ in 1..BLOCKS {
            give_back.send(Vec::with_capacity(BLOCK)).ok()?;
        }
        let thread = thread::Builder::new().name("blob digest".to_owned()).spawn(move || {
            for mut block in blocks {
                hasher.update(&block);
                block.clear();
                // Nobody wants it back after the last one.
                let _ = give_back.send(block);
            }
            hasher
        });
        Some(Self {
            block: Vec::with_capacity(BLOCK),
            full,
            empty,
            thread: thread.ok()?,
        })
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(BLOCK - self.block.len());
            self.block.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.block.len() == BLOCK {
                let next = self.empty.recv().unwrap_or_default();
                let full = std::mem::replace(&mut self.block, next);
                // It fails only when the thread is gone, which `finish` finds out.
                let _ = self.full.send(full);
            }
        }
    }

    fn finish(self) -> Option<Sha256> {
        self.full.send(self.block).ok()?;
        drop(self.full);
        self.thread.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_same_beside_and_here_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..6_000_011_u32).map(|at| (at % 251).to_be_bytes()[3]).collect();
        for (length, piece) in [
            (0, 1),
            (1000, 7),
            (4 << 20, 1 << 20),
            ((4 << 20) + 1, 99_991),
            (6_000_011, 300_000),
        ] {
            let mut hashing = Hashing::new();
            bytes[..length].chunks(piece).for_each(|piece| hashing.update(piece));
            let expected = Digest::from_sha256_bytes(Sha256::digest(&bytes[..length]).into());
            assert_eq!(hashing.finish(), Some(expected), "{length} bytes");
            assert_eq!(hashing.finish(), None);
        }
    }
}

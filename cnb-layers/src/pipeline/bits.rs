//! A deflate stream in the making.
#![allow(clippy::cast_possible_truncation, reason = "what is cast is below 64 Ki")]

/// Returns how many bytes stored blocks with so many bytes take.
pub(super) fn stored_size(length: usize) -> usize {
    length + 5 * length.div_ceil(0xffff)
}

/// Bits on their way into bytes, the first bit lowest.
pub(super) struct Bits {
    out: Vec<u8>,
    end: usize,
    held: u64,
    count: u32,
}

impl Bits {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            out: vec![0; capacity],
            end: 0,
            held: 0,
            count: 0,
        }
    }

    /// Makes room for so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.out.len() < self.end + bytes + 16 {
            self.out.resize(self.end + bytes + 16, 0);
        }
    }

    /// Adds bits; 57 fit between two flushes.
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
    }

    #[inline]
    pub(super) fn put_entry(&mut self, entry: u32) {
        self.held |= u64::from(entry & 0xffff) << self.count;
        self.count += entry >> 16;
    }

    /// Moves whole bytes out; there must be room for eight.
    #[inline]
    pub(super) fn flush(&mut self) {
        self.out[self.end..self.end + 8].copy_from_slice(&self.held.to_le_bytes());
        let bytes = self.count / 8;
        self.end += bytes as usize;
        self.held >>= 8 * bytes;
        self.count %= 8;
    }

    /// Adds stored blocks, after which the stream is at the start of a byte.
    pub(super) fn store(&mut self, data: &[u8]) {
        let mut first = true;
        for chunk in data.chunks(0xffff) {
            self.stored_block(chunk);
            first = false;
        }
        if first {
            self.stored_block(&[]);
        }
    }

    fn stored_block(&mut self, chunk: &[u8]) {
        self.reserve(chunk.len() + 16);
        self.put(0, 3);
        self.align();
        let length = chunk.len() as u16;
        self.bytes(&length.to_le_bytes());
        self.bytes(&(!length).to_le_bytes());
        self.bytes(chunk);
    }

    fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Brings the stream to the start of a byte, with an empty stored block unless it is there.
    pub(super) fn byte_boundary(&mut self) {
        if self.count > 0 {
            self.store(&[]);
        }
    }

    pub(super) fn finish(mut self, last: bool) -> Vec<u8> {
        if last {
            self.reserve(16);
            // An empty final block with fixed codes.
            self.put(0b011, 10);
            self.align();
        }
        self.out.truncate(self.end);
        self.out
    }
}

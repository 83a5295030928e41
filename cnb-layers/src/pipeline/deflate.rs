use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Content is deflated in blocks of this many bytes.
pub(super) const BLOCK: usize = 256 * 1024;
/// Deflate looks back this many bytes, so each block starts with what came before it.
pub(super) const WINDOW: usize = 32 * 1024;
/// Whether bytes shrink is decided for each run of this many.
const RUN: usize = 16 * 1024;

/// A block of content, with the content before it.
pub(super) struct Block {
    pub(super) window: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) last: bool,
}

/// A block's part of the deflate stream; it ends on a byte.
pub(super) struct Piece {
    pub(super) deflated: Vec<u8>,
    pub(super) sum: Crc,
    pub(super) last: bool,
}

/// Deflates blocks. What it makes of a block depends on the block and the window alone.
///
/// So each run gets a compressor of its own. One that is reset and used again keeps something of what it
/// did before, and makes other (equally valid) bytes of some blocks: the digest of a layer would depend on
/// which thread took which block.
pub(super) struct Deflater {
    level: Compression,
}

impl Deflater {
    pub(super) fn new(level: u32) -> Self {
        Self {
            level: Compression::new(level.clamp(1, 9)),
        }
    }

    pub(super) fn deflate(&self, block: &Block) -> Piece {
        let mut out = Vec::with_capacity(block.data.len() / 2 + 1024);
        let mut start = 0;
        while start < block.data.len() {
            let stored = !shrinks(run(&block.data, start));
            let mut end = start + run(&block.data, start).len();
            while end < block.data.len() && stored != shrinks(run(&block.data, end)) {
                end += run(&block.data, end).len();
            }
            let data = &block.data[start..end];
            if stored {
                store(data, &mut out);
            } else if start >= WINDOW {
                self.deflate_run(&block.data[start - WINDOW..start], data, &mut out);
            } else {
                let before = [block.window.as_slice(), &block.data[..start]].concat();
                self.deflate_run(&before[before.len().saturating_sub(WINDOW)..], data, &mut out);
            }
            start = end;
        }
        if block.last {
            // An empty final block with fixed codes.
            out.extend_from_slice(&[3, 0]);
        }
        let mut sum = Crc::new();
        sum.update(&block.data);
        Piece {
            deflated: out,
            sum,
            last: block.last,
        }
    }

    fn deflate_run(&self, window: &[u8], data: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut compress = Compress::new(self.level, false);
        if !window.is_empty() && compress.set_dictionary(window).is_err() {
            return store(data, out);
        }
        let mut done = 0;
        loop {
            out.reserve(data.len() - done + 64);
            let read = compress.total_in();
            let status = compress.compress_vec(&data[done..], out, FlushCompress::Sync);
            done += usize::try_from(compress.total_in() - read).unwrap_or(0);
            match status {
                // There is space left in the output only when the flush is complete.
                Ok(Status::Ok | Status::BufError) if done == data.len() && out.len() < out.capacity() => break,
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) | Err(_) => {
                    out.truncate(before);
                    return store(data, out);
                }
            }
        }
        if out.len() - before > stored_size(data.len()) {
            out.truncate(before);
            store(data, out);
        }
    }
}

fn run(data: &[u8], start: usize) -> &[u8] {
    let end = data.len().min(start + RUN);
    &data[start..end]
}

/// Appends stored blocks. The stream is at a byte boundary before and after.
fn store(data: &[u8], out: &mut Vec<u8>) {
    for chunk in data.chunks(0xffff) {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
}

fn stored_size(length: usize) -> usize {
    length + 5 * length.div_ceil(0xffff)
}

/// Guesses whether deflate makes bytes smaller: whether their values are unevenly spread.
///
/// Compressed and encrypted content has each of the 256 values about equally often. The sum of the
/// squares of the counts is then near `n²/256`, and larger for everything that Huffman codes can shrink.
fn shrinks(data: &[u8]) -> bool {
    // Few bytes say little about their spread.
    if data.len() < 4096 {
        return true;
    }
    // Four tables, because equal values in a row would wait for one another.
    let mut tables = [[0u32; 256]; 4];
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        for (table, byte) in tables.iter_mut().zip(chunk) {
            table[usize::from(*byte)] += 1;
        }
    }
    for byte in chunks.remainder() {
        tables[0][usize::from(*byte)] += 1;
    }
    let squares: u64 = (0..256)
        .map(|value| tables.iter().map(|table| u64::from(table[value])).sum::<u64>())
        .map(|count| count * count)
        .sum();
    let length = data.len() as u64;
    // Random bytes give n²/256 + n, give or take a little; 4 % more is worth a closer look.
    squares * 256 > length * length + length * 256 + length * length / 25
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_stored_and_text_is_deflated() {
        assert!(!shrinks(&noise(RUN)));
        assert!(!shrinks(&noise(5000)));
        assert!(shrinks(&b"fn main() { println!(\"hello\"); }\n".repeat(500)));
        assert!(shrinks(&vec![0; RUN]));
    }

    #[test]
    fn noise_grows_by_less_than_a_thousandth() {
        let data = noise(BLOCK);
        let piece = Deflater::new(2).deflate(&Block {
            window: Vec::new(),
            data: data.clone(),
            last: true,
        });
        assert!(piece.deflated.len() < data.len() + data.len() / 1000);
    }

    /// Text with repetitions at many distances, mixed with noise: what makes a compressor remember.
    fn mixture(length: usize) -> Vec<u8> {
        let noise = noise(length);
        let words: Vec<Vec<u8>> = (0..4000)
            .map(|at| noise[at * 7..at * 7 + 3 + at % 9].to_vec())
            .collect();
        let mut out = Vec::with_capacity(length + 64);
        let mut at = 0;
        while out.len() < length {
            let pick = usize::from(noise[at % length]) * 256 + usize::from(noise[(at + 1) % length]);
            // Few words often, many seldom.
            let word = &words[if pick % 4 == 0 { pick % words.len() } else { pick % 97 }];
            out.extend(word.iter().map(|byte| b' ' + byte % 95));
            at += 2;
        }
        out.truncate(length);
        out
    }

    #[test]
    fn a_block_gives_the_same_bytes_whatever_was_deflated_before() {
        let data = mixture(24 * BLOCK);
        let blocks: Vec<Block> = (0..data.len() / BLOCK)
            .map(|number| {
                let start = number * BLOCK;
                let window = data[start.saturating_sub(WINDOW)..start].to_vec();
                Block {
                    window,
                    data: data[start..start + BLOCK].to_vec(),
                    last: false,
                }
            })
            .collect();
        for level in [1, 2, 6] {
            let one = Deflater::new(level);
            let forwards: Vec<_> = blocks.iter().map(|block| one.deflate(block).deflated).collect();
            let backwards: Vec<_> = blocks.iter().rev().map(|block| one.deflate(block).deflated).collect();
            assert!(forwards.iter().eq(backwards.iter().rev()), "level {level}");
        }
    }
}

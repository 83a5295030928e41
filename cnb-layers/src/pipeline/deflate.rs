use super::bits::{Bits, stored_size};
use super::fast::Fast;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Content is deflated in blocks of this many bytes.
pub(super) const BLOCK: usize = 256 * 1024;
/// Deflate looks back this many bytes, so each block starts with what came before it.
pub(super) const WINDOW: usize = 32 * 1024;
/// Whether bytes shrink is decided for each run of this many.
const RUN: usize = 16 * 1024;

/// A block of content, with the content before it.
pub(super) struct Block {
    /// Both, one after the other.
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes come before the block.
    pub(super) window: usize,
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
/// Levels 1 and 2 are [`Fast`], the others zlib's. There each run gets a compressor of its own: one that is reset and
/// used again keeps something of what it did before, and makes other (equally valid) bytes of some blocks, so that
/// the digest of a layer would depend on which thread took which block.
pub(super) struct Deflater {
    level: Compression,
    fast: Option<Fast>,
}

impl Deflater {
    pub(super) fn new(level: u32) -> Self {
        Self {
            level: Compression::new(level.clamp(1, 9)),
            fast: (level <= 2).then(Fast::new),
        }
    }

    pub(super) fn deflate(&mut self, block: &Block) -> Piece {
        let deflated = match self.fast.take() {
            Some(mut fast) => {
                let deflated = deflate_fast(&mut fast, block);
                self.fast = Some(fast);
                deflated
            }
            None => self.deflate_small(block),
        };
        let mut sum = Crc::new();
        sum.update(&block.bytes[block.window..]);
        Piece {
            deflated,
            sum,
            last: block.last,
        }
    }

    fn deflate_small(&self, block: &Block) -> Vec<u8> {
        let mut out = Vec::with_capacity(block.bytes.len() / 2 + 1024);
        for (start, end, shrinks) in runs(&block.bytes, block.window) {
            let data = &block.bytes[start..end];
            if shrinks {
                self.deflate_run(&block.bytes[start.saturating_sub(WINDOW)..start], data, &mut out);
            } else {
                store(data, &mut out);
            }
        }
        if block.last {
            // An empty final block with fixed codes.
            out.extend_from_slice(&[3, 0]);
        }
        out
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

fn deflate_fast(fast: &mut Fast, block: &Block) -> Vec<u8> {
    let mut out = Bits::new(block.bytes.len() / 2 + 1024);
    let mut looked_at_window = false;
    fast.reset();
    for (start, end, shrinks) in runs(&block.bytes, block.window) {
        if !shrinks {
            // Nothing refers to it: what does not shrink has nothing in common with what does.
            out.store(&block.bytes[start..end]);
            continue;
        }
        if !looked_at_window {
            fast.look_at(&block.bytes, start.saturating_sub(WINDOW), block.window);
            looked_at_window = true;
        }
        fast.deflate(&block.bytes, start, end, &mut out);
    }
    if !block.last {
        out.byte_boundary();
    }
    out.finish(block.last)
}

/// Cuts what follows `start` where it begins or ceases to shrink: from, to, whether it shrinks.
fn runs(bytes: &[u8], start: usize) -> Vec<(usize, usize, bool)> {
    let mut runs: Vec<(usize, usize, bool)> = Vec::new();
    let mut from = start;
    while from < bytes.len() {
        let to = bytes.len().min(from + RUN);
        let shrinks = shrinks(&bytes[from..to]);
        match runs.last_mut() {
            Some(last) if last.2 == shrinks => last.1 = to,
            _ => runs.push((from, to, shrinks)),
        }
        from = to;
    }
    runs
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

/// Guesses whether deflate makes bytes smaller: whether their values are unevenly spread.
///
/// Compressed and encrypted content has each of the 256 values about equally often. The sum of the
/// squares of the counts is then near `n²/256`, and larger for everything that Huffman codes can shrink.
/// A quarter of the bytes, taken all over the run, tells enough.
fn shrinks(data: &[u8]) -> bool {
    // Few bytes say little about their spread.
    if data.len() < RUN {
        return data.len() < RUN / 4 || uneven(&mut std::iter::once(data));
    }
    uneven(&mut data.chunks(RUN / 16).map(|part| &part[..part.len().min(RUN / 64)]))
}

fn uneven(parts: &mut dyn Iterator<Item = &[u8]>) -> bool {
    // Four tables, because equal values in a row would wait for one another.
    let mut tables = [[0u32; 256]; 4];
    let mut length = 0;
    for part in parts {
        length += part.len() as u64;
        let mut chunks = part.chunks_exact(4);
        for chunk in &mut chunks {
            for (table, byte) in tables.iter_mut().zip(chunk) {
                table[usize::from(*byte)] += 1;
            }
        }
        for byte in chunks.remainder() {
            tables[0][usize::from(*byte)] += 1;
        }
    }
    let squares: u64 = (0..256)
        .map(|value| tables.iter().map(|table| u64::from(table[value])).sum::<u64>())
        .map(|count| count * count)
        .sum();
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
            bytes: data.clone(),
            window: 0,
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
                let before = start.saturating_sub(WINDOW);
                Block {
                    bytes: data[before..start + BLOCK].to_vec(),
                    window: start - before,
                    last: false,
                }
            })
            .collect();
        for level in [1, 2, 6] {
            let mut one = Deflater::new(level);
            let forwards: Vec<_> = blocks.iter().map(|block| one.deflate(block).deflated).collect();
            let backwards: Vec<_> = blocks.iter().rev().map(|block| one.deflate(block).deflated).collect();
            assert!(forwards.iter().eq(backwards.iter().rev()), "level {level}");
        }
    }

    fn inflated(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        let deflated = pieces.concat();
        let mut reader = flate2::read::DeflateDecoder::new(deflated.as_slice());
        std::io::Read::read_to_end(&mut reader, &mut out).expect("it can be inflated");
        out
    }

    fn deflated(level: u32, data: &[u8]) -> Vec<Vec<u8>> {
        let mut deflater = Deflater::new(level);
        let starts = (0..data.len().max(1)).step_by(BLOCK);
        starts
            .map(|start| {
                let (before, end) = (start.saturating_sub(WINDOW), data.len().min(start + BLOCK));
                let block = Block {
                    bytes: data[before..end].to_vec(),
                    window: start - before,
                    last: end == data.len(),
                };
                deflater.deflate(&block).deflated
            })
            .collect()
    }

    #[test]
    fn what_is_deflated_inflates_to_the_same_at_each_size_and_level() {
        let mixture = mixture(BLOCK + 1);
        let noise = noise(BLOCK + 1);
        let zeros = vec![0; BLOCK + 1];
        let mut halves = mixture.clone();
        halves
            .chunks_mut(40_000)
            .step_by(2)
            .zip(noise.chunks(40_000))
            .for_each(|(to, from)| {
                let count = to.len().min(from.len());
                to[..count].copy_from_slice(&from[..count]);
            });
        for data in [&mixture, &noise, &zeros, &halves] {
            for size in [0, 1, 2, 3, 4, 7, 8, 9, 255, 256, 1000, 65_535, 65_600, BLOCK + 1] {
                for level in [1, 6] {
                    let pieces = deflated(level, &data[..size]);
                    assert!(inflated(&pieces) == data[..size], "{size} bytes at level {level}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_survive(parts in proptest::collection::vec((proptest::collection::vec(0u8..5, 1..20), 1usize..400), 0..40)) {
            let data: Vec<u8> = parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect();
            proptest::prop_assert!(inflated(&deflated(2, &data)) == data);
        }
    }

    /// Golden: digests of layers in registries depend on these bytes. They may change only knowingly.
    #[test]
    fn the_bytes_of_the_default_level_are_these() {
        let pieces = deflated(2, &mixture(2 * BLOCK + 777));
        assert_eq!(
            crate::digest_of(&pieces.concat()).as_str(),
            "sha256:cadc5b5cdfb073b759f6e2c3ee4fd278362283f3935c3f63fb9a09d13fb58985"
        );
    }
}

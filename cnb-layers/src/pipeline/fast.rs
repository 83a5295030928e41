//! A deflate encoder for speed: greedy matches of at least four bytes, found by the hash of five.
//!
//! It is the project's own because its bytes are what the digests of layers are made of: they must not change with
//! the version of a library. Layers come out smaller than those of the reference's fastest level, at twice the speed
//! of zlib's second level.
#![allow(clippy::cast_possible_truncation, reason = "what is cast is below 64 Ki or masked")]

use super::bits::{Bits, stored_size};

use super::huffman::{Code, Description, fixed};
use std::hint::select_unpredictable;

/// A match reaches back this far at most.
const REACH: usize = 32 * 1024;
const LONGEST: usize = 258;
/// The table takes 16 KiB: with the window, it stays in the fastest cache.
const TABLE_BITS: u32 = 13;
/// The symbols for literals, the end of a block and lengths.
const SYMBOLS: usize = 286;
const END: usize = 256;
const DISTANCES: usize = 30;
/// Codes of literals and lengths have at most so many bits: then four literals fit into what the writer holds.
const MOST_BITS: u32 = 14;
/// Masks that leave the first none, one, two or three.
const FIRST: [[u32; 3]; 4] = [[0, 0, 0], [!0, 0, 0], [!0, !0, 0], [!0, !0, !0]];
/// A block gets codes of its own after so many bytes.
const BLOCK: usize = 64 * 1024;

/// Literals and the match that follows them; the last of a block has none (`length` is 0).
#[derive(Clone, Copy)]
struct Sequence {
    literals: u32,
    length: u16,
    /// One less than the distance.
    distance: u16,
}

/// Deflates pieces of one buffer, each with what comes before it in the buffer as its window.
pub(super) struct Fast {
    /// Where five bytes were seen last, by their hash: the low bits of the position.
    table: Box<[u16; 1 << TABLE_BITS]>,
    sequences: Vec<Sequence>,
    symbols: [u32; SYMBOLS],
    distances: [u32; DISTANCES],
}

impl Fast {
    #[allow(clippy::large_stack_arrays, reason = "16 KiB, once a thread")]
    pub(super) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
            sequences: Vec::new(),
            symbols: [0; SYMBOLS],
            distances: [0; DISTANCES],
        }
    }

    /// Forgets all positions: another buffer follows.
    pub(super) fn reset(&mut self) {
        self.table.fill(0);
    }

    /// Notes what is in `data[from..to]`, so that it can be referred to.
    pub(super) fn look_at(&mut self, data: &[u8], from: usize, to: usize) {
        let to = to.min(data.len().saturating_sub(8));
        let mut at = from;
        while at < to {
            self.table[hash(eight(data, at))] = low(at);
            at += 1;
        }
    }

    /// Appends the blocks of `data[start..end]`.
    pub(super) fn deflate(&mut self, data: &[u8], start: usize, end: usize, out: &mut Bits) {
        let data = &data[..end];
        let mut from = start;
        while from < end {
            let to = self.find(data, from, end.min(from + BLOCK));
            self.write(&data[from..to], out);
            from = to;
        }
    }

    /// Finds the sequences of a block; it ends at `goal` or with the match that reaches beyond.
    ///
    /// By itself, so that what it uses all the time stays in registers.
    #[inline(never)]
    fn find(&mut self, data: &[u8], start: usize, goal: usize) -> usize {
        let Self {
            table,
            sequences,
            symbols,
            distances,
        } = self;
        sequences.clear();
        symbols.fill(0);
        distances.fill(0);
        let last = data.len().saturating_sub(16).min(goal);
        let (mut at, mut literals) = (start, start);
        while at < last {
            let ahead = eight(data, at);
            let slot = &mut table[hash(ahead)];
            let distance = usize::from(low(at).wrapping_sub(*slot));
            *slot = low(at);
            let difference = if distance <= at {
                eight(data, at - distance) ^ ahead
            } else {
                1
            };
            // The bytes differ more often than the distance is too far: what can be foretold is asked first.
            if difference as u32 != 0 || distance.wrapping_sub(1) >= REACH {
                symbols[usize::from(ahead as u8)] += 1;
                at += 1;
                // What has not matched for long will not soon.
                let skipped = (at - literals) >> 7;
                if skipped > 0 {
                    let to = goal.min(at + skipped);
                    count(symbols, &data[at..to]);
                    at = to;
                }
                continue;
            }
            let mut length = matching(data, at, distance, difference);
            // Positions that were passed over may match, too. They stay among the counted literals: that makes the
            // codes hardly longer, and to take them off takes time.
            if at >= distance + 8 {
                let before = eight(data, at - 8) ^ eight(data, at - distance - 8);
                let back = (before.leading_zeros() / 8) as usize;
                let back = back.min(at - literals).min(LONGEST - length);
                at -= back;
                length += back;
            }
            symbols[usize::from(LENGTH_SYMBOLS[length])] += 1;
            distances[distance_symbol(distance).0] += 1;
            sequences.push(Sequence {
                literals: (at - literals) as u32,
                length: length as u16,
                distance: (distance - 1) as u16,
            });
            let after = at + length;
            if after < last {
                table[hash(eight(data, at + 1))] = low(at + 1);
                table[hash(eight(data, after - 1))] = low(after - 1);
            }
            at = after;
            literals = at;
        }
        let end = literals.max(goal);
        count(symbols, data.get(at..end).unwrap_or_default());
        sequences.push(Sequence {
            literals: (end - literals) as u32,
            length: 0,
            distance: 0,
        });
        end
    }

    /// Writes the block with the codes that make it smallest, or stored.
    fn write(&mut self, data: &[u8], out: &mut Bits) {
        self.symbols[END] = 1;
        let symbols = Code::of(&self.symbols, MOST_BITS);
        let distances = Code::of(&self.distances, 15);
        let description = Description::of(&symbols, &distances);
        let extra = self.extra_bits();
        let own = description.bits() + symbols.cost(&self.symbols) + distances.cost(&self.distances);
        let (fixed, fixed_distances) = fixed();
        let shared = fixed.cost(&self.symbols) + fixed_distances.cost(&self.distances);
        if own.min(shared) + extra + 3 > 8 * stored_size(data.len()) as u64 {
            return out.store(data);
        }
        out.reserve((own.min(shared) + extra) as usize / 8 + 32);
        if shared <= own {
            out.put(0b010, 3);
            self.write_with(data, &fixed, &fixed_distances, out);
        } else {
            out.put(0b100, 3);
            description.write(out);
            self.write_with(data, &symbols, &distances, out);
        }
    }

    fn extra_bits(&self) -> u64 {
        let lengths: u64 = (265..285)
            .map(|symbol| u64::from(self.symbols[symbol]) * ((symbol as u64 - 261) / 4))
            .sum();
        let distances: u64 = (4..DISTANCES)
            .map(|symbol| u64::from(self.distances[symbol]) * (symbol as u64 / 2 - 1))
            .sum();
        lengths + distances
    }

    fn write_with(&self, data: &[u8], symbols: &Code, distances: &Code, out: &mut Bits) {
        // Lengths with their extra bits, made once for the block.
        let mut lengths = [(0u32, 0u32); LONGEST + 1];
        for (length, entry) in lengths.iter_mut().enumerate().skip(3) {
            let (symbol, bits, extra) = length_symbol(length);
            let (code, width) = symbols.get(symbol);
            *entry = (code | extra << width, width + bits);
        }
        let literals = symbols.entries();
        let mut rest = data;
        for sequence in &self.sequences {
            let (run, after) = rest.split_at(sequence.literals as usize);
            let fours = run.len() / 4 * 4;
            for four in run[..fours].chunks_exact(4) {
                for byte in four {
                    out.put_entry(literals[usize::from(*byte)]);
                }
                out.flush();
            }
            // How many are left can't be foretold: three are put, those that belong to the match as nothing.
            if let Some(three) = rest.get(fours..fours + 3) {
                for (byte, mask) in three.iter().zip(FIRST[run.len() - fours]) {
                    out.put_entry(literals[usize::from(*byte)] & mask);
                }
            } else {
                for byte in &run[fours..] {
                    out.put_entry(literals[usize::from(*byte)]);
                }
            }
            out.flush();
            rest = after;
            if sequence.length > 0 {
                let (code, width) = lengths[usize::from(sequence.length)];
                out.put(code, width);
                let (symbol, bits, extra) = distance_symbol(usize::from(sequence.distance) + 1);
                let (code, width) = distances.get(symbol);
                out.put(code, width);
                out.put(extra, bits);
                out.flush();
                rest = &rest[usize::from(sequence.length)..];
            }
        }
        out.put_entry(literals[END]);
        out.flush();
    }
}

fn count(symbols: &mut [u32; SYMBOLS], literals: &[u8]) {
    for byte in literals {
        symbols[usize::from(*byte)] += 1;
    }
}

fn low(position: usize) -> u16 {
    (position & 0xffff) as u16
}

fn eight(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Makes a number of the first five of eight bytes. Matches of four alone are found by chance only: they are hardly
/// shorter than their literals, and each costs time.
fn hash(eight: u64) -> usize {
    ((eight << 24).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - TABLE_BITS)) as usize
}

/// Returns how long a match is whose first eight bytes differ in `difference`; there are sixteen bytes to look at.
#[inline]
fn matching(data: &[u8], at: usize, distance: usize, difference: u64) -> usize {
    // Whether it has more than eight bytes can't be foretold, so both are computed.
    let further = eight(data, at - distance + 8) ^ eight(data, at + 8);
    let same = select_unpredictable(
        difference == 0,
        64 + further.trailing_zeros(),
        difference.trailing_zeros(),
    );
    match (same / 8) as usize {
        16 => 16 + common(data, at - distance + 16, at + 16, LONGEST - 16),
        length => length,
    }
}

/// Returns how many bytes are the same at two places, `most` at most.
fn common(data: &[u8], earlier: usize, later: usize, most: usize) -> usize {
    let most = most.min(data.len() - later);
    let mut count = 0;
    while count + 8 <= most {
        let difference = eight(data, earlier + count) ^ eight(data, later + count);
        if difference != 0 {
            return count + (difference.trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    while count < most && data[earlier + count] == data[later + count] {
        count += 1;
    }
    count
}

const LENGTH_SYMBOLS: [u16; LONGEST + 1] = {
    let mut table = [0u16; LONGEST + 1];
    let mut length = 3;
    while length <= LONGEST {
        table[length] = length_symbol(length).0 as u16;
        length += 1;
    }
    table
};

/// Returns symbol, number of extra bits, and those.
const fn length_symbol(length: usize) -> (usize, u32, u32) {
    let rest = (length - 3) as u32;
    if length == LONGEST {
        return (285, 0, 0);
    }
    if rest < 8 {
        return (257 + rest as usize, 0, 0);
    }
    let bits = rest.ilog2() - 2;
    (
        257 + (4 * bits + (rest >> bits)) as usize,
        bits,
        rest & ((1 << bits) - 1),
    )
}

fn distance_symbol(distance: usize) -> (usize, u32, u32) {
    let rest = (distance - 1) as u32;
    if rest < 4 {
        return (rest as usize, 0, 0);
    }
    let bits = rest.ilog2() - 1;
    ((2 * bits + (rest >> bits)) as usize, bits, rest & ((1 << bits) - 1))
}

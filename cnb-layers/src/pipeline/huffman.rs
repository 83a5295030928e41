//! Prefix codes of deflate.
#![allow(clippy::cast_possible_truncation, reason = "symbols and widths are small")]

use super::bits::Bits;

/// A prefix code: for each symbol its bits, lowest first, and above them (from bit 16 on) how many they are.
pub(super) struct Code {
    entries: Vec<u32>,
}

impl Code {
    /// Makes the best code for symbols that occur so often, with at most `limit` bits for each.
    pub(super) fn of(counts: &[u32], limit: u32) -> Self {
        Self::with_widths(&widths(counts, limit))
    }

    pub(super) fn with_widths(widths: &[u8]) -> Self {
        let mut number = [0u32; 16];
        for width in widths {
            number[usize::from(*width)] += 1;
        }
        number[0] = 0;
        let mut next = [0u32; 16];
        for width in 1..16 {
            next[width] = (next[width - 1] + number[width - 1]) << 1;
        }
        let entry = |width: &u8| {
            let code = next[usize::from(*width)];
            next[usize::from(*width)] += 1;
            if *width == 0 {
                0
            } else {
                reversed(code, u32::from(*width)) | u32::from(*width) << 16
            }
        };
        Self {
            entries: widths.iter().map(entry).collect(),
        }
    }

    pub(super) fn entries(&self) -> &[u32] {
        &self.entries
    }

    /// Returns the bits of a symbol and how many they are.
    pub(super) fn get(&self, symbol: usize) -> (u32, u32) {
        let entry = self.entries[symbol];
        (entry & 0xffff, entry >> 16)
    }

    /// Returns how many bits the symbols need together.
    pub(super) fn cost(&self, counts: &[u32]) -> u64 {
        let bits = self.entries.iter().zip(counts);
        bits.map(|(entry, count)| u64::from(entry >> 16) * u64::from(*count))
            .sum()
    }

    fn width(&self, symbol: usize) -> u8 {
        (self.entries[symbol] >> 16) as u8
    }
}

/// Returns the lowest `width` bits in reverse.
fn reversed(code: u32, width: u32) -> u32 {
    if width == 0 {
        0
    } else {
        code.reverse_bits() >> (32 - width)
    }
}

/// Returns how many bits each symbol gets; none where it does not occur.
fn widths(counts: &[u32], limit: u32) -> Vec<u8> {
    let mut widths = vec![0u8; counts.len()];
    // Sorted by how often they occur: that in the upper half of a number, the symbol in the lower.
    let occurring = counts.iter().zip(0u64..).filter(|(count, _)| **count > 0);
    let mut leaves: Vec<u64> = occurring
        .map(|(count, symbol)| u64::from(*count) << 32 | symbol)
        .collect();
    leaves.sort_unstable();
    if leaves.len() < 2 {
        for leaf in leaves {
            widths[leaf as u32 as usize] = 1;
        }
        return widths;
    }
    let mut number = depths(&leaves, limit);
    // Shorten what is too long by making others longer, until the code fits.
    let limit = limit as usize;
    let mut used: u64 = (1..=limit)
        .map(|width| u64::from(number[width]) << (limit - width))
        .sum();
    while used > 1 << limit {
        number[limit] -= 1;
        if let Some(width) = (1..limit).rev().find(|width| number[*width] > 0) {
            number[width] -= 1;
            number[width + 1] += 2;
        }
        used -= 1;
    }
    // The least frequent symbols come first and get the longest codes.
    let mut leaves = leaves.into_iter();
    for width in (1..=limit).rev() {
        for leaf in leaves.by_ref().take(number[width] as usize) {
            widths[leaf as u32 as usize] = width as u8;
        }
    }
    widths
}

/// Builds the tree of Huffman and returns how many leaves are how deep; deeper ones count as `limit`.
fn depths(leaves: &[u64], limit: u32) -> [u32; 16] {
    let count = leaves.len();
    // Nodes in the order in which they are made, which is that of their weights; leaves first.
    let mut weights: Vec<u64> = leaves.iter().map(|leaf| leaf >> 32).collect();
    let mut parents = vec![0usize; 2 * count - 1];
    let (mut leaf, mut node) = (0, count);
    for made in count..2 * count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let take_leaf = leaf < count && (node >= made || weights[leaf] <= weights[node]);
            let least = if take_leaf { &mut leaf } else { &mut node };
            weight += weights[*least];
            parents[*least] = made;
            *least += 1;
        }
        weights.push(weight);
    }
    let mut depth = vec![0u32; 2 * count - 1];
    let mut number = [0; 16];
    for node in (0..2 * count - 2).rev() {
        depth[node] = depth[parents[node]] + 1;
        if node < count {
            number[depth[node].min(limit) as usize] += 1;
        }
    }
    number
}

/// The order in which a block's header lists the widths of the codes of widths.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// How a block tells its two codes.
pub(super) struct Description {
    symbols: usize,
    distances: usize,
    /// Symbol, extra bits, how many.
    items: Vec<(u8, u8, u8)>,
    code: Code,
    listed: usize,
    bits: u64,
}

impl Description {
    pub(super) fn of(symbols: &Code, distances: &Code) -> Self {
        let used = |code: &Code, least: usize| {
            let last = (0..code.entries.len()).rev().find(|symbol| code.width(*symbol) > 0);
            last.map_or(least, |last| (last + 1).max(least))
        };
        let (symbol_count, distance_count) = (used(symbols, 257), used(distances, 1));
        let widths: Vec<u8> = (0..symbol_count)
            .map(|symbol| symbols.width(symbol))
            .chain((0..distance_count).map(|symbol| distances.width(symbol)))
            .collect();
        let items = items(&widths);
        let mut counts = [0u32; 19];
        for (symbol, _, _) in &items {
            counts[usize::from(*symbol)] += 1;
        }
        let code = Code::of(&counts, 7);
        let listed = (4..=19)
            .rev()
            .find(|count| code.width(ORDER[count - 1]) > 0)
            .unwrap_or(4);
        let extra: u64 = items.iter().map(|(_, _, bits)| u64::from(*bits)).sum();
        let bits = 14 + 3 * listed as u64 + code.cost(&counts) + extra;
        Self {
            symbols: symbol_count,
            distances: distance_count,
            items,
            code,
            listed,
            bits,
        }
    }

    pub(super) fn bits(&self) -> u64 {
        self.bits
    }

    pub(super) fn write(&self, out: &mut Bits) {
        out.put(self.symbols as u32 - 257, 5);
        out.put(self.distances as u32 - 1, 5);
        out.put(self.listed as u32 - 4, 4);
        out.flush();
        for symbol in &ORDER[..self.listed] {
            out.put(u32::from(self.code.width(*symbol)), 3);
            out.flush();
        }
        for (symbol, extra, bits) in &self.items {
            let (code, width) = self.code.get(usize::from(*symbol));
            out.put(code, width);
            out.put(u32::from(*extra), u32::from(*bits));
            out.flush();
        }
    }
}

/// Shortens runs of equal widths.
fn items(widths: &[u8]) -> Vec<(u8, u8, u8)> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < widths.len() {
        let width = widths[at];
        let mut run = widths[at..].iter().take_while(|other| **other == width).count();
        at += run;
        if width == 0 {
            while run >= 11 {
                let part = run.min(138);
                items.push((18, (part - 11) as u8, 7));
                run -= part;
            }
            if run >= 3 {
                items.push((17, (run - 3) as u8, 3));
                run = 0;
            }
        } else {
            items.push((width, 0, 0));
            run -= 1;
            while run >= 3 {
                let part = run.min(6);
                items.push((16, (part - 3) as u8, 2));
                run -= part;
            }
        }
        items.extend((0..run).map(|_| (width, 0, 0)));
    }
    items
}

/// Returns the codes that need no description.
pub(super) fn fixed() -> (Code, Code) {
    let widths: Vec<u8> = (0..288)
        .map(|symbol| match symbol {
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        })
        .collect();
    (Code::with_widths(&widths), Code::with_widths(&[5; 30]))
}

//! The data sets: files that shrink, files that do not, and both.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// A data set; sizes are those at full scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// One random file of 200 MB.
    Random,
    /// One text file of 200 MB.
    Text,
    /// 20,000 small text files and five half-random ones of 20 MB, 170 MB together.
    Mix,
    /// Ten layers, each with a half-random file of 30 MB.
    Ten,
}

pub(crate) const ALL: [Set; 4] = [Set::Random, Set::Text, Set::Mix, Set::Ten];

const MB: usize = 1_000_000;
/// Half-random content changes between random and text after this many bytes.
const PIECE: usize = 64 * 1024;

impl Set {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Text => "text",
            Self::Mix => "mix",
            Self::Ten => "ten",
        }
    }

    pub(crate) fn of_name(name: &str) -> Self {
        *ALL.iter().find(|set| set.name() == name).expect("a data set")
    }

    pub(crate) fn layers(self) -> usize {
        if self == Self::Ten { 10 } else { 1 }
    }

    /// Writes the content of layer `number` into `dir`.
    pub(crate) fn write(self, number: usize, dir: &Path, shrink: usize) {
        fs::create_dir_all(dir).expect("there is room");
        let mut source = Source::new(number as u64 + 1);
        match self {
            Self::Random => source.file(&dir.join("data"), 200 * MB / shrink, Kind::Random),
            Self::Text => source.file(&dir.join("data"), 200 * MB / shrink, Kind::Text),
            Self::Ten => source.file(&dir.join("data"), 30 * MB / shrink, Kind::Half),
            Self::Mix => {
                for number in 0..20_000 / shrink {
                    let dir = dir.join(format!("pkg{:03}", number / 100));
                    if number % 100 == 0 {
                        fs::create_dir_all(&dir).expect("there is room");
                    }
                    // 3,500 bytes on average, 500 to 6,500.
                    let size = 500 + source.next() % 6001;
                    let size = usize::try_from(size).expect("it is small");
                    source.file(&dir.join(format!("module_{number}.txt")), size, Kind::Text);
                }
                for number in 0..5 {
                    source.file(&dir.join(format!("lib{number}.so")), 20 * MB / shrink, Kind::Half);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Random,
    Text,
    Half,
}

/// Makes the same bytes in each run.
struct Source {
    state: u64,
    words: Vec<Vec<u8>>,
}

impl Source {
    fn new(seed: u64) -> Self {
        let mut source = Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            words: Vec::new(),
        };
        for _ in 0..8192 {
            let length = 2 + source.next() % 9;
            let letters = (0..length).map(|_| b'a' + u8::try_from(source.next() % 26).expect("a letter"));
            let word: Vec<u8> = letters.collect();
            source.words.push(word);
        }
        source
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn file(&mut self, path: &Path, size: usize, kind: Kind) {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path).expect("there is room"));
        let mut piece = Vec::with_capacity(PIECE + 64);
        let (mut left, mut number) = (size, 0);
        while left > 0 {
            piece.clear();
            match kind {
                Kind::Random => self.random(&mut piece),
                Kind::Half if number % 2 == 0 => self.random(&mut piece),
                Kind::Text | Kind::Half => self.text(&mut piece),
            }
            let count = left.min(PIECE);
            out.write_all(&piece[..count]).expect("there is room");
            left -= count;
            number += 1;
        }
        out.flush().expect("there is room");
    }

    fn random(&mut self, piece: &mut Vec<u8>) {
        while piece.len() < PIECE {
            piece.extend_from_slice(&self.next().to_le_bytes()[..4]);
        }
    }

    /// Lines of words, few of them often: about as redundant as source code.
    fn text(&mut self, piece: &mut Vec<u8>) {
        while piece.len() < PIECE {
            let (pick, range) = (self.next(), self.next() % 100);
            let among = match range {
                0..60 => 48,
                60..90 => 512,
                _ => 8192,
            };
            let word = &self.words[usize::try_from(pick % among).expect("it is small")];
            piece.extend_from_slice(word);
            piece.push(if (pick >> 20).is_multiple_of(8) { b'\n' } else { b' ' });
            if (pick >> 24).is_multiple_of(16) {
                piece.extend_from_slice(b"    return self.value(");
            }
        }
    }
}

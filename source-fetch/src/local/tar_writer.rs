//! Entries of a layer as the reference writes them: ustar, and PAX records where that can't hold a value.

use std::io::{self, Read, Write};

/// One entry of a layer.
pub(super) struct Entry {
    /// Begins with a slash.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
}

pub(super) enum Kind {
    Directory,
    /// A file of so many bytes.
    File(u64),
    /// A link, with where it leads.
    Link(Vec<u8>),
}

/// 1980-01-01T00:00:01Z, as seconds since the Unix epoch.
const TIME: u64 = 315_532_801;
const BLOCK: usize = 512;
/// What fits into the field of a size: eleven octal digits.
const MAX_SIZE: u64 = 0o777_7777_7777;

const NAME: std::ops::Range<usize> = 0..100;
const LINK: std::ops::Range<usize> = 157..257;
const PREFIX: std::ops::Range<usize> = 345..500;

/// Writes the header of `entry`, and its content.
pub(super) fn write(out: &mut dyn Write, entry: &Entry, content: Option<&mut dyn Read>) -> Result<(), WriteError> {
    let (flag, size, link): (_, _, &[u8]) = match &entry.kind {
        Kind::Directory => (b'5', 0, b""),
        Kind::File(size) => (b'0', *size, b""),
        Kind::Link(target) => (b'2', 0, target),
    };
    let mut block = [0; BLOCK];
    let mut records = Vec::new();
    let plain = |text: &[u8], field: &std::ops::Range<usize>| text.len() <= field.len() && is_ascii(text);
    // In the order of their keys.
    if !plain(link, &LINK) {
        records.extend(record("linkpath", link));
    }
    let split = split(&entry.name);
    if !plain(&entry.name, &NAME) && (split.is_none() || !records.is_empty() || size > MAX_SIZE) {
        records.extend(record("path", &entry.name));
    }
    if size > MAX_SIZE {
        records.extend(record("size", size.to_string().as_bytes()));
    }
    if !records.is_empty() {
        let mut extension = [0; BLOCK];
        text(
            &mut extension[NAME],
            &trimmed(&ascii(&records_name(&entry.name)), NAME.len()),
        );
        finish(&mut extension, 0, records.len() as u64, 0, b'x');
        out.write_all(&extension).map_err(WriteError::Out)?;
        out.write_all(&records).map_err(WriteError::Out)?;
        pad(out, records.len() as u64)?;
        text(&mut block[NAME], &ascii(&entry.name));
        text(&mut block[LINK], &ascii(link));
    } else if let Some((prefix, name)) = split {
        text(&mut block[NAME], name);
        text(&mut block[PREFIX], prefix);
        text(&mut block[LINK], link);
    } else {
        text(&mut block[NAME], &entry.name);
        text(&mut block[LINK], link);
    }
    finish(
        &mut block,
        entry.mode,
        if size > MAX_SIZE { 0 } else { size },
        TIME,
        flag,
    );
    out.write_all(&block).map_err(WriteError::Out)?;
    let mut left = size;
    if let Some(content) = content {
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = match content.read(&mut buffer[..most]) {
                Ok(0) => return Err(WriteError::Content(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WriteError::Content(error)),
            };
            out.write_all(&buffer[..count]).map_err(WriteError::Out)?;
            left -= count as u64;
        }
    }
    pad(out, size)
}

/// Writes the end of the archive.
pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Why an entry could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The content is shorter than it was said to be, or can't be read.
    Content(io::Error),
    Out(io::Error),
}

fn pad(out: &mut dyn Write, size: u64) -> Result<(), WriteError> {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    let missing = (BLOCK - used) % BLOCK;
    out.write_all(&[0; BLOCK][..missing]).map_err(WriteError::Out)
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii() && *byte != 0)
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter()
        .copied()
        .filter(|byte| byte.is_ascii() && *byte != 0)
        .collect()
}

/// As much of the text as fits.
fn text(field: &mut [u8], text: &[u8]) {
    let count = text.len().min(field.len());
    field[..count].copy_from_slice(&text[..count]);
    // A regular file must not look like a directory because its name was cut behind a slash.
    if text.len() > field.len() && field.ends_with(b"/") {
        let end = trimmed(&text[..field.len()], field.len()).len();
        field[end] = 0;
    }
}

fn trimmed(text: &[u8], most: usize) -> Vec<u8> {
    let mut text = text[..text.len().min(most)].to_vec();
    while text.ends_with(b"/") {
        text.pop();
    }
    text
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let shown = format!("{value:0digits$o}");
    text(field, shown.as_bytes());
    field[digits] = 0;
}

/// The fields that all headers have, and the checksum.
fn finish(block: &mut [u8; BLOCK], mode: u32, size: u64, time: u64, flag: u8) {
    octal(&mut block[100..108], u64::from(mode));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], time);
    block[148..156].fill(b' ');
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    if flag != b'x' {
        octal(&mut block[329..337], 0);
        octal(&mut block[337..345], 0);
    }
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    block[155] = b' ';
}

/// `LENGTH KEY=VALUE` and a line break, the length being that of all of it.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// The name of the entry that holds the records of another.
fn records_name(name: &[u8]) -> Vec<u8> {
    let slash = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (dir, file) = name.split_at(slash);
    [dir, b"PaxHeaders.0/", file].concat()
}

/// A name that is too long for its field, as a prefix and a rest that fit.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME.len() || !is_ascii(name) {
        return None;
    }
    let most = name.len().min(PREFIX.len() + 1);
    let slash = name[..most].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (slash > 0 && !rest.is_empty() && rest.len() <= NAME.len()).then_some((prefix, rest))
}

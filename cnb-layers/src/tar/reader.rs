use std::collections::BTreeMap;
use std::io::{self, Read};

use super::encode::{
    BLOCK, CHECKSUM, FLAG, GID, GNU_ATIME, GNU_CTIME, GROUP, LINK, MAGIC, MAJOR, MAX_SPECIAL, MINOR, MODE, MTIME, NAME,
    PREFIX, SIZE, UID, USER,
};
use super::header::TarTime;
use super::{EntryKind, Format, Header};

/// Reads an archive, in the forms that Go's `archive/tar` reads: V7, USTAR, PAX, GNU, STAR.
///
/// After [`next`](Self::next) has returned an entry, the reader itself reads its content. Made for
/// hostile archives: names, records and their number are bounded, and every number is checked. Sparse
/// files are refused.
pub struct TarReader<R> {
    inner: R,
    /// Bytes of the present entry's content that were not read yet.
    left: u64,
    padding: u64,
    done: bool,
}

/// Why an archive cannot be read further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The archive could not be read, or ends in the middle of an entry.
    #[error("cannot read the tar archive")]
    Read(#[from] io::Error),
    /// A header is not one.
    #[error("the tar archive is damaged at entry {entry:?}: {problem}")]
    Damaged {
        /// The entry's name, as far as it is known.
        entry: String,
        /// What is wrong.
        problem: &'static str,
    },
}

type Block = [u8; BLOCK];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Magic {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl<R: Read> TarReader<R> {
    /// Starts reading.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            left: 0,
            padding: 0,
            done: false,
        }
    }

    /// Returns what is read from, positioned after what was read of the archive.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Passes over the rest of the present entry and returns the next one, or `None` at the end.
    ///
    /// # Errors
    /// When the archive is damaged, truncated, or cannot be read; then it is of no use any more.
    #[allow(
        clippy::should_implement_trait,
        reason = "the entry's content is read through the reader itself"
    )]
    pub fn next(&mut self) -> Result<Option<Header>, TarError> {
        let mut records = BTreeMap::new();
        let (mut long_name, mut long_link) = (None, None);
        let mut format = Format::ALL;
        loop {
            self.skip()?;
            let Some(mut header) = self.header()? else {
                return Ok(None);
            };
            format = format.only(header.format);
            match header.kind {
                EntryKind::Other(b'x') | EntryKind::PaxGlobal => {
                    format = format.only(Format::PAX);
                    let data = self.special(&header)?;
                    let parsed = parse_records(&data).ok_or_else(|| damaged(&header, "its records are not valid"))?;
                    if header.kind == EntryKind::PaxGlobal {
                        let mut named = header;
                        // As in Go, its own records may name it; if a number of them is wrong, it has none.
                        let records = merge(&mut named, parsed).map(|()| named.records).unwrap_or_default();
                        let mut global = Header::new(EntryKind::PaxGlobal, named.name);
                        (global.mtime, global.records, global.format) = (None, records, format);
                        return Ok(Some(global));
                    }
                    records = parsed;
                }
                EntryKind::Other(kind @ (b'L' | b'K')) => {
                    format = format.only(Format::GNU);
                    let text = until_nul(&self.special(&header)?).to_vec();
                    if kind == b'L' {
                        long_name = Some(text);
                    } else {
                        long_link = Some(text);
                    }
                }
                _ => {
                    merge(&mut header, records)?;
                    // An empty one counts as none, as in Go.
                    header.name = long_name.filter(|name| !name.is_empty()).unwrap_or(header.name);
                    header.link = long_link.filter(|link| !link.is_empty()).unwrap_or(header.link);
                    if header.kind == EntryKind::Other(0) {
                        let is_directory = header.name.ends_with(b"/");
                        header.kind = if is_directory {
                            EntryKind::Directory
                        } else {
                            EntryKind::File
                        };
                    }
                    let sparse_record = header.records.keys().any(|key| key.starts_with(b"GNU.sparse."));
                    if header.kind == EntryKind::Other(b'S') || sparse_record {
                        return Err(damaged(
                            &header,
                            "sparse files are not supported; archive it without --sparse",
                        ));
                    }
                    self.expect_content(&header)?;
                    if format.has(Format::USTAR) && format.has(Format::PAX) {
                        format = format.only(Format::USTAR);
                    }
                    header.format = format;
                    return Ok(Some(header));
                }
            }
        }
    }

    fn expect_content(&mut self, header: &Header) -> Result<(), TarError> {
        let size = if header.kind.is_header_only() { 0 } else { header.size };
        self.left = u64::try_from(size).map_err(|_| damaged(header, "its size is negative"))?;
        self.padding = self.left.next_multiple_of(BLOCK as u64) - self.left;
        Ok(())
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let rest = self.left.checked_add(self.padding).ok_or_else(too_short)?;
        let passed = io::copy(&mut self.inner.by_ref().take(rest), &mut io::sink())?;
        // The padding of the last entry may be missing when the archive has no end marker.
        if passed < self.left {
            return Err(too_short().into());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads a block; `None` at a clean end of the stream.
    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(too_short().into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(block))
    }

    fn header(&mut self) -> Result<Option<Header>, TarError> {
        if self.done {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            self.done = true;
            return Ok(None);
        };
        if block == [0; BLOCK] {
            self.done = true;
            return match self.block()? {
                Some(second) if second != [0; BLOCK] => Err(TarError::Damaged {
                    entry: String::new(),
                    problem: "an empty block in the middle is followed by something else",
                }),
                _ => Ok(None),
            };
        }
        let name = String::from_utf8_lossy(until_nul(&block[NAME])).into_owned();
        let fail = |problem| TarError::Damaged {
            entry: name.clone(),
            problem,
        };
        let magic = magic(&block).ok_or_else(|| fail("its checksum is wrong"))?;
        let header = parse(&block, magic).ok_or_else(|| fail("a number in its header is not valid"))?;
        self.expect_content(&header)?;
        Ok(Some(header))
    }

    fn special(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        if self.left > MAX_SPECIAL as u64 {
            return Err(damaged(header, "its names and records are longer than 1 MiB"));
        }
        let mut data = Vec::new();
        self.read_to_end(&mut data)?;
        Ok(data)
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(too_short());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn too_short() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the tar archive ends in the middle of an entry",
    )
}

fn damaged(header: &Header, problem: &'static str) -> TarError {
    TarError::Damaged {
        entry: String::from_utf8_lossy(&header.name).chars().take(500).collect(),
        problem,
    }
}

/// Returns the form of a header block, or `None` when its checksum is wrong.
fn magic(block: &Block) -> Option<Magic> {
    let sums = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
    let (unsigned, signed) = sums.fold((0i64, 0i64), |(unsigned, signed), byte| {
        (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
    });
    let stated = parse_octal(&block[CHECKSUM])?;
    if stated != unsigned && stated != signed {
        return None;
    }
    Some(match &block[MAGIC] {
        [b'u', b's', b't', b'a', b'r', 0, ..] if &block[508..] == b"tar\0" => Magic::Star,
        [b'u', b's', b't', b'a', b'r', 0, ..] => Magic::Ustar,
        b"ustar  \0" => Magic::Gnu,
        _ => Magic::V7,
    })
}

fn parse(block: &Block, magic: Magic) -> Option<Header> {
    let mut header = Header::new(EntryKind::from_flag(block[FLAG]), until_nul(&block[NAME]));
    header.link = until_nul(&block[LINK]).to_vec();
    header.mode = parse_number(&block[MODE])?;
    header.uid = parse_number(&block[UID])?;
    header.gid = parse_number(&block[GID])?;
    header.size = parse_number(&block[SIZE])?;
    header.mtime = Some((parse_number(&block[MTIME])?, 0));
    header.format = Format::ANY;
    if magic == Magic::V7 {
        return Some(header);
    }
    header.user = until_nul(&block[USER]).to_vec();
    header.group = until_nul(&block[GROUP]).to_vec();
    header.device = (parse_number(&block[MAJOR])?, parse_number(&block[MINOR])?);
    let prefix: &[u8] = match magic {
        Magic::V7 => b"",
        Magic::Ustar => {
            // Readers accept more than the form permits; what it does not permit is of unknown form.
            let proper = block.iter().all(|byte| *byte < 0x80)
                && [SIZE, MTIME, MODE, UID, GID, MAJOR, MINOR]
                    .into_iter()
                    .all(|field| block[field.end - 1] == 0);
            header.format = if proper {
                Format::USTAR.or(Format::PAX)
            } else {
                Format::ANY
            };
            until_nul(&block[PREFIX])
        }
        Magic::Star => {
            header.atime = Some((parse_number(&block[476..488])?, 0));
            header.ctime = Some((parse_number(&block[488..500])?, 0));
            until_nul(&block[345..476])
        }
        Magic::Gnu => {
            let time = |field: &[u8]| match field[0] {
                0 => Some(None),
                _ => parse_number(field).map(|seconds| Some((seconds, 0))),
            };
            if let (Some(atime), Some(ctime)) = (time(&block[GNU_ATIME]), time(&block[GNU_CTIME])) {
                (header.atime, header.ctime, header.format) = (atime, ctime, Format::GNU);
                b""
            } else {
                let prefix = until_nul(&block[PREFIX]);
                if prefix.is_ascii() { prefix } else { b"" }
            }
        }
    };
    if !prefix.is_empty() {
        header.name = [prefix, b"/", &header.name].concat();
    }
    Some(header)
}

/// Lets records overrule the header's fields.
fn merge(header: &mut Header, records: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), TarError> {
    for (key, value) in &records {
        // An empty value means that the header's own value counts.
        if value.is_empty() {
            continue;
        }
        let valid = match key.as_slice() {
            b"path" => set(&mut header.name, Some(value.clone())),
            b"linkpath" => set(&mut header.link, Some(value.clone())),
            b"uname" => set(&mut header.user, Some(value.clone())),
            b"gname" => set(&mut header.group, Some(value.clone())),
            b"uid" => set(&mut header.uid, parse_decimal(value)),
            b"gid" => set(&mut header.gid, parse_decimal(value)),
            b"size" => set(&mut header.size, parse_decimal(value)),
            b"mtime" => set(&mut header.mtime, parse_time(value).map(Some)),
            b"atime" => set(&mut header.atime, parse_time(value).map(Some)),
            b"ctime" => set(&mut header.ctime, parse_time(value).map(Some)),
            _ => true,
        };
        if !valid {
            return Err(damaged(header, "a number in its records is not valid"));
        }
    }
    header.records = records;
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>) -> bool {
    value.map(|value| *field = value).is_some()
}

fn parse_records(mut data: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ')?;
        let digits = &data[..space];
        let length = usize::try_from(parse_decimal(digits).filter(|_| digits.iter().all(u8::is_ascii_digit))?).ok()?;
        if length < 5 || length > data.len() || length <= space + 1 {
            return None;
        }
        let (record, rest) = data.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
        if key.is_empty() || (text && value.contains(&0)) || (!text && key.contains(&0)) {
            return None;
        }
        records.insert(key.to_vec(), value.to_vec());
        data = rest;
    }
    Some(records)
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Reads octal digits, or two's complement when the top bit is set.
fn parse_number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 {
        return parse_octal(field);
    }
    let negative = field[0] & 0x40 != 0;
    let invert = if negative { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (at, byte) in field.iter().enumerate() {
        let byte = if at == 0 { (byte ^ invert) & 0x7f } else { byte ^ invert };
        if value >> 56 > 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let trim = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !trim(byte));
    let Some(start) = start else { return Some(0) };
    let end = field.iter().rposition(|byte| !trim(byte)).map_or(start, |at| at + 1);
    until_nul(&field[start..end])
        .iter()
        .try_fold(0i64, |value, digit| match digit {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
}

fn parse_decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads seconds with an optional fraction; what is finer than a nanosecond is cut off.
fn parse_time(text: &[u8]) -> Option<TarTime> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    if nanos > 0 && whole.starts_with('-') {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

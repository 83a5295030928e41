//! From a header to its blocks.

use std::collections::BTreeMap;
use std::ops::Range;

use cnb_order::go_clean;

use super::header::TarTime;
use super::{EntryKind, Format, Header, InvalidHeader};

pub(super) const BLOCK: usize = 512;
/// Records and long names may be this large, in bytes.
pub(super) const MAX_SPECIAL: usize = 1 << 20;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const FLAG: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const USER: Range<usize> = 265..297;
pub(super) const GROUP: Range<usize> = 297..329;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
pub(super) const GNU_ATIME: Range<usize> = 345..357;
pub(super) const GNU_CTIME: Range<usize> = 357..369;

/// Record names that stand for fields of the header.
const FIELD_RECORDS: [&[u8]; 10] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"uname",
    b"gname",
    b"mtime",
    b"atime",
    b"ctime",
];

type Block = [u8; BLOCK];
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Appends the blocks of an entry's header: extension entries and the header itself.
pub(super) fn header(header: &Header, out: &mut Vec<u8>) -> Result<(), InvalidHeader> {
    let whole = header.mtime.is_none_or(|(_, nanos)| nanos == 0) && header.atime.is_none() && header.ctime.is_none();
    if header.format == Format::ANY && !whole {
        // Without a wish for a form, times have whole seconds and there is only one of them.
        let mut rounded = header.clone();
        rounded.mtime = header
            .mtime
            .map(|(seconds, nanos)| (seconds + i64::from(nanos >= 500_000_000), 0));
        (rounded.atime, rounded.ctime) = (None, None);
        return self::header(&rounded, out);
    }
    let (format, records) = possible_formats(header)?;
    if format.has(Format::USTAR) {
        ustar(header, out);
        Ok(())
    } else if format.has(Format::PAX) {
        pax(header, &records, out)
    } else {
        gnu(header, out);
        Ok(())
    }
}

struct Wishes<'a> {
    header: &'a Header,
    format: Format,
    records: Records,
    prefers_pax: bool,
}

impl Wishes<'_> {
    fn forbid(&mut self, format: Format) {
        self.format = self.format.without(format);
    }

    fn keep_given(&mut self, key: &[u8], value: &[u8]) {
        if self.header.records.get(key).is_some_and(|given| given == value) {
            self.records.insert(key.to_vec(), value.to_vec());
        }
    }

    fn text(&mut self, text: &[u8], limit: usize, key: &'static [u8]) {
        let too_long = text.len() > limit;
        let is_path = key == b"path";
        if text.contains(&0) || (too_long && !is_path && key != b"linkpath") {
            self.forbid(Format::GNU);
        }
        if too_long || !is_ascii(text) {
            if !is_path || split(text).is_none() {
                self.forbid(Format::USTAR);
            }
            self.records.insert(key.to_vec(), text.to_vec());
        }
        self.keep_given(key, text);
    }

    fn number(&mut self, number: i64, width: usize, key: Option<&'static [u8]>) {
        if !fits_binary(width, number) {
            self.forbid(Format::GNU);
        }
        let text = number.to_string().into_bytes();
        if !fits_octal(width, number) {
            self.forbid(Format::USTAR);
            match key {
                None => self.forbid(Format::PAX),
                Some(key) => drop(self.records.insert(key.to_vec(), text.clone())),
            }
        }
        if let Some(key) = key {
            self.keep_given(key, &text);
        }
    }

    fn time(&mut self, time: Option<TarTime>, width: usize, key: &'static [u8]) {
        let Some((seconds, nanos)) = time else { return };
        if !fits_binary(width, seconds) {
            self.forbid(Format::GNU);
        }
        let is_mtime = key == b"mtime";
        let fits = fits_octal(width, seconds);
        if !is_mtime || !fits {
            self.forbid(Format::USTAR);
        }
        let text = time_record(seconds, nanos);
        if !is_mtime || !fits || nanos != 0 {
            self.prefers_pax = true;
            self.records.insert(key.to_vec(), text.clone());
        }
        self.keep_given(key, &text);
    }
}

/// Returns the forms that can express the entry, and the records of its PAX form.
fn possible_formats(header: &Header) -> Result<(Format, Records), InvalidHeader> {
    let refuse = |problem| InvalidHeader {
        name: String::from_utf8_lossy(&header.name).into_owned(),
        problem,
    };
    let mut wishes = Wishes {
        header,
        format: Format::ALL,
        records: BTreeMap::new(),
        prefers_pax: false,
    };
    wishes.text(&header.name, NAME.len(), b"path");
    wishes.text(&header.link, LINK.len(), b"linkpath");
    wishes.text(&header.user, USER.len(), b"uname");
    wishes.text(&header.group, GROUP.len(), b"gname");
    wishes.number(header.mode, MODE.len(), None);
    wishes.number(header.uid, UID.len(), Some(b"uid"));
    wishes.number(header.gid, GID.len(), Some(b"gid"));
    wishes.number(header.size, SIZE.len(), Some(b"size"));
    wishes.number(header.device.0, MAJOR.len(), None);
    wishes.number(header.device.1, MINOR.len(), None);
    wishes.time(header.mtime, MTIME.len(), b"mtime");
    wishes.time(header.atime, GNU_ATIME.len(), b"atime");
    wishes.time(header.ctime, GNU_CTIME.len(), b"ctime");
    let Wishes {
        mut format,
        mut records,
        prefers_pax,
        ..
    } = wishes;

    check_kind(header).map_err(refuse)?;
    if header.kind == EntryKind::PaxGlobal {
        format = format.only(Format::PAX);
    }
    if !header.records.is_empty() {
        for (key, value) in &header.records {
            let local = !FIELD_RECORDS.contains(&key.as_slice()) && !key.starts_with(b"GNU.sparse.");
            if header.kind == EntryKind::PaxGlobal || local {
                records.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        format = format.only(Format::PAX);
    }
    if records.iter().any(|(key, value)| !is_valid_record(key, value)) {
        return Err(refuse(
            "a name or a record holds a NUL byte, or a record's name is not valid",
        ));
    }
    if header.format != Format::ANY {
        let mut wanted = header.format;
        if wanted.has(Format::PAX) && !prefers_pax {
            wanted = wanted.or(Format::USTAR);
        }
        format = format.only(wanted);
    }
    if format == Format::ANY {
        return Err(refuse("no form of tar can express its fields"));
    }
    Ok((format, records))
}

/// Refuses what an entry of its kind cannot have.
fn check_kind(header: &Header) -> Result<(), &'static str> {
    match header.kind {
        EntryKind::File | EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo | EntryKind::Other(b'S')
            if header.name.ends_with(b"/") =>
        {
            return Err("only a directory's name may end with a slash");
        }
        EntryKind::Other(b'x' | b'L' | b'K') => return Err("it is an extension of another entry"),
        EntryKind::PaxGlobal => {
            let bare = header.link.is_empty()
                && header.mode == 0
                && header.uid == 0
                && header.gid == 0
                && header.size == 0
                && header.mtime.is_none()
                && header.device == (0, 0);
            if !bare {
                return Err("a global entry can have records only");
            }
        }
        _ => {}
    }
    if !header.kind.is_header_only() && header.size < 0 {
        return Err("its size is negative");
    }
    Ok(())
}

fn ustar(header: &Header, out: &mut Vec<u8>) {
    let (prefix, name) = split(&header.name).unwrap_or((b"", &header.name));
    let mut block = main_block(header, [name, &header.link, &header.user, &header.group], octal);
    put_text(&mut block[PREFIX], prefix);
    finish(block, *b"ustar\x0000", out);
}

fn pax(header: &Header, records: &Records, out: &mut Vec<u8>) -> Result<(), InvalidHeader> {
    let is_global = header.kind == EntryKind::PaxGlobal;
    if !records.is_empty() || is_global {
        let mut data = Vec::new();
        for (key, value) in records {
            record(key, value, &mut data);
        }
        if data.len() > MAX_SPECIAL {
            return Err(InvalidHeader {
                name: String::from_utf8_lossy(&header.name).chars().take(200).collect(),
                problem: "its names and records are longer than 1 MiB together",
            });
        }
        let (name, flag) = match (is_global, header.name.as_slice()) {
            (true, b"") => (b"GlobalHead.0.0".to_vec(), b'g'),
            (true, name) => (name.to_vec(), b'g'),
            (false, name) => (extension_name(name), b'x'),
        };
        special(&name, &data, flag, *b"ustar\x0000", out);
        if is_global {
            return Ok(());
        }
    }
    let texts = [&header.name, &header.link, &header.user, &header.group].map(|text| only_ascii(text));
    let block = main_block(header, texts.each_ref().map(Vec::as_slice), octal);
    finish(block, *b"ustar\x0000", out);
    Ok(())
}

fn gnu(header: &Header, out: &mut Vec<u8>) {
    for (text, flag) in [(&header.name, b'L'), (&header.link, b'K')] {
        if text.len() > NAME.len() {
            let mut data = text.clone();
            data.push(0);
            special(b"././@LongLink", &data, flag, *b"ustar  \0", out);
        }
    }
    let texts = [&header.name, &header.link, &header.user, &header.group];
    let mut block = main_block(header, texts.map(Vec::as_slice), binary);
    if let Some((seconds, _)) = header.atime {
        binary(&mut block[GNU_ATIME], seconds);
    }
    if let Some((seconds, _)) = header.ctime {
        binary(&mut block[GNU_CTIME], seconds);
    }
    finish(block, *b"ustar  \0", out);
}

/// Returns the block with name, link, user and group as `texts`.
fn main_block(header: &Header, texts: [&[u8]; 4], number: fn(&mut [u8], i64)) -> Block {
    let mut block = [0; BLOCK];
    block[FLAG] = header.kind.flag();
    for (field, text) in [NAME, LINK, USER, GROUP].into_iter().zip(texts) {
        put_text(&mut block[field], text);
    }
    number(&mut block[MODE], header.mode);
    number(&mut block[UID], header.uid);
    number(&mut block[GID], header.gid);
    number(&mut block[SIZE], header.size);
    number(&mut block[MTIME], header.mtime.map_or(0, |(seconds, _)| seconds));
    number(&mut block[MAJOR], header.device.0);
    number(&mut block[MINOR], header.device.1);
    block
}

/// Appends an extension entry: its header, its data, padding.
fn special(name: &[u8], data: &[u8], flag: u8, magic: [u8; 8], out: &mut Vec<u8>) {
    let mut block = [0; BLOCK];
    let mut name = only_ascii(name);
    name.truncate(NAME.len());
    put_text(&mut block[NAME], trim_slashes(&name));
    for field in [MODE, UID, GID] {
        octal(&mut block[field], 0);
    }
    octal(&mut block[SIZE], i64::try_from(data.len()).unwrap_or(i64::MAX));
    octal(&mut block[MTIME], 0);
    block[FLAG] = flag;
    finish(block, magic, out);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn finish(mut block: Block, magic: [u8; 8], out: &mut Vec<u8>) {
    block[MAGIC].copy_from_slice(&magic);
    block[CHECKSUM].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    octal(&mut block[CHECKSUM.start..CHECKSUM.end - 1], i64::from(sum));
    block[CHECKSUM.end - 1] = b' ';
    out.extend_from_slice(&block);
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    // Some readers take a cut name that ends in a slash for a directory.
    if text.len() > field.len() && field[field.len() - 1] == b'/' {
        let end = trim_slashes(&text[..field.len() - 1]).len();
        field[end] = 0;
    }
}

/// Writes digits with leading zeros and a final NUL; zero when the number does not fit.
fn octal(field: &mut [u8], number: i64) {
    let number = if fits_octal(field.len(), number) { number } else { 0 };
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}");
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
}

/// Writes octal digits if they fit, else two's complement with the top bit set.
fn binary(field: &mut [u8], number: i64) {
    if fits_octal(field.len(), number) || !fits_binary(field.len(), number) {
        return octal(field, number);
    }
    let mut rest = number;
    for byte in field.iter_mut().rev() {
        *byte = rest.to_le_bytes()[0];
        rest >>= 8;
    }
    field[0] |= 0x80;
}

fn fits_octal(width: usize, number: i64) -> bool {
    let bits = (width - 1) * 3;
    number >= 0 && (width >= 22 || number < 1 << bits)
}

fn fits_binary(width: usize, number: i64) -> bool {
    let bits = (width - 1) * 8;
    width >= 9 || (number >= -1 << bits && number < 1 << bits)
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|byte| (1..0x80).contains(byte))
}

fn only_ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| (1..0x80).contains(byte)).collect()
}

fn trim_slashes(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    &text[..end]
}

/// Splits a long name at a slash into prefix and name field, if that is possible.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let limit = PREFIX.len() + 1;
    if name.len() <= NAME.len() || !is_ascii(name) {
        return None;
    }
    let considered = match name.len() {
        length if length > limit => limit,
        length if name.ends_with(b"/") => length - 1,
        length => length,
    };
    let at = name[..considered].iter().rposition(|byte| *byte == b'/')?;
    let rest = name.len() - at - 1;
    (at > 0 && at <= PREFIX.len() && rest > 0 && rest <= NAME.len()).then(|| (&name[..at], &name[at + 1..]))
}

/// Returns the name of an entry's extension header: `PaxHeaders.0` put before the last element, cleaned.
fn extension_name(name: &[u8]) -> Vec<u8> {
    let after = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (dir, base) = name.split_at(after);
    let mut path = Vec::new();
    for part in [dir, b"PaxHeaders.0", base] {
        if !part.is_empty() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
    }
    go_clean(&path)
}

fn is_valid_record(key: &[u8], value: &[u8]) -> bool {
    if key.is_empty() || key.contains(&b'=') {
        return false;
    }
    match key {
        b"path" | b"linkpath" | b"uname" | b"gname" => !value.contains(&0),
        _ => !key.contains(&0),
    }
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let guess = rest + decimal_digits(rest);
    let length = rest + decimal_digits(guess);
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes a time as a decimal number without trailing zeros.
fn time_record(seconds: i64, nanos: u32) -> Vec<u8> {
    if nanos == 0 {
        return seconds.to_string().into_bytes();
    }
    let (sign, whole, part) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos)
    } else {
        ("", seconds.unsigned_abs(), nanos)
    };
    format!("{sign}{whole}.{part:09}")
        .trim_end_matches('0')
        .as_bytes()
        .to_vec()
}

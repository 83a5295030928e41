//! Tar archives: ustar, GNU and PAX, of whose entries only directories and regular files count.

use std::io::{self, Read};

use super::{ArchiveError, entry_name};
use crate::beneath::Beneath;

/// Bytes of one long name or one set of PAX records: far more than any file system takes.
const MAX_EXTENSION: u64 = 1 << 20;
const BLOCK: u64 = 512;

/// What extension entries say about the entry behind them.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Tells whether `start` begins with a tar header: one whose checksum is right.
pub(super) fn is_header(start: &[u8]) -> bool {
    start
        .first_chunk::<512>()
        .is_some_and(|block| block.iter().any(|byte| *byte != 0) && checksum_is_right(block))
}

pub(super) fn unpack(reader: &mut dyn Read, into: &mut Beneath<'_>, strip: u32) -> Result<(), ArchiveError> {
    let mut extensions = Extensions::default();
    while let Some(block) = next_header(reader)? {
        let header = tar::Header::from_byte_slice(&block);
        let kind = header.entry_type().as_byte();
        let damaged = |_| ArchiveError::Damaged {
            problem: "a header holds no valid size",
        };
        let mut size = header.entry_size().map_err(damaged)?;
        match kind {
            b'L' | b'x' => {
                let data = read_extension(reader, size)?;
                if kind == b'L' {
                    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
                    extensions.name = Some(data[..end].to_vec());
                } else {
                    read_records(&data, &mut extensions)?;
                }
                continue;
            }
            // Long link targets and records for the whole archive: links are left out, and nothing global counts here.
            b'K' | b'g' => {
                read_extension(reader, size)?;
                continue;
            }
            _ => {}
        }
        let Extensions { name, size: larger } = std::mem::take(&mut extensions);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        // Only what holds data may be larger than eight gigabytes, and so say its size in a record.
        size = larger.unwrap_or(size);
        let has_data = matches!(kind, 0 | b'0' | b'7' | b'S') || !kind.is_ascii_digit();
        if !has_data {
            size = 0;
        }
        let is_directory = kind == b'5' || (matches!(kind, 0 | b'0') && name.ends_with(b"/"));
        let mode = header.mode().map_err(|_| ArchiveError::Damaged {
            problem: "a header holds no valid mode",
        })?;
        let mut content = Content { reader, left: size };
        if matches!(kind, 0 | b'0') || is_directory {
            match entry_name::target(&name, strip)? {
                Some(path) if is_directory => into.directory(&path, mode)?,
                Some(path) => into.file(&path, mode, &mut content)?,
                None if !is_directory && strip == 0 && !name.is_empty() => {
                    return Err(ArchiveError::Name {
                        name: String::from_utf8_lossy(&name).into_owned(),
                        problem: "is the target itself but no directory",
                    });
                }
                None => {}
            }
        }
        into.pass_over(&mut content)?;
        // An archive that is cut off within the padding has lost nothing.
        io::copy(&mut (&mut *reader).take(padding(size)), &mut io::sink()).map_err(ArchiveError::Read)?;
    }
    Ok(())
}

/// The content of one entry: exactly as many bytes as were announced, or an error.
struct Content<'a> {
    reader: &'a mut dyn Read,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.reader.read(&mut buffer[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

fn cut_off() -> ArchiveError {
    ArchiveError::Read(io::ErrorKind::UnexpectedEof.into())
}

/// The next header; `None` at the end, which is two empty blocks, one of them, or just the end of the stream.
fn next_header(reader: &mut dyn Read) -> Result<Option<[u8; 512]>, ArchiveError> {
    let mut block = [0; 512];
    let mut filled = 0;
    while filled < block.len() {
        match reader.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(cut_off()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Read(error)),
        }
    }
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    match checksum_is_right(&block) {
        true => Ok(Some(block)),
        false => Err(ArchiveError::Damaged {
            problem: "a header's checksum is wrong",
        }),
    }
}

/// Old writers summed signed bytes, so both sums are right.
fn checksum_is_right(block: &[u8; 512]) -> bool {
    let Ok(expected) = tar::Header::from_byte_slice(block).cksum() else {
        return false;
    };
    let byte = |position: usize, byte: u8| if (148..156).contains(&position) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(|(position, value)| byte(position, *value));
    let unsigned: u32 = bytes().map(u32::from).sum();
    let signed: i32 = bytes().map(|byte| i32::from(byte.cast_signed())).sum();
    expected == unsigned || i64::from(expected) == i64::from(signed)
}

fn read_extension(reader: &mut dyn Read, size: u64) -> Result<Vec<u8>, ArchiveError> {
    if size > MAX_EXTENSION {
        return Err(ArchiveError::Damaged {
            problem: "a name or record is longer than a megabyte",
        });
    }
    let mut data = Vec::new();
    let read = (&mut *reader).take(size).read_to_end(&mut data);
    if read.map_err(ArchiveError::Read)? as u64 != size {
        return Err(cut_off());
    }
    io::copy(&mut (&mut *reader).take(padding(size)), &mut io::sink()).map_err(ArchiveError::Read)?;
    Ok(data)
}

/// PAX records: `LENGTH KEY=VALUE` and a line break, the length being that of all of it.
fn read_records(mut data: &[u8], extensions: &mut Extensions) -> Result<(), ArchiveError> {
    let damaged = || ArchiveError::Damaged {
        problem: "a PAX record is malformed",
    };
    while !data.is_empty() {
        let blank = data.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
        let length = std::str::from_utf8(&data[..blank])
            .ok()
            .and_then(|text| text.parse::<usize>().ok())
            .filter(|length| (blank + 2..=data.len()).contains(length))
            .ok_or_else(damaged)?;
        let record = data[blank + 1..length].strip_suffix(b"\n").ok_or_else(damaged)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" if value.contains(&0) => return Err(damaged()),
            b"path" => extensions.name = Some(value.to_vec()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                extensions.size = Some(size.ok_or_else(damaged)?);
            }
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(ArchiveError::Damaged {
                    problem: "it holds a sparse file, which is not supported; write it without --sparse",
                });
            }
            _ => {}
        }
        data = &data[length..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::Limits;

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<(), ArchiveError>) {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = Limits::default();
        let mut into = Beneath::open(dir.path(), &limits).expect("opens");
        let result = unpack(&mut { bytes }, &mut into, 0);
        (dir, result)
    }

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).expect("appended");
        }
        builder.into_inner().expect("finished")
    }

    #[test]
    fn rustsec_2018_0002_and_2021_0080_a_link_is_never_made_so_nothing_is_written_through_it() {
        let bytes = archive(&[
            ("l", tar::EntryType::Symlink, ""),
            ("l/x", tar::EntryType::Regular, "x"),
        ]);
        let (dir, result) = unpacked(&bytes);
        result.expect("unpacked");
        assert!(fs::symlink_metadata(dir.path().join("l")).expect("there").is_dir());
    }

    #[test]
    fn cve_2026_33056_links_and_devices_are_left_out() {
        let bytes = archive(&[
            ("h", tar::EntryType::Link, ""),
            ("c", tar::EntryType::Char, ""),
            ("p", tar::EntryType::Fifo, ""),
            ("f", tar::EntryType::Regular, "x"),
        ]);
        let (dir, result) = unpacked(&bytes);
        result.expect("unpacked");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_name_of_gigabytes_is_refused_before_it_is_read() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(4 << 30);
        header.set_cksum();
        let (_dir, result) = unpacked(header.as_bytes());
        assert!(matches!(result, Err(ArchiveError::Damaged { .. })));
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error() {
        let bytes = archive(&[("f", tar::EntryType::Regular, "content")]);
        let (_dir, result) = unpacked(&bytes[..515]);
        assert!(result.is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_the_reader_panic_or_write_elsewhere(position in 0_usize..1024, byte: u8, cut in 0_usize..2048) {
            let mut bytes = archive(&[("d/f", tar::EntryType::Regular, "content"), ("g", tar::EntryType::XHeader, "9 size=1\n")]);
            bytes[position] = byte;
            bytes.truncate(cut);
            let _ = unpacked(&bytes);
        }

        #[test]
        fn no_record_makes_the_reader_panic(data in prop::collection::vec(any::<u8>(), 0..64), text in "[0-9]{1,3} [a-z.]{0,6}=[a-z0-9]{0,6}\n?") {
            let _ = read_records(&data, &mut Extensions::default());
            let _ = read_records(text.as_bytes(), &mut Extensions::default());
        }
    }
}

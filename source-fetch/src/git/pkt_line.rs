//! Git's framing: four hex digits of length, then that many bytes less four.

use std::io::{self, Read};

/// The most that one packet may carry.
const MAX: usize = 65_520;

/// One packet of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Bytes, with the line break if there was one.
    Data(Vec<u8>),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of an answer.
    End,
}

/// Appends a data packet.
///
/// Longer data than a packet carries can't occur: requests hold ids, ref names and capabilities.
pub(crate) fn write_line(out: &mut Vec<u8>, data: &str) {
    debug_assert!(data.len() + 5 <= MAX);
    out.extend_from_slice(format!("{:04x}{data}\n", data.len() + 5).as_bytes());
}

/// Appends `0000`.
pub(crate) fn write_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Appends `0001`.
pub(crate) fn write_delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// Reads one packet; `None` at the end of the stream.
pub(crate) fn read(reader: &mut impl Read) -> io::Result<Option<Packet>> {
    let malformed = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let mut head = [0_u8; 4];
    let mut filled = 0;
    while filled < head.len() {
        match reader.read(&mut head[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digits = std::str::from_utf8(&head)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let length = digits.and_then(|text| usize::from_str_radix(text, 16).ok());
    match length.ok_or_else(|| malformed("the server does not answer in git's packet format"))? {
        0 => Ok(Some(Packet::Flush)),
        1 => Ok(Some(Packet::Delimiter)),
        2 => Ok(Some(Packet::End)),
        3 => Err(malformed("a packet of impossible length")),
        length if length > MAX + 4 => Err(malformed("a packet longer than git allows")),
        length => {
            let mut data = vec![0; length - 4];
            reader.read_exact(&mut data)?;
            Ok(Some(Packet::Data(data)))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        write_line(&mut bytes, "command=ls-refs");
        write_delimiter(&mut bytes);
        write_flush(&mut bytes);
        let mut reader = bytes.as_slice();
        assert_eq!(
            read(&mut reader).expect("valid"),
            Some(Packet::Data(b"command=ls-refs\n".to_vec()))
        );
        assert_eq!(read(&mut reader).expect("valid"), Some(Packet::Delimiter));
        assert_eq!(read(&mut reader).expect("valid"), Some(Packet::Flush));
        assert_eq!(read(&mut reader).expect("valid"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = bytes.as_slice();
            while let Ok(Some(_)) = read(&mut reader) {}
        }
    }
}

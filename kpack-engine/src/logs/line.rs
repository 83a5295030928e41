//! The form of a line on disk: `TIME stdout F TEXT`; `P` instead of `F` when the line goes on.

use std::time::SystemTime;

use jiff::Timestamp;

/// One record, without the line break that ends it on disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// When it was written, as on disk.
    pub(super) time: &'a [u8],
    /// Whether a line break follows the text.
    pub(super) complete: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a record; what has not its form is text as a whole.
    pub(super) fn parse(line: &'a [u8]) -> Self {
        let form = || {
            let mut parts = line.splitn(4, |byte| *byte == b' ');
            let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
            let text = parts.next()?;
            let known = matches!(stream, b"stdout" | b"stderr") && matches!(tag, b"F" | b"P");
            known.then_some(Self {
                time,
                complete: tag == b"F",
                text,
            })
        };
        form().unwrap_or(Self {
            time: b"",
            complete: true,
            text: line,
        })
    }

    /// Returns when it was written; `None` when that cannot be read.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let text = std::str::from_utf8(self.time).ok()?;
        text.parse::<Timestamp>().ok().map(SystemTime::from)
    }
}

/// Appends one record to `out`.
pub(super) fn write(out: &mut Vec<u8>, time: SystemTime, text: &[u8], complete: bool) {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    out.extend_from_slice(format!("{time:.9}").as_bytes());
    out.extend_from_slice(if complete { b" stdout F " } else { b" stdout P " });
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_is_read_back() {
        let mut line = Vec::new();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_607_200_250);
        write(&mut line, time, b"a b  c", false);
        assert_eq!(line, b"2026-01-05T10:00:00.250000000Z stdout P a b  c\n");
        let record = Record::parse(line.strip_suffix(b"\n").unwrap());
        assert_eq!((record.text, record.complete), (&b"a b  c"[..], false));
        assert_eq!(record.time(), Some(time));
    }

    #[test]
    fn what_has_another_form_is_text() {
        for line in [&b""[..], b"torn", b"2026 stdout X a", b"2026 stdout F"] {
            assert_eq!(Record::parse(line).text, line);
        }
    }
}

//! Addresses as Go's `net/url` reads them, as far as keys and names of registries need it.

use std::net::Ipv6Addr;

/// Reads what may stand between `//` and the path of an address, without user name; `%XX` is decoded.
///
/// IPv6 addresses stand in brackets, and nothing else does; a zone is written behind `%25`. A port is digits or empty.
pub(crate) fn host(text: &str) -> Option<String> {
    match text.rfind('[') {
        Some(0) => bracketed(text),
        Some(_) => None,
        None => {
            let port = text.rfind(':').map_or("", |at| &text[at..]);
            is_port(port).then(|| decode(text, Place::Host)).flatten()
        }
    }
}

fn bracketed(text: &str) -> Option<String> {
    let (address, port) = text.strip_prefix('[')?.rsplit_once(']')?;
    if !is_port(port) {
        return None;
    }
    let zone_at = address.find("%25").unwrap_or(address.len());
    let (address, zone) = address.split_at(zone_at);
    let (address, zone) = (decode(address, Place::Host)?, decode(zone, Place::Zone)?);
    // A zone begins with its `%`, which does not stand alone.
    let fits = address.parse::<Ipv6Addr>().is_ok() && zone != "%";
    fits.then(|| format!("[{address}{zone}]{port}"))
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The parts of an address, which differ in the characters they may hold and in what may be escaped there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Zone,
}

impl Place {
    fn holds(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
    }

    /// Tells whether `byte` may be written as `%XX`.
    fn escapes(self, byte: u8) -> bool {
        match self {
            Self::Host => byte == b'%' || !byte.is_ascii(),
            Self::Zone => matches!(byte, b'%' | b' ') || Self::holds(byte),
        }
    }
}

/// Decodes `%XX`; `None` for a malformed escape and for what may not stand in `place`.
fn decode(text: &str, place: Place) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = u8::try_from(digit()? * 16 + digit()?).ok()?;
            if !place.escapes(value) {
                return None;
            }
            decoded.push(value);
        } else if !byte.is_ascii() || Place::holds(byte) {
            decoded.push(byte);
        } else {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_hold_an_ipv6_address_and_nothing_else() {
        for text in [
            "[zz]:5000",
            "[1.2.3.4]:5000",
            "a[b]c.io",
            "[::1]]",
            "[[::1]",
            "x[::1]",
            "[]",
            "[]:5",
            "[::1",
            "[::1]x",
            "[::1]:5a",
            "[::1]:5]",
            "a[b",
            "[fe80::1%eth0]",
            "[fe80::1%25]",
            "[1.2.3.4%25eth0]",
        ] {
            assert_eq!(host(text), None, "{text}");
        }
        for text in [
            "[::1]",
            "[::1]:",
            "[::1]:5000",
            "[::ffff:1.2.3.4]",
            "a]b.io",
            "::1]:5000",
        ] {
            assert_eq!(host(text).as_deref(), Some(text));
        }
        assert_eq!(host("[fe80::1%25eth0]:5000").as_deref(), Some("[fe80::1%eth0]:5000"));
    }
}

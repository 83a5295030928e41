//! Addresses as Go's `net/url` reads them, as far as keys and names of registries need it.
//!
//! Go 1.26 refuses further colons in the host of http and https, which earlier versions take; here they are taken.

use std::net::Ipv6Addr;

/// An address taken apart, its `%XX` decoded. A user name, query and fragment are checked and left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoUrl {
    /// The host with its port; empty where there is none.
    pub(crate) host: String,
    /// The path; empty or with a `/` in front where there is a host.
    pub(crate) path: String,
}

impl GoUrl {
    /// Reads a whole address; `None` when it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        decode(fragment, Place::Rest)?;
        if text.chars().any(|c| c.is_ascii_control()) {
            return None;
        }
        let (scheme, text) = scheme(text)?;
        let rest = text.split('?').next().unwrap_or_default();
        if !rest.starts_with('/') {
            let first = rest.split('/').next().unwrap_or_default();
            // What follows a scheme without a slash is opaque: no host and no path.
            let path = match scheme {
                Some(_) => String::new(),
                None if first.contains(':') => return None,
                None => decode(rest, Place::Rest)?,
            };
            return Some(Self {
                host: String::new(),
                path,
            });
        }
        let with_host = scheme.is_some() || !rest.starts_with("///");
        let Some(rest) = rest.strip_prefix("//").filter(|_| with_host) else {
            let path = decode(rest, Place::Rest)?;
            return Some(Self {
                host: String::new(),
                path,
            });
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host_text) = authority.rsplit_once('@').unwrap_or(("", authority));
        decode(user, Place::User)?;
        Some(Self {
            host: host(host_text)?,
            path: decode(path, Place::Rest)?,
        })
    }

    /// Returns the host without port and brackets, and the port; both empty where there are none.
    pub(crate) fn host_and_port(&self) -> (&str, &str) {
        let (host, port) = match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            _ => (self.host.as_str(), ""),
        };
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        (bare.unwrap_or(host), port)
    }
}

/// Splits a scheme off; what can't be one is no scheme, but a `:` in front is an error.
fn scheme(text: &str) -> Option<(Option<&str>, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match text.split_once(':') {
        Some(("", _)) => None,
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part) =>
        {
            Some((Some(scheme), rest))
        }
        _ => Some((None, text)),
    }
}

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
    User,
    Rest,
}

impl Place {
    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Host | Self::Zone => {
                !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
            }
            Self::User => byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=@".contains(&byte),
            Self::Rest => true,
        }
    }

    /// Tells whether `byte` may be written as `%XX`.
    fn escapes(self, byte: u8) -> bool {
        match self {
            Self::Host => byte == b'%' || !byte.is_ascii(),
            Self::Zone => matches!(byte, b'%' | b' ') || (byte.is_ascii() && self.holds(byte)),
            Self::User | Self::Rest => true,
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
        } else if place.holds(byte) {
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
    fn an_address_is_taken_apart_and_every_part_of_it_checked() {
        for (text, host, path) in [
            ("https://reg.io/a%20b?%zz#%20", "reg.io", "/a b"),
            ("https://me:pw@reg.io:5000", "reg.io:5000", ""),
            ("//ftp://reg.io", "ftp:", "//reg.io"),
            ("///x", "", "///x"),
            ("mailto:x", "", ""),
            ("reg.io/x://y", "", "reg.io/x://y"),
        ] {
            let (host, path) = (host.to_owned(), path.to_owned());
            assert_eq!(GoUrl::parse(text), Some(GoUrl { host, path }), "{text}");
        }
        for text in [
            "://reg.io",
            "1https://reg.io",
            "https://reg.io/%zz",
            "https://reg.io#%z",
            "https://reg.io?\u{1}",
            "https://a b@reg.io",
            "https://reg.io:x",
            "https://r%65g.io",
        ] {
            assert_eq!(GoUrl::parse(text), None, "{text}");
        }
    }

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

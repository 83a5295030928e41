//! Addresses of archives.

use std::{fmt, str::FromStr};

/// The address of an archive: `https`, `http`, or `file` where that is allowed.
///
/// `Display` shows neither a password nor the query, which often holds a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobUrl {
    scheme: String,
    userinfo: Option<String>,
    authority: String,
    path: String,
    query: Option<String>,
}

/// Text that is no address of an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blob url {problem}; it should look like https://host/path")]
pub struct InvalidBlobUrl {
    /// What is wrong.
    pub problem: &'static str,
}

impl BlobUrl {
    /// Returns the host's name without port, in the case that it was given.
    pub fn host_name(&self) -> &str {
        let name = match self.authority.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => &self.authority,
        };
        name.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the host, with its port if there is one, and the path, as logs show them.
    pub fn place(&self) -> String {
        format!("{}{}", self.authority, self.path)
    }

    pub(crate) fn is_file(&self) -> bool {
        self.scheme == "file"
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// User and password that the url itself carries.
    pub(crate) fn userinfo(&self) -> Option<(String, String)> {
        let (user, password) = self
            .userinfo
            .as_deref()
            .map(|text| text.split_once(':').unwrap_or((text, "")))?;
        Some((percent_decoded(user)?, percent_decoded(password)?))
    }

    /// The address of the request: without user and password.
    pub(crate) fn request(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let path = path.replace(' ', "%20");
        match &self.query {
            Some(query) => format!("{}://{}{path}?{query}", self.scheme, self.authority),
            None => format!("{}://{}{path}", self.scheme, self.authority),
        }
    }
}

/// The text with `%XX` read as bytes; `None` when those are no UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let escape = bytes
            .get(position + 1..position + 3)
            .filter(|digits| bytes[position] == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(bytes[position]));
        position += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).ok()
}

impl FromStr for BlobUrl {
    type Err = InvalidBlobUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBlobUrl> {
        let invalid = |problem| InvalidBlobUrl { problem };
        if text.chars().any(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("has no scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https" | "file") {
            return Err(invalid("has a scheme other than https, http and file"));
        }
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo.to_owned()), authority),
            None => (None, authority),
        };
        if authority.is_empty() != (scheme == "file") {
            return Err(invalid("has no host, or one in a file url"));
        }
        Ok(Self {
            scheme,
            userinfo,
            authority: authority.to_owned(),
            path: path.to_owned(),
            query,
        })
    }
}

impl fmt::Display for BlobUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for BlobUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_and_signatures_are_not_shown() {
        let url: BlobUrl = "https://me:pw@host:8443/a b.zip?sig=secret#x".parse().expect("valid");
        assert_eq!(format!("{url}"), "https://host:8443/a b.zip");
        assert_eq!(url.place(), "host:8443/a b.zip");
        assert_eq!(url.request(), "https://host:8443/a%20b.zip?sig=secret");
        assert_eq!(url.userinfo(), Some(("me".into(), "pw".into())));
        assert_eq!(url.host_name(), "host");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(https://)?\\PC{0,20}") {
            if let Ok(url) = text.parse::<BlobUrl>() {
                let _ = (url.host_name(), url.userinfo(), url.request());
            }
        }
    }
}

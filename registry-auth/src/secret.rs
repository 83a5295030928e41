//! A text that must not be shown.

use std::fmt;

/// Returns an address or key as errors may show it: what stands in front of an `@` may be a password.
pub(crate) fn without_user(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (&address[..scheme.len() + 3], rest),
        None => ("", address),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}****@{host}"),
        None => address.to_owned(),
    }
}

/// A password, token or other text that never appears in `Debug` or `Display`.
///
/// The text itself is had with [`Secret::expose`], so that every place that uses it can be searched for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be sent to whom it belongs and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_front_of_an_at_sign_is_not_shown() {
        for (address, shown) in [
            ("https://user:s3cret@r.io/x", "https://****@r.io/x"),
            ("user:s3cret@r.io", "****@r.io"),
            ("https://r.io", "https://r.io"),
            ("r.io:5000", "r.io:5000"),
        ] {
            assert_eq!(without_user(address), shown);
        }
    }

    #[test]
    fn neither_form_of_text_shows_a_secret() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "**** Secret(****)");
        assert_eq!(secret.expose(), "hunter2");
    }
}

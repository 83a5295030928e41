//! What a fetch brought, and the file that says so.

use std::fmt::Write as _;

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetched {
    /// A git checkout.
    Git {
        /// The url as it was given, a password masked.
        url: String,
        /// The revision as it was given.
        revision: String,
        /// What the revision named: a commit, or the object of an annotated tag.
        id: String,
    },
    /// An unpacked archive.
    Blob {
        /// Where it came from, as it was given, a password masked.
        url: String,
        /// The SHA-256 of the archive, as hex digits.
        sha256: String,
    },
    /// The unpacked layers of an image.
    Registry {
        /// The image's repository, without tag and digest.
        repository: String,
        /// The digest of the image's manifest.
        digest: String,
    },
}

impl Fetched {
    /// Returns the text of `project-metadata.toml`, which the exporter puts into a label of the image.
    ///
    /// # Examples
    /// ```
    /// use source_fetch::Fetched;
    ///
    /// let fetched = Fetched::Blob { url: "https://example.com/a.zip".into(), sha256: "ab12".into() };
    /// assert_eq!(
    ///     fetched.project_metadata(),
    ///     r#"[source]
    ///   type = "blob"
    ///   [source.metadata]
    ///     url = "https://example.com/a.zip"
    ///   [source.version]
    ///     sha256sum = "ab12"
    /// "#
    /// );
    /// ```
    pub fn project_metadata(&self) -> String {
        let (kind, metadata, (key, version)) = match self {
            Self::Git { url, revision, id } => {
                ("git", vec![("repository", url), ("revision", revision)], ("commit", id))
            }
            Self::Blob { url, sha256 } => ("blob", vec![("url", url)], ("sha256sum", sha256)),
            Self::Registry { repository, digest } => ("image", vec![("image", repository)], ("digest", digest)),
        };
        let mut text = format!("[source]\n  type = \"{kind}\"\n  [source.metadata]\n");
        for (name, value) in metadata {
            let _ = writeln!(text, "    {name} = {}", quoted(value));
        }
        let _ = writeln!(text, "  [source.version]\n    {key} = {}", quoted(version));
        text
    }
}

/// A basic TOML string: on one line, whatever the text holds.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' || control == '\u{7f}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_url_holds_it_stays_one_value(url in any::<String>(), revision in "\\PC*") {
            let fetched = Fetched::Git { url: url.clone(), revision: revision.clone(), id: "9ab3".into() };
            let parsed: toml::Table = fetched.project_metadata().parse().expect("toml");
            prop_assert_eq!(parsed["source"]["metadata"]["repository"].as_str(), Some(url.as_str()));
            prop_assert_eq!(parsed["source"]["metadata"]["revision"].as_str(), Some(revision.as_str()));
        }
    }
}

//! Versions of buildpacks, kept as text, and the lenient order that kpack sorts them by.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of a buildpack as its author wrote it: `1.2.3`, `v1`, `2024.01.02`, even `latest` or nothing.
///
/// Equality is equality of the text; `1.2` and `1.2.0` are two versions. The order of releases is [`lenient`](Self::lenient).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildpackVersion(String);

impl BuildpackVersion {
    /// Takes `text` as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the version as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether no version was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the version as a point in the order of releases, or `None` if it is not close enough to one.
    pub fn lenient(&self) -> Option<LenientVersion> {
        LenientVersion::parse(&self.0)
    }
}

impl From<&str> for BuildpackVersion {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for BuildpackVersion {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for BuildpackVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A semantic version read with tolerance: an optional `v`, one to three numbers, leading zeros in them.
///
/// Missing numbers are 0; build metadata does not count, so `1.0.0+a` equals `1.0.0`. Numbers up to 2^64 − 1.
///
/// # Specification
/// The Masterminds semver library as kpack uses it.
#[derive(Clone, Debug)]
pub struct LenientVersion {
    numbers: [u64; 3],
    pre_release: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl LenientVersion {
    /// Reads `text`, or returns `None` when it is not a version.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let (core, pre_release) = match text.split_once('-') {
            Some((core, pre)) => (core, pre.split('.').map(identifier).collect::<Option<Vec<_>>>()?),
            None => (text, Vec::new()),
        };
        let mut numbers = [0; 3];
        for (at, part) in core.split('.').enumerate() {
            *numbers.get_mut(at)? = number(part)?;
        }
        Some(Self { numbers, pre_release })
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn identifier(text: &str) -> Option<Identifier> {
    if !is_identifier(text) {
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Identifier::Text(text.to_owned()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse().ok().map(Identifier::Number)
}

impl Ord for LenientVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre_release.cmp(&other.pre_release),
            }
        })
    }
}

impl PartialOrd for LenientVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for LenientVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for LenientVersion {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> LenientVersion {
        LenientVersion::parse(text).expect("the test gives a version")
    }

    #[test]
    fn versions_are_ordered_by_number_and_a_release_beats_its_pre_releases() {
        let ascending = [
            "1.0.0-1",
            "1.0.0-99",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1",
            "1.9",
            "v1.10.0",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("1.2"), version("01.2.0+build"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "v",
            "V1.0.0",
            "1.2.3.4",
            " 1",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-01",
            "18446744073709551616",
            "latest",
            "1_0",
            "*",
            "1.",
            "1..2",
        ] {
            assert!(LenientVersion::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn on_strict_versions_it_agrees_with_the_semver_crate(
            a in "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(-[a-z0-9]{1,3}(\\.[a-z0-9]{1,3})?)?",
            b in "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(-[a-z0-9]{1,3}(\\.[a-z0-9]{1,3})?)?",
        ) {
            if let (Ok(x), Ok(y)) = (semver::Version::parse(&a), semver::Version::parse(&b)) {
                prop_assert_eq!(version(&a).cmp(&version(&b)), x.cmp_precedence(&y));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = LenientVersion::parse(&text);
        }
    }
}

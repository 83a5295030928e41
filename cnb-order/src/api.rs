//! API versions of the buildpack and platform interfaces, and the sets of them that are supported.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// The version of the Buildpack API or the Platform API: `0.10`.
///
/// Read leniently: an optional `v`, digits, an optional `.` and digits; no minor version is 0. Compared by number, so
/// 0.9 < 0.10. Displayed as `major.minor`; files keep the text their author wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u64,
    minor: u64,
}

impl ApiVersion {
    /// Makes the version `major.minor`.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// Returns the major version.
    pub fn major(self) -> u64 {
        self.major
    }

    /// Returns the minor version.
    pub fn minor(self) -> u64 {
        self.minor
    }

    /// Says whether this version is `0.minor` or later; all APIs in use have major version 0.
    pub fn at_least(self, minor: u64) -> bool {
        self >= Self::new(0, minor)
    }

    /// Says whether an implementation of this version can serve a module that asks for `asked`.
    ///
    /// Below 1.0 only the same version will do; later any minor version up to this one.
    pub fn supports(self, asked: Self) -> bool {
        if self.major == 0 {
            self == asked
        } else {
            self.major == asked.major && self.minor >= asked.minor
        }
    }
}

impl FromStr for ApiVersion {
    type Err = InvalidApiVersion;

    fn from_str(text: &str) -> Result<Self, InvalidApiVersion> {
        let invalid = || InvalidApiVersion { text: text.to_owned() };
        let rest = text.strip_prefix('v').unwrap_or(text);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (major, rest) = rest.split_at(digits);
        let minor = rest.strip_prefix('.').unwrap_or(rest);
        if major.is_empty() || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        Ok(Self {
            major: major.parse().map_err(|_| invalid())?,
            minor: if minor.is_empty() {
                0
            } else {
                minor.parse().map_err(|_| invalid())?
            },
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is no API version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not parse '{text}' as an API version: expected major.minor such as 0.10")]
pub struct InvalidApiVersion {
    /// The text.
    pub text: String,
}

/// The API versions that an implementation supports, some of which may be deprecated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSet {
    supported: Vec<ApiVersion>,
    deprecated: Vec<ApiVersion>,
}

impl ApiSet {
    /// Makes a set from the texts of its members.
    ///
    /// # Errors
    /// When a text is no version, or a deprecated version is not also supported, or a deprecated version from 1.0 on names
    /// more than a major version.
    pub fn new(supported: &[&str], deprecated: &[&str]) -> Result<Self, InvalidApiSet> {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse())
                .collect::<Result<Vec<ApiVersion>, _>>()
        };
        let supported = parse(supported)?;
        let deprecated = parse(deprecated)?;
        for version in &deprecated {
            if !supported.iter().any(|known| known.supports(*version)) {
                return Err(InvalidApiSet::NotSupported { version: *version });
            }
            if version.major > 0 && version.minor != 0 {
                return Err(InvalidApiSet::DeprecatedMinor { version: *version });
            }
        }
        Ok(Self { supported, deprecated })
    }

    /// Says whether a module that asks for `version` can be served.
    pub fn supports(&self, version: ApiVersion) -> bool {
        self.supported.iter().any(|known| known.supports(version))
    }

    /// Says whether `version` is among the deprecated ones; from 1.0 on a whole major version is.
    pub fn deprecates(&self, version: ApiVersion) -> bool {
        self.deprecated.iter().any(|old| {
            if old.major == 0 {
                *old == version
            } else {
                old.major == version.major
            }
        })
    }

    /// Returns the newest supported version.
    pub fn latest(&self) -> Option<ApiVersion> {
        self.supported.iter().max().copied()
    }

    /// Returns all supported versions, in the order given.
    pub fn supported(&self) -> &[ApiVersion] {
        &self.supported
    }

    /// Returns the deprecated versions, in the order given.
    pub fn deprecated(&self) -> &[ApiVersion] {
        &self.deprecated
    }
}

/// Why a list of API versions is no [`ApiSet`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApiSet {
    /// A text is no version.
    #[error(transparent)]
    Version(#[from] InvalidApiVersion),
    /// A deprecated version is not supported.
    #[error("all deprecated APIs must also be supported; {version} is not")]
    NotSupported {
        /// The deprecated version.
        version: ApiVersion,
    },
    /// From 1.0 on, whole major versions are deprecated.
    #[error("deprecated API {version} must name a major version only")]
    DeprecatedMinor {
        /// The deprecated version.
        version: ApiVersion,
    },
}

fn minors(range: std::ops::RangeInclusive<u64>) -> ApiSet {
    ApiSet {
        supported: range.map(|minor| ApiVersion::new(0, minor)).collect(),
        deprecated: Vec::new(),
    }
}

/// The Buildpack APIs of this implementation: 0.7 to 0.12.
pub static BUILDPACK_APIS: LazyLock<ApiSet> = LazyLock::new(|| minors(7..=12));

/// The Platform APIs of this implementation: 0.7 to 0.15.
pub static PLATFORM_APIS: LazyLock<ApiSet> = LazyLock::new(|| minors(7..=15));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently_and_compared_by_number() {
        for (text, canonical) in [
            ("v0.10", "0.10"),
            ("1", "1.0"),
            ("1.", "1.0"),
            ("0.07", "0.7"),
            ("12", "12.0"),
        ] {
            assert_eq!(
                text.parse::<ApiVersion>().map(|version| version.to_string()),
                Ok(canonical.to_owned())
            );
        }
        for bad in ["", "0.10.0", "0.x", " 0.10", "v", "99999999999999999999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
        assert!(ApiVersion::new(0, 9) < ApiVersion::new(0, 10));
    }
}

//! Platform API versions: how kpack and the lifecycle in the builder talk to each other.

use std::fmt;
use std::str::FromStr;

use super::PodError;

/// The versions this system speaks, best first.
const SPOKEN: [PlatformApi; 3] = [PlatformApi::new(0, 9), PlatformApi::new(0, 8), PlatformApi::new(0, 7)];

/// A version of the platform API, such as `0.9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlatformApi {
    major: u64,
    minor: u64,
    patch: u64,
}

impl PlatformApi {
    /// Makes a version.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor, patch: 0 }
    }
}

/// A text that is no version of the platform API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no platform API version; one looks like `0.9`")]
pub struct InvalidPlatformApi {
    /// The text.
    pub text: String,
}

impl FromStr for PlatformApi {
    type Err = InvalidPlatformApi;

    fn from_str(text: &str) -> Result<Self, InvalidPlatformApi> {
        let mut numbers = [0; 3];
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let filled = numbers.iter_mut().zip(&mut parts).try_for_each(|(number, part)| {
            *number = part
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| part.parse().ok())
                .flatten()?;
            Some(())
        });
        if filled.is_none() || parts.next().is_some() {
            return Err(InvalidPlatformApi { text: text.to_owned() });
        }
        let [major, minor, patch] = numbers;
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for PlatformApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Chooses the best version that both sides speak, in the builder's spelling.
pub(super) fn choose(offered: &[String], maximum: Option<PlatformApi>) -> Result<&str, PodError> {
    SPOKEN
        .iter()
        .filter(|version| maximum.is_none_or(|maximum| **version <= maximum))
        .find_map(|version| offered.iter().find(|text| text.parse() == Ok(*version)))
        .map(String::as_str)
        .ok_or_else(|| PodError::PlatformApi {
            supported: offered.to_vec(),
        })
}

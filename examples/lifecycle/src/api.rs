//! The platform API that the platform asked for.

use std::fmt;

use crate::env::Env;
use crate::failure::{Failure, code};

/// A platform API version that this lifecycle speaks: 0.7 to 0.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlatformApi(u64);

impl PlatformApi {
    /// The oldest version spoken.
    pub(crate) const OLDEST: Self = Self(7);
    /// The newest version spoken.
    pub(crate) const NEWEST: Self = Self(15);

    /// Returns the version that `CNB_PLATFORM_API` asks for.
    pub(crate) fn requested(env: &Env) -> Result<Self, Failure> {
        let text = env.text("CNB_PLATFORM_API").unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Failure::new(
                code::PLATFORM_API,
                "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired \
                 platform API version",
            ));
        }
        let Some((major, minor)) = parse(&text) else {
            return Err(Failure::new(
                code::PLATFORM_API,
                format!("failed to parse platform API '{text}'"),
            ));
        };
        if major != 0 || !(Self::OLDEST.0..=Self::NEWEST.0).contains(&minor) {
            return Err(Failure::because(
                code::PLATFORM_API,
                "set platform API",
                format!("platform API version '{text}' is incompatible with the lifecycle"),
            ));
        }
        Ok(Self(minor))
    }

    /// Returns whether the version is `0.<minor>` or newer.
    pub(crate) fn at_least(self, minor: u64) -> bool {
        self.0 >= minor
    }

    /// Returns the number after `0.`.
    pub(crate) fn minor(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PlatformApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0.{}", self.0)
    }
}

/// Reads `major.minor`: an optional `v`, digits, an optional dot, optional digits.
pub(crate) fn parse(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (major, rest) = text.split_at(digits);
    let minor = rest.strip_prefix('.').unwrap_or(rest);
    if !minor.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let minor = if minor.is_empty() { 0 } else { minor.parse().ok()? };
    Some((major.parse().ok()?, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(text: &str) -> Result<PlatformApi, Failure> {
        PlatformApi::requested(&Env::default().with("CNB_PLATFORM_API", text))
    }

    #[test]
    fn versions_from_0_7_to_0_15_are_spoken_in_any_spelling() {
        for (text, version) in [("0.7", "0.7"), ("v0.12", "0.12"), ("0.07", "0.7"), ("00.15", "0.15")] {
            assert_eq!(requested(text).expect("it is spoken").to_string(), version);
        }
    }

    #[test]
    fn other_versions_end_with_code_11() {
        for (text, message) in [
            (
                "",
                "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version",
            ),
            ("0.12.1", "failed to parse platform API '0.12.1'"),
            ("abc", "failed to parse platform API 'abc'"),
            (
                "0.16",
                "failed to set platform API: platform API version '0.16' is incompatible with the lifecycle",
            ),
            (
                "12",
                "failed to set platform API: platform API version '12' is incompatible with the lifecycle",
            ),
        ] {
            assert_eq!(requested(text), Err(Failure::new(11, message)));
        }
    }
}

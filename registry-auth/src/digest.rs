//! The name of a blob or manifest: the hash of its bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PREFIX: &str = "sha256:";

/// The SHA-256 of a blob's or manifest's bytes as they are stored, such as `sha256:e3b0…`.
///
/// Always `sha256:` and 64 lower-case hexadecimal digits, so it is safe as a part of a path or an address.
///
/// # Specification
/// OCI image specification 1.1, "Descriptor", digests; other registered algorithms are refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Makes the digest whose hash is `hash`.
    pub fn from_sha256_bytes(hash: [u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in hash {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self(text)
    }

    /// Returns the whole text, `sha256:` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        match problem(text) {
            None => Ok(Self(text.to_owned())),
            Some(problem) => Err(InvalidDigest {
                text: text.chars().take(200).collect(),
                problem,
            }),
        }
    }
}

fn problem(text: &str) -> Option<DigestProblem> {
    let Some(hex) = text.strip_prefix(PREFIX) else {
        return Some(DigestProblem::Algorithm);
    };
    if hex.len() != 64 {
        return Some(DigestProblem::Length(hex.len()));
    }
    let good = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (!good).then_some(DigestProblem::Digit)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.0)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Why a text is no [`Digest`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: {problem}")]
pub struct InvalidDigest {
    /// The text, its first 200 characters.
    pub text: String,
    /// What is wrong with it.
    pub problem: DigestProblem,
}

/// What is wrong with the text of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestProblem {
    /// It does not start with `sha256:`.
    #[error("it must start with sha256:")]
    Algorithm,
    /// There are not 64 digits but this many bytes.
    #[error("sha256: must be followed by 64 hexadecimal digits, not {0}")]
    Length(usize),
    /// A digit is not one of `0-9a-f`; upper case is refused too.
    #[error("only the digits 0-9 and a-f may follow sha256:")]
    Digit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_lower_case_hash_behind_its_algorithm() {
        let digest = Digest::from_sha256_bytes([0xa5; 32]);
        assert_eq!(digest.as_str(), format!("sha256:{}", "a5".repeat(32)));
        assert_eq!(digest.as_str().parse(), Ok(digest));
    }

    #[test]
    fn what_could_be_a_path_or_another_algorithm_is_refused() {
        for (text, problem) in [
            ("sha512:aa".to_owned(), DigestProblem::Algorithm),
            ("sha256:../../etc".to_owned(), DigestProblem::Length(9)),
            (format!("sha256:{}", "A".repeat(64)), DigestProblem::Digit),
            (format!("sha256:{}/", "a".repeat(63)), DigestProblem::Digit),
        ] {
            assert_eq!(
                text.parse::<Digest>().map_err(|error| error.problem),
                Err(problem),
                "{text}"
            );
        }
    }

    #[test]
    fn json_goes_through_the_same_check() {
        assert!(serde_json::from_str::<Digest>("\"sha256:short\"").is_err());
        let text = format!("\"sha256:{}\"", "0".repeat(64));
        let digest: Digest = serde_json::from_str(&text).expect("64 digits are a digest");
        assert_eq!(serde_json::to_string(&digest).expect("a text is JSON"), text);
    }
}

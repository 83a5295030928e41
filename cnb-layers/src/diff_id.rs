use std::fmt;
use std::str::FromStr;

use registry_auth::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a layer's *uncompressed* tar, such as `sha256:5f70bf18…`.
///
/// Image configs name layers by diff id, manifests by the [`Digest`] of the compressed blob. The two
/// look alike and are different types here, so that neither is ever used for the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiffId(Digest);

impl DiffId {
    /// Returns the diff id of a tar that has this SHA-256.
    pub fn from_sha256_bytes(sha256: [u8; 32]) -> Self {
        Self(Digest::from_sha256_bytes(sha256))
    }

    /// Returns the diff id of `tar`, the whole uncompressed archive.
    pub fn of(tar: &[u8]) -> Self {
        Self::from_sha256_bytes(Sha256::digest(tar).into())
    }

    /// Returns the text, `sha256:` and 64 lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the 64 hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        self.0.hex()
    }

    /// Returns the digest that a blob has when it is this layer *without* compression.
    pub fn digest_of_uncompressed_blob(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DiffId {
    type Err = InvalidDiffId;

    fn from_str(text: &str) -> Result<Self, InvalidDiffId> {
        Digest::from_str(text).map(Self).map_err(|_| InvalidDiffId {
            text: text.chars().take(100).collect(),
        })
    }
}

impl Serialize for DiffId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DiffId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is no [`DiffId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a diff id: write sha256: and 64 lower-case hexadecimal digits")]
pub struct InvalidDiffId {
    /// The text, at most its first 100 characters.
    pub text: String,
}

/// Returns the digest of `bytes`, such as a manifest, a config or a compressed blob.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

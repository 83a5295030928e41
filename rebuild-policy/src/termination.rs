//! The message with which the `completion` step tells the Build what came out.

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::resource::{BuildpackMetadata, is_default};

/// Longest message a container may leave, in bytes of base64.
const LONGEST: usize = 4096;
/// Most bytes of JSON that are read from a message; a larger one is an attack.
const LARGEST_DOCUMENT: u64 = 1 << 20;

/// What a build made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildMetadata {
    /// The buildpacks that ran.
    #[serde(rename = "buildpackMetadata")]
    pub buildpacks: Vec<BuildpackMetadata>,
    /// The cache image by digest, or empty.
    pub latest_cache_image: String,
    /// The app image by digest.
    pub latest_image: String,
    /// Id of its stack.
    #[serde(rename = "stackID")]
    pub stack_id: String,
    /// Its run image by digest.
    pub stack_run_image: String,
    /// Version of its launcher.
    #[serde(skip_serializing_if = "is_default")]
    pub lifecycle_version: String,
}

/// Why a message could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TerminationMessageError {
    /// More buildpacks than fit.
    #[error(
        "the build's metadata takes {size} bytes as termination message, more than the {LONGEST} that Kubernetes allows"
    )]
    TooLarge {
        /// Bytes of base64.
        size: usize,
    },
    /// Not base64.
    #[error("termination message is not base64")]
    Base64 {
        /// Why.
        source: base64::DecodeError,
    },
    /// Not gzip.
    #[error("termination message is not gzip data")]
    Gzip {
        /// Why.
        source: io::Error,
    },
    /// Not the expected document.
    #[error("termination message does not hold a build's metadata")]
    Document {
        /// Why.
        source: serde_json::Error,
    },
}

impl BuildMetadata {
    /// Writes the message: base64 of gzip of JSON, at most 4096 bytes.
    ///
    /// # Errors
    /// When the message would be larger than Kubernetes allows.
    pub fn to_termination_message(&self) -> Result<String, TerminationMessageError> {
        let document = serde_json::to_vec(self).map_err(|source| TerminationMessageError::Document { source })?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = encoder
            .write_all(&document)
            .and_then(|()| encoder.finish())
            .map_err(|source| TerminationMessageError::Gzip { source })?;
        let message = STANDARD.encode(packed);
        if message.len() > LONGEST {
            return Err(TerminationMessageError::TooLarge { size: message.len() });
        }
        Ok(message)
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When it is not base64 of gzip of JSON of the expected shape, or larger than any honest one.
    pub fn from_termination_message(message: &str) -> Result<Self, TerminationMessageError> {
        let packed = STANDARD
            .decode(message)
            .map_err(|source| TerminationMessageError::Base64 { source })?;
        let mut document = Vec::new();
        GzDecoder::new(packed.as_slice())
            .take(LARGEST_DOCUMENT)
            .read_to_end(&mut document)
            .map_err(|source| TerminationMessageError::Gzip { source })?;
        let document =
            serde_json::from_slice(&document).map_err(|source| TerminationMessageError::Document { source })?;
        serde_json::from_value(crate::decode::without_nulls(&document))
            .map_err(|source| TerminationMessageError::Document { source })
    }
}

use std::io::{self, Read};

use registry_auth::{Digest, Reference};
use sha2::{Digest as _, Sha256};

use super::ImageError;
use crate::{Image, Index, InvalidImage, Platform, digest_of, media_type};

/// Manifests, indexes and configs may be this large, in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;

/// Passes bytes on and fails at their end when they are not those of the digest.
pub(crate) struct Verified<R> {
    inner: R,
    hash: Option<Sha256>,
    expected: Digest,
    left: u64,
}

impl<R: Read> Verified<R> {
    pub(crate) fn new(inner: R, expected: Digest, size: u64) -> Self {
        Self {
            inner,
            hash: Some(Sha256::new()),
            expected,
            left: size,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        let Some(hash) = &mut self.hash else { return Ok(0) };
        if count as u64 > self.left {
            return Err(wrong(format!(
                "blob {} is longer than its descriptor says",
                self.expected
            )));
        }
        self.left -= count as u64;
        hash.update(&buffer[..count]);
        if count == 0 {
            if self.left > 0 {
                return Err(wrong(format!(
                    "blob {} lacks its last {} bytes",
                    self.expected, self.left
                )));
            }
            let actual = Digest::from_sha256_bytes(self.hash.take().unwrap_or_default().finalize().into());
            if actual != self.expected {
                return Err(wrong(format!(
                    "blob {} has other bytes, of digest {actual}",
                    self.expected
                )));
            }
        }
        Ok(count)
    }
}

/// Reads a document of at most [`MAX_DOCUMENT`] bytes.
pub(crate) fn read_limited(reader: impl Read, digest: &Digest) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ImageError::Blob {
            digest: digest.clone(),
            source,
        })?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(ImageError::TooLarge {
            what: digest.to_string(),
            limit: MAX_DOCUMENT,
        });
    }
    Ok(bytes)
}

/// A manifest or index as a store has it.
pub(crate) struct Document {
    pub(crate) media_type: String,
    pub(crate) json: Vec<u8>,
}

/// Finds a document by digest, or that of the reference itself.
pub(crate) type Find<'a> = dyn Fn(Option<&Digest>) -> Result<Option<Document>, ImageError> + 'a;

/// Follows a reference to the image for `platform`: through indexes, then to the config.
///
/// `manifest` finds a document by digest (`None`: the reference itself), `config` reads a blob.
pub(crate) fn resolve(
    reference: &Reference,
    platform: &Platform,
    manifest: &Find<'_>,
    config: &dyn Fn(&crate::Descriptor) -> Result<Vec<u8>, ImageError>,
) -> Result<Option<Image>, ImageError> {
    let invalid = |source| ImageError::Invalid {
        reference: reference.to_string(),
        source,
    };
    let Some(mut document) = manifest(None)? else {
        return Ok(None);
    };
    for _ in 0..4 {
        let kind = kind_of(&document).map_err(invalid)?;
        if !media_type::is_index(&kind) {
            let parsed = crate::Manifest::from_json(&document.json).map_err(|e| invalid(InvalidImage::Manifest(e)))?;
            let config_json = config(&parsed.config)?;
            return Image::from_json(&kind, document.json, config_json)
                .map(Some)
                .map_err(invalid);
        }
        let index = Index::from_json(&document.json).map_err(|error| invalid(InvalidImage::Index(error)))?;
        let no_child = || {
            invalid(InvalidImage::NoSuchPlatform {
                wanted: platform.to_string(),
            })
        };
        let child = index.child(platform).ok_or_else(no_child)?;
        document = manifest(Some(&child.digest))?.ok_or_else(|| ImageError::NoBlob {
            repository: reference.repository().clone(),
            digest: child.digest.clone(),
        })?;
        let actual = digest_of(&document.json);
        if actual != child.digest {
            return Err(ImageError::WrongDigest {
                expected: child.digest.clone(),
                actual,
            });
        }
    }
    Err(invalid(InvalidImage::TooDeep))
}

/// What tells the kind of a document.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Form {
    #[serde(rename = "mediaType")]
    media_type: String,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

/// Returns the media type of a document: as the store says, else as it says itself, else by its form.
fn kind_of(document: &Document) -> Result<String, InvalidImage> {
    let known = |media_type: &str| media_type::is_index(media_type) || media_type::is_manifest(media_type);
    if known(&document.media_type) {
        return Ok(document.media_type.clone());
    }
    let form: Form = serde_json::from_slice(&document.json).unwrap_or_default();
    if known(&form.media_type) {
        return Ok(form.media_type);
    }
    let unstated = document.media_type.is_empty() || document.media_type == "application/json";
    match (unstated && form.media_type.is_empty(), form.manifests, form.config) {
        (true, Some(_), None) => Ok(media_type::OCI_INDEX.to_owned()),
        (true, None, Some(_)) => Ok(media_type::OCI_MANIFEST.to_owned()),
        _ => Err(InvalidImage::MediaType {
            media_type: document.media_type.chars().take(200).collect(),
        }),
    }
}

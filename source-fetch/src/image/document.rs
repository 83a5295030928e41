//! The few things that are read of an image's documents.

use std::{collections::BTreeMap, io::Read as _};

use registry_auth::{Digest, Reference};
use registry_client::{Client, RawManifest};
use serde::Deserialize;

use super::fetch::ImageSourceError;

/// The label that says what the image's one layer holds.
const KIND_LABEL: &str = "source.contenttype.kpack.io";
/// A configuration larger than this is no honest one.
const MAX_CONFIG: u64 = 8 << 20;

/// An image for linux on amd64, as far as a source needs it.
pub(super) struct SourceImage {
    pub(super) digest: Digest,
    pub(super) layers: Vec<Digest>,
    /// The value of the kind label; empty when there is none.
    pub(super) kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Child>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
}

#[derive(Deserialize)]
struct Child {
    digest: Digest,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize)]
struct Config {
    config: Option<Inner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inner {
    labels: Option<BTreeMap<String, String>>,
}

impl SourceImage {
    pub(super) fn read(reference: &Reference, client: &Client) -> Result<Self, ImageSourceError> {
        let raw = manifest_of(reference, client)?;
        let mut manifest: Manifest = parse(reference, &raw.bytes)?;
        let mut digest = raw.digest;
        if manifest.config.is_none() && !manifest.manifests.is_empty() {
            let fits = |child: &&Child| {
                let platform = child.platform.as_ref();
                platform.is_none_or(|platform| platform.os == "linux" && platform.architecture == "amd64")
            };
            let child = manifest.manifests.iter().find(fits);
            let child = child.ok_or_else(|| ImageSourceError::NoPlatform {
                image: reference.to_string(),
            })?;
            let raw = manifest_of(&reference.with_digest(&child.digest), client)?;
            manifest = parse(reference, &raw.bytes)?;
            digest = raw.digest;
        }
        let config = manifest.config.ok_or_else(|| ImageSourceError::Document {
            image: reference.to_string(),
            source: "the manifest names no configuration".into(),
        })?;
        let mut bytes = Vec::new();
        let reader = client.blob(reference.repository(), &config.digest)?;
        let read = reader.take(MAX_CONFIG).read_to_end(&mut bytes);
        read.map_err(|source| ImageSourceError::Document {
            image: reference.to_string(),
            source: Box::new(source),
        })?;
        let config: Config = parse(reference, &bytes)?;
        let mut labels = config.config.and_then(|inner| inner.labels).unwrap_or_default();
        Ok(Self {
            digest,
            layers: manifest.layers.into_iter().map(|layer| layer.digest).collect(),
            kind: labels.remove(KIND_LABEL).unwrap_or_default(),
        })
    }
}

fn manifest_of(reference: &Reference, client: &Client) -> Result<RawManifest, ImageSourceError> {
    client.manifest(reference)?.ok_or_else(|| ImageSourceError::NotFound {
        image: reference.to_string(),
    })
}

fn parse<'a, T: Deserialize<'a>>(reference: &Reference, bytes: &'a [u8]) -> Result<T, ImageSourceError> {
    serde_json::from_slice(bytes).map_err(|source| ImageSourceError::Document {
        image: reference.to_string(),
        source: Box::new(source),
    })
}

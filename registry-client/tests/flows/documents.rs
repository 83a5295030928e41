//! The recorded images and indexes, byte for byte.

use std::collections::BTreeMap;

use registry_auth::Digest;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// An image as it was pushed.
pub(crate) struct Image {
    spec: Value,
    config: String,
    pub(crate) manifest: String,
}

impl Image {
    /// Returns the blobs that are pushed with it, each once; foreign layers stay where they are.
    pub(crate) fn blobs(&self) -> Vec<&str> {
        let foreign = self.manifest.contains("foreign") || self.manifest.contains("nondistributable");
        let layers = self.spec["layers"].as_array().into_iter().flatten();
        let layers = layers.filter_map(|layer| layer.as_str().filter(|_| !foreign));
        let mut blobs: Vec<_> = layers.chain([self.config.as_str()]).collect();
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }
}

pub(crate) struct Documents {
    images: Vec<Image>,
    indexes: Vec<String>,
    /// For each name the digest.
    pub(crate) digests: BTreeMap<String, String>,
}

impl Documents {
    pub(crate) fn read(flows: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let images = flows["images"].as_object().expect("there are images");
        let indexes = flows["indexes"].as_object().expect("there are indexes");
        let digests = flows["digests"].as_object().expect("there are digests");
        Self {
            images: images
                .values()
                .map(|image| Image {
                    spec: image["spec"].clone(),
                    config: text(&image["config"]),
                    manifest: text(&image["manifest"]),
                })
                .collect(),
            indexes: indexes.values().map(|index| text(&index["index"])).collect(),
            digests: digests
                .iter()
                .map(|(digest, name)| (text(name), digest.clone()))
                .collect(),
        }
    }

    pub(crate) fn image(&self, spec: &Value) -> &Image {
        let found = self.images.iter().find(|image| image.spec == *spec);
        found.unwrap_or_else(|| panic!("no document for {spec}"))
    }

    /// Finds the image that `base` becomes with one more layer.
    pub(crate) fn appended(&self, base: &str, layer: &str) -> &Image {
        let base = self.images.iter().find(|image| image.manifest == base);
        let mut spec = base.expect("the base is known").spec.clone();
        spec["layers"]
            .as_array_mut()
            .expect("there are layers")
            .push(layer.into());
        self.image(&spec)
    }

    /// Finds the index of images.
    pub(crate) fn index(&self, images: &[&Image]) -> &str {
        let holds = |index: &&String| {
            let mut digests = images.iter().map(|image| digest(image.manifest.as_bytes()));
            digests.all(|digest| index.contains(digest.as_str()))
        };
        self.indexes.iter().find(holds).expect("the index is known")
    }
}

pub(crate) fn media_type(document: &str) -> String {
    let document: Value = serde_json::from_str(document).expect("JSON");
    document["mediaType"].as_str().expect("a text").to_owned()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

use std::sync::Arc;

use registry_auth::Digest;

use crate::{
    ContainerConfig, Descriptor, DiffId, History, ImageConfig, InvalidJson, Manifest, Timestamp, digest_of, media_type,
};

/// A layer of an image: what its tar is, and which blob holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The SHA-256 of the uncompressed tar.
    pub diff_id: DiffId,
    /// The blob: media type, compressed size, digest.
    pub descriptor: Descriptor,
}

/// An image as a store holds it: the exact bytes of manifest and config, and what they say.
///
/// Cheap to clone. To change an image, make an [`ImageDraft`] of it.
#[derive(Clone, Debug)]
pub struct Image(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    media_type: String,
    digest: Digest,
    manifest_json: Vec<u8>,
    config_json: Vec<u8>,
    manifest: Manifest,
    config: ImageConfig,
}

impl Image {
    /// Returns the image that these bytes are. An empty `media_type` is taken from the manifest.
    ///
    /// # Errors
    /// When one of the documents cannot be read, or `config_json` is not the config that the manifest
    /// names. Everything else that may be wrong with an image is for [`validate`](crate::validate) to say.
    pub fn from_json(media_type: &str, manifest_json: Vec<u8>, config_json: Vec<u8>) -> Result<Self, InvalidImage> {
        let manifest = Manifest::from_json(&manifest_json).map_err(InvalidImage::Manifest)?;
        let config = ImageConfig::from_json(&config_json).map_err(InvalidImage::Config)?;
        let actual = digest_of(&config_json);
        if actual != manifest.config.digest {
            return Err(InvalidImage::OtherConfig {
                expected: manifest.config.digest,
                actual,
            });
        }
        let media_type = match (media_type, manifest.media_type.as_str()) {
            ("", "") => media_type::OCI_MANIFEST,
            ("", stated) => stated,
            (given, _) => given,
        };
        Ok(Self(Arc::new(Parts {
            media_type: media_type.to_owned(),
            digest: digest_of(&manifest_json),
            manifest_json,
            config_json,
            manifest,
            config,
        })))
    }

    /// Returns the digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// Returns the media type of the manifest.
    pub fn media_type(&self) -> &str {
        &self.0.media_type
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Returns the exact text of the manifest.
    pub fn manifest_json(&self) -> &[u8] {
        &self.0.manifest_json
    }

    /// Returns the config.
    pub fn config(&self) -> &ImageConfig {
        &self.0.config
    }

    /// Returns the exact text of the config.
    pub fn config_json(&self) -> &[u8] {
        &self.0.config_json
    }

    /// Returns the digest of the config, which is the image id in Docker's terms.
    pub fn config_digest(&self) -> &Digest {
        &self.0.manifest.config.digest
    }

    /// Returns a label's text.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.config.config.labels.get(name).map(String::as_str)
    }

    /// Returns the value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.0.config.config.env(name)
    }

    /// Returns when the image was made.
    pub fn created(&self) -> &Timestamp {
        &self.0.config.created
    }

    /// Returns the layers, lowest first. Where config and manifest disagree about their number, the
    /// shorter list counts ([`validate`](crate::validate) refuses such an image).
    pub fn layers(&self) -> Vec<Layer> {
        let pair = |(diff_id, descriptor): (&DiffId, &Descriptor)| Layer {
            diff_id: diff_id.clone(),
            descriptor: descriptor.clone(),
        };
        self.0
            .config
            .rootfs
            .diff_ids
            .iter()
            .zip(&self.0.manifest.layers)
            .map(pair)
            .collect()
    }

    /// Returns the layer whose tar has this diff id (the first, if it occurs twice).
    pub fn layer(&self, diff_id: &DiffId) -> Option<Layer> {
        let at = self.0.config.rootfs.diff_ids.iter().position(|id| id == diff_id)?;
        let descriptor = self.0.manifest.layers.get(at)?.clone();
        Some(Layer {
            diff_id: diff_id.clone(),
            descriptor,
        })
    }

    /// Returns the diff id of the topmost layer.
    pub fn top_layer(&self) -> Option<&DiffId> {
        self.0.config.rootfs.diff_ids.last()
    }
}

/// Why bytes are no [`Image`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidImage {
    /// The manifest cannot be read.
    #[error("the manifest is not valid")]
    Manifest(#[source] InvalidJson),
    /// The index cannot be read.
    #[error("the index is not valid")]
    Index(#[source] InvalidJson),
    /// The config cannot be read.
    #[error("the config is not valid")]
    Config(#[source] InvalidJson),
    /// The config is another one than the manifest names.
    #[error("the manifest names config {expected}, but the config is {actual}")]
    OtherConfig {
        /// The digest in the manifest.
        expected: Digest,
        /// The digest of the config's bytes.
        actual: Digest,
    },
    /// The media type is neither that of an image nor that of an index.
    #[error("media type {media_type:?} is neither an image nor an index that can be read")]
    MediaType {
        /// The media type.
        media_type: String,
    },
    /// An index lists no image for the platform.
    #[error("the index has no image for {wanted}")]
    NoSuchPlatform {
        /// The platform asked for.
        wanted: String,
    },
    /// Indexes are nested deeper than anyone does.
    #[error("indexes are nested too deeply")]
    TooDeep,
}

/// Which family of media types an image made from nothing uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageFormat {
    /// Docker's, which every registry and tool accepts.
    #[default]
    Docker,
    /// The Open Container Initiative's.
    Oci,
}

impl ImageFormat {
    /// Returns the media type of a layer compressed with gzip.
    pub fn layer(self) -> &'static str {
        match self {
            Self::Docker => media_type::DOCKER_LAYER_GZIP,
            Self::Oci => media_type::OCI_LAYER_GZIP,
        }
    }
}

/// An image in the making: change what it says, add layers, then [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct ImageDraft {
    media_type: String,
    /// The manifest. `config` in it is overwritten, `layers` belong to [`push_layer`](Self::push_layer).
    manifest: Manifest,
    config: ImageConfig,
}

impl ImageDraft {
    /// Starts with an image of no layers that says nothing.
    pub fn empty(format: ImageFormat) -> Self {
        let (manifest_type, config_type) = match format {
            ImageFormat::Docker => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
            ImageFormat::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: manifest_type.to_owned(),
            config: Descriptor::new(config_type, digest_of(b""), 0),
            layers: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            subject: None,
            artifact_type: String::new(),
            unknown: std::collections::BTreeMap::new(),
        };
        Self {
            media_type: manifest_type.to_owned(),
            manifest,
            config: ImageConfig::default(),
        }
    }

    /// Starts with everything that `image` says and has, unknown fields excepted: the reference loses
    /// them, and equal results need equal losses. `subject` is dropped, because the result is another image.
    pub fn of(image: &Image) -> Self {
        let mut manifest = image.manifest().clone().without_unknown();
        manifest.subject = None;
        Self {
            media_type: image.media_type().to_owned(),
            manifest,
            config: image.config().clone().without_unknown(),
        }
    }

    /// Returns what the config says, to be changed. Layers and history: see the other methods.
    pub fn config_mut(&mut self) -> &mut ImageConfig {
        &mut self.config
    }

    /// Returns what the config says.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Returns how containers start, to be changed.
    pub fn container_mut(&mut self) -> &mut ContainerConfig {
        &mut self.config.config
    }

    /// Returns the manifest's annotations, to be changed.
    pub fn annotations_mut(&mut self) -> &mut std::collections::BTreeMap<String, String> {
        &mut self.manifest.annotations
    }

    /// Sets a label.
    pub fn set_label(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.config.config.labels.insert(name.into(), value.into());
    }

    /// Puts a layer on top, with its history entry.
    pub fn push_layer(&mut self, layer: Layer, history: History) {
        self.config.rootfs.diff_ids.push(layer.diff_id);
        self.manifest.layers.push(layer.descriptor);
        self.config.history.push(history);
    }

    /// Returns the media type that new layers of this image have, in the family of its manifest.
    pub fn layer_media_type(&self) -> &'static str {
        if self.media_type == media_type::OCI_MANIFEST {
            ImageFormat::Oci.layer()
        } else {
            ImageFormat::Docker.layer()
        }
    }

    /// Returns the layers, lowest first.
    pub fn layers(&self) -> Vec<Layer> {
        let pair = |(diff_id, descriptor): (&DiffId, &Descriptor)| Layer {
            diff_id: diff_id.clone(),
            descriptor: descriptor.clone(),
        };
        self.config
            .rootfs
            .diff_ids
            .iter()
            .zip(&self.manifest.layers)
            .map(pair)
            .collect()
    }

    /// Replaces all layers; the history stays as it is.
    pub fn set_layers(&mut self, layers: Vec<Layer>) {
        (self.config.rootfs.diff_ids, self.manifest.layers) = layers
            .into_iter()
            .map(|layer| (layer.diff_id, layer.descriptor))
            .unzip();
    }

    /// Makes the history have exactly one entry a layer, as the reference does at every change: entries
    /// without a layer go, and where the rest does not fit the layers, all become blank.
    pub fn normalize_history(&mut self) {
        let history = &mut self.config.history;
        history.retain(|entry| !entry.empty_layer);
        if history.len() != self.manifest.layers.len() {
            *history = vec![History::default(); self.manifest.layers.len()];
        }
    }

    /// Writes config and manifest.
    pub fn finish(mut self) -> Image {
        let config_json = self.config.to_json();
        self.manifest.config.digest = digest_of(&config_json);
        self.manifest.config.size = config_json.len() as u64;
        self.manifest.config.data = String::new();
        let manifest_json = self.manifest.to_json();
        Image(Arc::new(Parts {
            media_type: self.media_type,
            digest: digest_of(&manifest_json),
            manifest_json,
            config_json,
            manifest: self.manifest,
            config: self.config,
        }))
    }
}

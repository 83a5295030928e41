use std::collections::BTreeMap;

use registry_auth::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::fields::{Fields, InvalidJson};

/// Names a blob or manifest by digest, with its media type and size.
///
/// # Specification
/// OCI image-spec 1.1, "OCI Content Descriptors". Keys are written in go-containerregistry's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    /// The media type of what is described; may be empty.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// The size in bytes, compressed if the blob is compressed.
    pub size: u64,
    /// The digest of the bytes described.
    pub digest: Digest,
    /// The bytes themselves in base64, if they are embedded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Where else the bytes can be had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the image runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of an artifact.
    #[serde(rename = "artifactType", skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Descriptor {
    /// Returns a descriptor with the three required fields.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            size,
            digest,
            data: String::new(),
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: String::new(),
            unknown: BTreeMap::new(),
        }
    }

    pub(crate) fn from_fields(mut fields: Fields) -> Result<Self, InvalidJson> {
        let size = fields.integer("size")?;
        Ok(Self {
            media_type: fields.text("mediaType")?,
            size: u64::try_from(size).map_err(|_| InvalidJson {
                place: "size".to_owned(),
                problem: format!("{size} is negative"),
            })?,
            digest: fields.parsed("digest")?,
            data: fields.text("data")?,
            urls: fields.texts("urls")?,
            annotations: fields.map_of_text("annotations")?,
            platform: fields.object("platform")?.map(Platform::from_fields).transpose()?,
            artifact_type: fields.text("artifactType")?,
            unknown: fields.rest(),
        })
    }
}

/// What an image runs on.
///
/// As a wish ([`matches`](Self::matches)): empty fields other than `os` and `architecture` mean "any".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// The architecture in Go's words, such as `amd64`.
    pub architecture: String,
    /// The operating system in Go's words, such as `linux`.
    pub os: String,
    /// The version of the operating system; only Windows uses it.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features that the operating system must have.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the architecture, such as `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Features; reserved by the specification, written by Docker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

impl Platform {
    /// Returns Linux on `architecture` (Go's word: `amd64`, `arm64`, …).
    pub fn linux(architecture: &str) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            ..Self::default()
        }
    }

    /// Returns `linux/amd64`, which kpack chooses from every index.
    pub fn linux_amd64() -> Self {
        Self::linux("amd64")
    }

    /// Returns whether an image for `offered` satisfies this wish.
    pub fn matches(&self, offered: &Self) -> bool {
        let wish = |wanted: &String, there: &String| wanted.is_empty() || wanted == there;
        self.architecture == offered.architecture
            && self.os == offered.os
            && wish(&self.os_version, &offered.os_version)
            && wish(&self.variant, &offered.variant)
            && self
                .os_features
                .iter()
                .all(|feature| offered.os_features.contains(feature))
            && self.features.iter().all(|feature| offered.features.contains(feature))
    }

    fn from_fields(mut fields: Fields) -> Result<Self, InvalidJson> {
        Ok(Self {
            architecture: fields.text("architecture")?,
            os: fields.text("os")?,
            os_version: fields.text("os.version")?,
            os_features: fields.texts("os.features")?,
            variant: fields.text("variant")?,
            features: fields.texts("features")?,
        })
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}

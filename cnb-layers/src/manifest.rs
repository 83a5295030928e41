use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::fields::{Fields, InvalidJson};
use crate::{Descriptor, Platform};

/// An image manifest: which config and which layers make the image.
///
/// Unknown fields are kept, unless they are nested 128 levels deep or hold numbers beyond `f64`; keys are written in
/// go-containerregistry's order.
///
/// # Specification
/// OCI image-spec 1.1, "OCI Image Manifest"; Docker image manifest version 2 schema 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: i64,
    /// The manifest's own media type; may be empty in OCI manifests.
    #[serde(rename = "mediaType", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The manifest this one says something about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The type of an artifact.
    #[serde(rename = "artifactType", skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When `json` is not a JSON object with the types that a manifest has, or has no config.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidJson> {
        let mut fields = Fields::parse(json)?;
        let config = fields.object("config")?.ok_or_else(|| InvalidJson {
            place: "config".to_owned(),
            problem: "a manifest must name its config".to_owned(),
        })?;
        Ok(Self {
            schema_version: fields.integer("schemaVersion")?,
            media_type: fields.text("mediaType")?,
            config: Descriptor::from_fields(config)?,
            layers: fields
                .objects("layers")?
                .into_iter()
                .map(Descriptor::from_fields)
                .collect::<Result<_, _>>()?,
            annotations: fields.map_of_text("annotations")?,
            subject: fields.object("subject")?.map(Descriptor::from_fields).transpose()?,
            artifact_type: fields.text("artifactType")?,
            unknown: fields.rest(),
        })
    }

    /// Returns the compact JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        cnb_order::go_json_of(self)
            .expect("a manifest has only text keys and finite numbers")
            .into_bytes()
    }

    /// Returns the manifest without the fields that go-containerregistry does not know and loses.
    #[must_use]
    pub fn without_unknown(mut self) -> Self {
        self.unknown.clear();
        self.config.unknown.clear();
        self.layers.iter_mut().for_each(|layer| layer.unknown.clear());
        self
    }
}

/// An index (manifest list): the same image for several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: i64,
    /// The index's own media type; may be empty in OCI indexes.
    #[serde(rename = "mediaType", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The images, in the author's order.
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// When `json` is not a JSON object with the types that an index has.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidJson> {
        let mut fields = Fields::parse(json)?;
        Ok(Self {
            schema_version: fields.integer("schemaVersion")?,
            media_type: fields.text("mediaType")?,
            manifests: fields
                .objects("manifests")?
                .into_iter()
                .map(Descriptor::from_fields)
                .collect::<Result<_, _>>()?,
            annotations: fields.map_of_text("annotations")?,
            unknown: fields.rest(),
        })
    }

    /// Returns the compact JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        cnb_order::go_json_of(self)
            .expect("an index has only text keys and finite numbers")
            .into_bytes()
    }

    /// Returns the first entry that satisfies `platform`. An entry that names no platform counts as
    /// `linux/amd64`, as in go-containerregistry.
    pub fn child(&self, platform: &Platform) -> Option<&Descriptor> {
        let unnamed = Platform::linux_amd64();
        self.manifests
            .iter()
            .find(|entry| platform.matches(entry.platform.as_ref().unwrap_or(&unnamed)))
    }
}

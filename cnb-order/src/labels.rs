//! The JSON of the labels that builders and buildpackages carry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::order::null_is_empty;
use crate::{BuildpackId, BuildpackVersion, Group, Stack, Target, go_json_of};

/// The label `io.buildpacks.buildpack.layers`: id → version → where its layer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildpackLayersLabel(pub BTreeMap<BuildpackId, BTreeMap<BuildpackVersion, BuildpackLayer>>);

/// One buildpack of [`BuildpackLayersLabel`]; fields in the order in which kpack writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildpackLayer {
    /// The Buildpack API, as written.
    #[serde(default)]
    pub api: String,
    /// The digest of the uncompressed layer, `sha256:…`.
    #[serde(default, rename = "layerDiffID")]
    pub layer_diff_id: String,
    /// The order of a composite.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Group>,
    /// The stacks supported.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
    /// The targets supported; kpack does not carry them into builders.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Home page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// Name for people; kpack does not carry it into builders.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// The label `io.buildpacks.buildpackage.metadata`: which buildpack the package is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildpackageMetadata {
    /// Id of the main buildpack.
    #[serde(default)]
    pub id: BuildpackId,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: BuildpackVersion,
    /// Its home page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// The stacks on which all of the package runs.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
}

/// The label `io.buildpacks.builder.metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderMetadata {
    /// What the builder is.
    #[serde(default)]
    pub description: String,
    /// The run image that goes with it.
    #[serde(default)]
    pub stack: StackMetadata,
    /// The lifecycle inside.
    #[serde(default)]
    pub lifecycle: LifecycleMetadata,
    /// Which program made it.
    #[serde(default, rename = "createdBy")]
    pub created_by: CreatedBy,
    /// The buildpacks inside.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub buildpacks: Vec<BuilderBuildpack>,
}

/// A buildpack of a builder: part of [`BuilderMetadata`] and of a builder's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderBuildpack {
    /// Which buildpack.
    #[serde(default)]
    pub id: BuildpackId,
    /// Which version.
    #[serde(default)]
    pub version: BuildpackVersion,
    /// Its home page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
}

/// The `stack` part of [`BuilderMetadata`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackMetadata {
    /// The run image.
    #[serde(default, rename = "runImage")]
    pub run_image: RunImageMetadata,
}

/// A run image with its mirrors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImageMetadata {
    /// Reference of the image.
    #[serde(default)]
    pub image: String,
    /// Places of copies; `null` when there are none known.
    #[serde(default)]
    pub mirrors: Option<Vec<String>>,
}

/// The `lifecycle` part of [`BuilderMetadata`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleMetadata {
    /// Version of the lifecycle.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// One version of each API, the older form.
    #[serde(default)]
    pub api: ApiPair,
    /// All versions of both APIs.
    #[serde(default)]
    pub apis: LifecycleApis,
}

/// One version of each API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiPair {
    /// Buildpack API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub buildpack: String,
    /// Platform API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
}

/// The label `io.buildpacks.lifecycle.apis`: all versions of both APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleApis {
    /// Buildpack API.
    #[serde(default)]
    pub buildpack: ApiLists,
    /// Platform API.
    #[serde(default)]
    pub platform: ApiLists,
}

/// Versions of one API; a list may be `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiLists {
    /// The deprecated ones.
    #[serde(default)]
    pub deprecated: Option<Vec<String>>,
    /// The supported ones.
    #[serde(default)]
    pub supported: Option<Vec<String>>,
}

/// Which program made a builder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBy {
    /// Name of the program.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// The label `io.buildpacks.buildpack.order`; `null` when there are no groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct OrderLabel(#[serde(deserialize_with = "null_is_empty")] pub Vec<Group>);

impl Serialize for OrderLabel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            to.serialize_none()
        } else {
            self.0.serialize(to)
        }
    }
}

macro_rules! label {
    ($($type:ty = $name:literal),* $(,)?) => {$(
        impl $type {
            /// The name of the label.
            pub const LABEL: &'static str = $name;

            /// Writes the label's text with the reference's bytes.
            pub fn to_json(&self) -> String {
                go_json_of(self).expect("labels have only string keys")
            }

            /// Reads the label's text; unknown fields are dropped.
            ///
            /// # Errors
            /// When the text is not JSON of this form.
            pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
                serde_json::from_str(text)
            }
        }
    )*};
}

label! {
    BuildpackLayersLabel = "io.buildpacks.buildpack.layers",
    BuildpackageMetadata = "io.buildpacks.buildpackage.metadata",
    BuilderMetadata = "io.buildpacks.builder.metadata",
    LifecycleApis = "io.buildpacks.lifecycle.apis",
    OrderLabel = "io.buildpacks.buildpack.order",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_label_has_the_bytes_of_the_reference() {
        let text = r#"{"description":"Custom Builder built with kpack","stack":{"runImage":{"image":"reg.example/run@sha256:00","mirrors":null}},"lifecycle":{"version":"0.20.12","api":{"buildpack":"0.7","platform":"0.7"},"apis":{"buildpack":{"deprecated":null,"supported":["0.10"]},"platform":{"deprecated":null,"supported":["0.13"]}}},"createdBy":{"name":"kpack Builder","version":"v0.17.2"},"buildpacks":[{"id":"a","version":"1","homepage":"h\u0026"},{"id":"b","version":"2"}]}"#;
        assert_eq!(BuilderMetadata::from_json(text).expect("it parses").to_json(), text);
    }

    #[test]
    fn an_order_without_groups_is_null_and_a_group_without_entries_an_empty_object() {
        assert_eq!(OrderLabel::default().to_json(), "null");
        assert_eq!(OrderLabel(vec![Group::default()]).to_json(), "[{}]");
        assert_eq!(OrderLabel::from_json("null").expect("it parses"), OrderLabel::default());
    }

    #[test]
    fn the_layers_label_has_the_fields_in_the_order_of_the_reference() {
        let text = r#"{"acme/web":{"1.4.0":{"api":"0.10","layerDiffID":"sha256:aa","order":[{"group":[{"id":"x","version":"1","optional":true}]}],"stacks":[{"id":"*"}],"homepage":"h"}}}"#;
        assert_eq!(
            BuildpackLayersLabel::from_json(text).expect("it parses").to_json(),
            text
        );
    }
}

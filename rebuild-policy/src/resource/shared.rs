//! Small values that several kinds contain.

use serde::{Deserialize, Serialize};

use super::is_default;

/// A reference to an object, as Kubernetes writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectReference {
    /// Kind of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: String,
    /// Namespace of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace: String,
    /// Name of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Uid of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub uid: String,
    /// API version of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub api_version: String,
    /// Version of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub resource_version: String,
    /// A part of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub field_path: String,
}

impl ObjectReference {
    /// Makes a reference by kind and name.
    pub fn named(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// Name of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
}

/// The service account whose secrets a cluster-wide kind uses.
pub type ServiceAccountRef = ObjectReference;

/// An image reference in an object of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StoreImage {
    /// The reference as the user wrote it.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
}

/// A buildpack that took part in something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildpackMetadata {
    /// Id, such as `acme/node`.
    pub id: String,
    /// Version, such as `1.2.3`.
    pub version: String,
    /// Where to read more.
    #[serde(skip_serializing_if = "is_default")]
    pub homepage: String,
}

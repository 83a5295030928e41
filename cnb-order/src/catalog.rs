//! The buildpacks that a builder can be made of: the content of stores, as their status lists it.

use serde::{Deserialize, Serialize};

use crate::order::null_is_empty;
use crate::{BuildpackId, BuildpackVersion, Group, Stack};

/// Buildpacks to choose from, in the order of precedence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// The objects that hold buildpacks: first all `Buildpack`s of the builder's namespace (none for a `ClusterBuilder`),
    /// then all `ClusterBuildpack`s, then the builder's `ClusterStore`; within a kind as the platform lists them.
    pub objects: Vec<CatalogObject>,
}

/// One object that holds buildpacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogObject {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its name.
    pub name: String,
    /// What it holds, as its status lists it.
    pub buildpacks: Vec<StoredBuildpack>,
}

/// A kind of object that holds buildpacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// `Buildpack`, of one namespace.
    Buildpack,
    /// `ClusterBuildpack`.
    ClusterBuildpack,
    /// `ClusterStore`.
    #[default]
    ClusterStore,
}

impl OwnerKind {
    /// Returns the name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buildpack => "Buildpack",
            Self::ClusterBuildpack => "ClusterBuildpack",
            Self::ClusterStore => "ClusterStore",
        }
    }
}

/// A buildpack of a store and the layer that holds it: an item of `status.buildpacks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredBuildpack {
    /// Which buildpack.
    #[serde(default)]
    pub id: BuildpackId,
    /// Which version.
    #[serde(default, skip_serializing_if = "BuildpackVersion::is_empty")]
    pub version: BuildpackVersion,
    /// The package it came in.
    #[serde(default)]
    pub buildpackage: PackageInfo,
    /// The image it came from, as the specification of the owner names it.
    #[serde(default)]
    pub store_image: ImageName,
    /// The digest of the uncompressed layer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff_id: String,
    /// The digest of the compressed layer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The size of the compressed layer in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: i64,
    /// The Buildpack API, as written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api: String,
    /// Home page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// The order of a composite.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Group>,
    /// The stacks supported.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The package that a buildpack came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageInfo {
    /// Id of the package's main buildpack.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its home page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
}

/// An image by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// The name as written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

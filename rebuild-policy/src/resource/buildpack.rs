//! Buildpack, ClusterBuildpack and ClusterStore: where buildpacks come from.

use serde::{Deserialize, Serialize};

use super::{BuildpackMetadata, Condition, Resource, ServiceAccountRef, StoreImage, is_default};

/// A buildpackage for one namespace.
pub type Buildpack = Resource<BuildpackSpec, BuildpacksStatus>;
/// A buildpackage for all namespaces.
pub type ClusterBuildpack = Resource<ClusterBuildpackSpec, BuildpacksStatus>;
/// A list of buildpackages for all namespaces.
pub type ClusterStore = Resource<ClusterStoreSpec, BuildpacksStatus>;

/// A buildpackage and who may read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildpackSpec {
    /// Reference of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
    /// Whose secrets are used.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_name: String,
}

/// A buildpackage and who may read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterBuildpackSpec {
    /// Reference of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
    /// Whose secrets are used.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// Buildpackages and who may read them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStoreSpec {
    /// The images.
    #[serde(skip_serializing_if = "is_default")]
    pub sources: Vec<StoreImage>,
    /// Whose secrets are used.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// What the images hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildpacksStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Ready`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// Every buildpack, sorted by `id@version`.
    #[serde(skip_serializing_if = "is_default")]
    pub buildpacks: Vec<BuildpackStatus>,
}

/// One buildpack of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildpackStatus {
    /// Id, such as `acme/node`.
    pub id: String,
    /// Version, such as `1.2.3`.
    #[serde(skip_serializing_if = "is_default")]
    pub version: String,
    /// The buildpackage it came in.
    #[serde(skip_serializing_if = "is_default")]
    pub buildpackage: Buildpackage,
    /// The image it came in.
    #[serde(skip_serializing_if = "is_default")]
    pub store_image: StoreImage,
    /// Digest of its layer, uncompressed.
    #[serde(skip_serializing_if = "is_default")]
    pub diff_id: String,
    /// Digest of its layer, compressed.
    #[serde(skip_serializing_if = "is_default")]
    pub digest: String,
    /// Bytes of its layer, compressed.
    #[serde(skip_serializing_if = "is_default")]
    pub size: i64,
    /// Its Buildpack API.
    #[serde(skip_serializing_if = "is_default")]
    pub api: String,
    /// Where to read more.
    #[serde(skip_serializing_if = "is_default")]
    pub homepage: String,
    /// Its components, if it is a composite.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Vec<ResolvedOrderEntry>,
    /// The stacks it runs on.
    #[serde(skip_serializing_if = "is_default")]
    pub stacks: Vec<BuildpackStack>,
}

/// Name of a buildpackage.
pub type Buildpackage = BuildpackMetadata;

/// One alternative of a resolved order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedOrderEntry {
    /// The buildpacks that must agree.
    #[serde(skip_serializing_if = "is_default")]
    pub group: Vec<ResolvedGroupEntry>,
}

/// A buildpack of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedGroupEntry {
    /// Id of the buildpack.
    pub id: String,
    /// Its version.
    #[serde(skip_serializing_if = "is_default")]
    pub version: String,
    /// Whether the group passes without it.
    #[serde(skip_serializing_if = "is_default")]
    pub optional: bool,
}

/// A stack that a buildpack runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildpackStack {
    /// Id of the stack, or `*`.
    pub id: String,
    /// Mixins it needs.
    #[serde(skip_serializing_if = "is_default")]
    pub mixins: Vec<String>,
}

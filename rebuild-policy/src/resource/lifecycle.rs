//! ClusterLifecycle: the programs that run the phases.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Condition, Resource, ServiceAccountRef, StackImage, is_default};

/// An image with the phase programs.
pub type ClusterLifecycle = Resource<ClusterLifecycleSpec, ClusterLifecycleStatus>;

/// Which image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterLifecycleSpec {
    /// Its reference.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
    /// Whose secrets are used.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// What the image holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Fields", rename_all = "camelCase")]
pub struct ClusterLifecycleStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Ready`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// Image, version and APIs.
    #[serde(flatten)]
    pub lifecycle: ResolvedLifecycle,
}

/// [`ClusterLifecycleStatus`] as it is read: a flattened field would be read from a map, where a list passes for named
/// fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    observed_generation: i64,
    conditions: Vec<Condition>,
    image: StackImage,
    version: String,
    api: LifecycleApi,
    apis: LifecycleApis,
}

impl From<Fields> for ClusterLifecycleStatus {
    fn from(fields: Fields) -> Self {
        Self {
            observed_generation: fields.observed_generation,
            conditions: fields.conditions,
            lifecycle: ResolvedLifecycle {
                image: fields.image,
                version: fields.version,
                api: fields.api,
                apis: fields.apis,
            },
        }
    }
}

/// A lifecycle as it was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedLifecycle {
    /// The image.
    pub image: StackImage,
    /// Version of the lifecycle.
    #[serde(skip_serializing_if = "is_default")]
    pub version: String,
    /// Obsolete form of `apis`.
    pub api: LifecycleApi,
    /// The APIs it speaks.
    pub apis: LifecycleApis,
}

/// One version of each API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LifecycleApi {
    /// Buildpack API.
    #[serde(skip_serializing_if = "is_default")]
    pub buildpack: String,
    /// Platform API.
    #[serde(skip_serializing_if = "is_default")]
    pub platform: String,
}

/// All versions of each API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LifecycleApis {
    /// Buildpack API.
    pub buildpack: Apis,
    /// Platform API.
    pub platform: Apis,
}

/// Versions of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Apis {
    /// Versions that will go away.
    pub deprecated: ApiVersions,
    /// Versions that stay.
    pub supported: ApiVersions,
}

/// A list of API versions; an empty one is written as `null`, as the reference does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersions(pub Vec<String>);

impl Serialize for ApiVersions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            serializer.serialize_none()
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ApiVersions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(
            Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default(),
        ))
    }
}

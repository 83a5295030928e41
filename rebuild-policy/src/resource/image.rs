//! Image: the thing users make. Everything else of a build follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Affinity, Condition, EnvVar, LocalObjectReference, ObjectReference, Quantity, Resource, ResourceRequirements,
    SourceConfig, Toleration, is_default,
};

/// An app image that is to be kept up to date.
pub type Image = Resource<ImageSpec, ImageStatus>;

/// What the image is made of and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageSpec {
    /// Where the image is pushed; never changes.
    pub tag: String,
    /// The Builder or ClusterBuilder that builds it.
    pub builder: ObjectReference,
    /// Whose secrets a build uses.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_name: String,
    /// Where the source is.
    pub source: SourceConfig,
    /// Where layers are kept between builds.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: Option<ImageCache>,
    /// How many failed Builds are kept.
    #[serde(skip_serializing_if = "is_default")]
    pub failed_build_history_limit: Option<i64>,
    /// How many successful Builds are kept.
    #[serde(skip_serializing_if = "is_default")]
    pub success_build_history_limit: Option<i64>,
    /// `BuildNumber`, or `None` for no tag per build.
    #[serde(skip_serializing_if = "is_default")]
    pub image_tagging_strategy: String,
    /// Path of the project descriptor in the source.
    #[serde(skip_serializing_if = "is_default")]
    pub project_descriptor_path: String,
    /// How builds run.
    #[serde(skip_serializing_if = "is_default")]
    pub build: Option<ImageBuild>,
    /// Legacy signing.
    #[serde(skip_serializing_if = "is_default")]
    pub notary: Option<Notary>,
    /// Signing.
    #[serde(skip_serializing_if = "is_default")]
    pub cosign: Option<Cosign>,
    /// The process that starts by default.
    #[serde(skip_serializing_if = "is_default")]
    pub default_process: String,
    /// Further tags, in the same registry.
    #[serde(skip_serializing_if = "is_default")]
    pub additional_tags: Vec<String>,
}

impl ImageSpec {
    /// Returns the size of the volume cache, if one is wanted.
    pub fn volume_cache_size(&self) -> Option<&Quantity> {
        self.cache.as_ref()?.volume.as_ref()?.size.as_ref()
    }

    /// Returns the tag of the registry cache, if one is wanted.
    pub fn registry_cache_tag(&self) -> Option<&str> {
        let registry = self.cache.as_ref()?.registry.as_ref()?;
        (!registry.tag.is_empty()).then_some(registry.tag.as_str())
    }
}

/// How the builds of an image run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageBuild {
    /// Service bindings.
    #[serde(skip_serializing_if = "is_default")]
    pub services: Vec<ObjectReference>,
    /// Legacy service bindings.
    #[serde(skip_serializing_if = "is_default")]
    pub cnb_bindings: Vec<CnbBinding>,
    /// Environment of the buildpacks.
    #[serde(skip_serializing_if = "is_default")]
    pub env: Vec<EnvVar>,
    /// Limits of each step.
    pub resources: ResourceRequirements,
    /// Taints the pod tolerates.
    #[serde(skip_serializing_if = "is_default")]
    pub tolerations: Vec<Toleration>,
    /// Labels a node must have.
    #[serde(skip_serializing_if = "is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Affinity of the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub affinity: Option<Affinity>,
    /// Runtime class of the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime_class_name: Option<String>,
    /// Scheduler of the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub scheduler_name: String,
    /// Seconds a build may take.
    #[serde(skip_serializing_if = "is_default")]
    pub build_timeout: Option<i64>,
    /// Creation time of the image: empty, `now` or seconds since the Unix epoch.
    #[serde(skip_serializing_if = "is_default")]
    pub creation_time: String,
}

/// Where layers are kept between builds: at most one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageCache {
    /// In a volume.
    #[serde(skip_serializing_if = "is_default")]
    pub volume: Option<ImageVolumeCache>,
    /// In a registry.
    #[serde(skip_serializing_if = "is_default")]
    pub registry: Option<RegistryCache>,
}

/// A cache in a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageVolumeCache {
    /// Its size.
    #[serde(skip_serializing_if = "is_default")]
    pub size: Option<Quantity>,
    /// Its storage class.
    #[serde(skip_serializing_if = "is_default")]
    pub storage_class_name: String,
}

/// A cache in a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RegistryCache {
    /// Tag of the cache image.
    pub tag: String,
}

/// A legacy service binding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CnbBinding {
    /// Name of the binding.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Config map with its metadata.
    #[serde(skip_serializing_if = "is_default")]
    pub metadata_ref: Option<LocalObjectReference>,
    /// Secret with its credentials.
    #[serde(skip_serializing_if = "is_default")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// Legacy signing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Notary {
    /// Version 1.
    #[serde(skip_serializing_if = "is_default")]
    pub v1: Option<NotaryV1>,
}

/// A notary server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NotaryV1 {
    /// Its URL.
    pub url: String,
    /// Secret with the keys.
    pub secret_ref: LocalObjectReference,
}

/// Signing with cosign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cosign {
    /// Annotations of the signature.
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: Vec<CosignAnnotation>,
}

/// An annotation of a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CosignAnnotation {
    /// Its key.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Its value.
    #[serde(skip_serializing_if = "is_default")]
    pub value: String,
}

/// How the image stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Ready`, `BuilderReady`, `BuilderUpToDate`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// Name of the newest Build.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_build_ref: String,
    /// Generation of the Image that the newest Build was made from.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_build_image_generation: i64,
    /// The image by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_image: String,
    /// Stack of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_stack: String,
    /// Number of the newest Build.
    #[serde(skip_serializing_if = "is_default")]
    pub build_counter: i64,
    /// Name of the cache claim in use.
    #[serde(skip_serializing_if = "is_default")]
    pub build_cache_name: String,
    /// Why the newest Build was made.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_build_reason: String,
}

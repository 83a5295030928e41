//! Build: one attempt to make an image; never changes after it was created.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Affinity, BuildpackMetadata, CnbBinding, Condition, ConditionStatus, Conditions, Cosign, EnvVar,
    LocalObjectReference, Notary, ObjectReference, RegistryCache, Resource, ResourceRequirements, SourceConfig,
    StoreImage, Toleration, is_default,
};

/// One attempt to make an image.
pub type Build = Resource<BuildSpec, BuildStatus>;

impl Build {
    /// Returns the status of the `Succeeded` condition.
    pub fn succeeded(&self) -> ConditionStatus {
        self.status.conditions.condition_status("Succeeded")
    }

    /// Returns whether the build has neither succeeded nor failed.
    pub fn is_running(&self) -> bool {
        self.succeeded() == ConditionStatus::Unknown
    }

    /// Returns whether the build has succeeded.
    pub fn is_success(&self) -> bool {
        self.succeeded() == ConditionStatus::True
    }

    /// Returns whether the build has failed.
    pub fn is_failure(&self) -> bool {
        self.succeeded() == ConditionStatus::False
    }
}

/// What to build. Immutable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildSpec {
    /// Where the image is pushed; the first is "the tag".
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
    /// The builder.
    pub builder: BuildBuilder,
    /// Whose secrets the build uses.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_name: String,
    /// The source.
    pub source: SourceConfig,
    /// Where layers are kept between builds.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: Option<BuildCache>,
    /// Service bindings.
    #[serde(skip_serializing_if = "is_default")]
    pub services: Vec<ObjectReference>,
    /// Legacy service bindings.
    #[serde(skip_serializing_if = "is_default")]
    pub cnb_bindings: Vec<CnbBinding>,
    /// Environment of the buildpacks.
    #[serde(skip_serializing_if = "is_default")]
    pub env: Vec<EnvVar>,
    /// Path of the project descriptor in the source.
    #[serde(skip_serializing_if = "is_default")]
    pub project_descriptor_path: String,
    /// Limits of each step.
    pub resources: ResourceRequirements,
    /// The last good build.
    #[serde(skip_serializing_if = "is_default")]
    pub last_build: Option<LastBuild>,
    /// Legacy signing.
    #[serde(skip_serializing_if = "is_default")]
    pub notary: Option<Notary>,
    /// The process that starts by default.
    #[serde(skip_serializing_if = "is_default")]
    pub default_process: String,
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
    /// Priority class of the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub priority_class_name: String,
    /// Creation time of the image: empty, `now` or seconds since the Unix epoch.
    #[serde(skip_serializing_if = "is_default")]
    pub creation_time: String,
    /// The run image; empty = the builder's.
    pub run_image: StoreImage,
    /// Signing.
    #[serde(skip_serializing_if = "is_default")]
    pub cosign: Option<Cosign>,
    /// Seconds the build may take.
    #[serde(skip_serializing_if = "is_default")]
    pub active_deadline_seconds: Option<i64>,
}

impl BuildSpec {
    /// Returns the claim of the volume cache, if one is named.
    pub fn cache_claim(&self) -> Option<&str> {
        let volume = self.cache.as_ref()?.volume.as_ref()?;
        (!volume.persistent_volume_claim_name.is_empty()).then_some(volume.persistent_volume_claim_name.as_str())
    }

    /// Returns the tag of the registry cache, if one is named.
    pub fn registry_cache_tag(&self) -> Option<&str> {
        let registry = self.cache.as_ref()?.registry.as_ref()?;
        (!registry.tag.is_empty()).then_some(registry.tag.as_str())
    }
}

/// The builder of a Build: exactly one of `image` and `ref`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildBuilder {
    /// Reference of the builder image.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
    /// Secrets to pull it with.
    #[serde(skip_serializing_if = "is_default")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// A Builder or ClusterBuilder.
    #[serde(rename = "ref", skip_serializing_if = "is_default")]
    pub reference: Option<ObjectReference>,
}

/// Where layers are kept between builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildCache {
    /// In a volume.
    #[serde(skip_serializing_if = "is_default")]
    pub volume: Option<BuildPersistentVolumeCache>,
    /// In a registry.
    #[serde(skip_serializing_if = "is_default")]
    pub registry: Option<RegistryCache>,
}

/// A cache in a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildPersistentVolumeCache {
    /// Name of the claim.
    #[serde(skip_serializing_if = "is_default")]
    pub persistent_volume_claim_name: String,
}

/// The last good build, seen from the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LastBuild {
    /// The image it made, by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
    /// The cache it left.
    pub cache: LastBuildCache,
    /// Its stack.
    #[serde(skip_serializing_if = "is_default")]
    pub stack_id: String,
}

/// The cache the last good build left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LastBuildCache {
    /// The cache image, by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
}

/// How the build stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// The buildpacks that ran.
    #[serde(skip_serializing_if = "is_default")]
    pub build_metadata: Vec<BuildpackMetadata>,
    /// Stack and run image of the app image.
    pub stack: BuildStack,
    /// Version of the launcher in the app image.
    pub lifecycle_version: String,
    /// The image by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_image: String,
    /// The cache image by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_cache_image: String,
    /// The attestation by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_attestation_image: String,
    /// Name of the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_name: String,
    /// State of each step, as the container status has it.
    #[serde(skip_serializing_if = "is_default")]
    pub step_states: Vec<Value>,
    /// Names of the steps that ended well.
    #[serde(skip_serializing_if = "is_default")]
    pub steps_completed: Vec<String>,
}

/// Stack and run image of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildStack {
    /// The run image.
    #[serde(skip_serializing_if = "is_default")]
    pub run_image: String,
    /// Id of the stack.
    #[serde(skip_serializing_if = "is_default")]
    pub id: String,
}

//! Builder and ClusterBuilder: a stack, a lifecycle and buildpacks in one image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    BuildStack, BuildpackMetadata, Condition, ConditionStatus, Conditions, ObjectMeta, ObjectReference,
    ResolvedLifecycle, ResolvedOrderEntry, Resource, ServiceAccountRef, is_default,
};

/// A builder of one namespace.
pub type Builder = Resource<BuilderSpec, BuilderStatus>;
/// A builder for all namespaces.
pub type ClusterBuilder = Resource<ClusterBuilderSpec, BuilderStatus>;

/// What a ClusterBuilder is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterBuilderSpec {
    /// Where the builder image is pushed.
    #[serde(skip_serializing_if = "is_default")]
    pub tag: String,
    /// The ClusterStack.
    pub stack: ObjectReference,
    /// The ClusterLifecycle.
    pub lifecycle: ObjectReference,
    /// The ClusterStore.
    pub store: ObjectReference,
    /// The buildpacks, in the order that detection tries them.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Vec<OrderEntry>,
    /// Labels of the builder image.
    #[serde(skip_serializing_if = "is_default")]
    pub additional_labels: BTreeMap<String, String>,
    /// Whose secrets are used.
    pub service_account_ref: ServiceAccountRef,
}

/// What a Builder is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuilderSpec {
    /// Where the builder image is pushed.
    #[serde(skip_serializing_if = "is_default")]
    pub tag: String,
    /// The ClusterStack.
    pub stack: ObjectReference,
    /// The ClusterLifecycle.
    pub lifecycle: ObjectReference,
    /// The ClusterStore.
    pub store: ObjectReference,
    /// The buildpacks, in the order that detection tries them.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Vec<OrderEntry>,
    /// Labels of the builder image.
    #[serde(skip_serializing_if = "is_default")]
    pub additional_labels: BTreeMap<String, String>,
    /// Legacy spelling of `serviceAccountName`.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account: String,
    /// Whose secrets are used.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_name: String,
}

impl BuilderSpec {
    /// Returns the service account, under whichever name it was given.
    pub fn account(&self) -> &str {
        if self.service_account_name.is_empty() {
            &self.service_account
        } else {
            &self.service_account_name
        }
    }
}

/// One alternative of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OrderEntry {
    /// The buildpacks that must agree.
    #[serde(skip_serializing_if = "is_default")]
    pub group: Vec<GroupEntry>,
}

/// A buildpack wanted in a group: by id, or by an object that holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupEntry {
    /// Kind, name and so on of a Buildpack or ClusterBuildpack.
    #[serde(flatten)]
    pub reference: ObjectReference,
    /// Id of the buildpack; written even when empty.
    pub id: String,
    /// Its version; empty = the highest.
    #[serde(skip_serializing_if = "is_default")]
    pub version: String,
    /// Whether the group passes without it.
    #[serde(skip_serializing_if = "is_default")]
    pub optional: bool,
    /// An image reference; always refused.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
}

/// How a builder stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuilderStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Ready` and `UpToDate`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// Every buildpack in the image.
    #[serde(skip_serializing_if = "is_default")]
    pub builder_metadata: Vec<BuildpackMetadata>,
    /// The resolved order.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Vec<ResolvedOrderEntry>,
    /// The relocated run image and the stack's id.
    pub stack: BuildStack,
    /// The lifecycle in the image.
    pub lifecycle: ResolvedLifecycle,
    /// The builder image, by tag and digest.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_image: String,
    /// Generation of the stack it was made from.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_stack_generation: i64,
    /// Generation of the store it was made from.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_store_generation: i64,
    /// Operating system of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub os: String,
    /// Signatures of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub signature_paths: Vec<SignaturePath>,
}

impl BuilderStatus {
    /// Returns whether the builder can be used: its `Ready` condition holds for the present generation.
    pub fn is_ready(&self, metadata: &ObjectMeta) -> bool {
        self.conditions.condition_status("Ready") == ConditionStatus::True
            && metadata.generation == self.observed_generation
    }

    /// Returns whether the newest stack and buildpacks are in it: `UpToDate` holds for the present generation.
    pub fn is_up_to_date(&self, metadata: &ObjectMeta) -> bool {
        self.conditions.condition_status("UpToDate") == ConditionStatus::True
            && metadata.generation == self.observed_generation
    }
}

/// A signature of the builder image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SignaturePath {
    /// `k8s://<namespace>/<secret>`.
    pub signing_secret: String,
    /// The signature, by digest.
    pub target_digest: String,
}

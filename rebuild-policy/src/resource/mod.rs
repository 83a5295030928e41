//! The kinds of `kpack.io/v1alpha2` as values, with the JSON of the reference: what Go omits is omitted, what it
//! writes empty is written empty.

mod affinity;
mod build;
mod builder;
mod buildpack;
mod condition;
mod container;
mod image;
mod lifecycle;
mod meta;
mod quantity;
mod shared;
mod source;
mod source_resolver;
mod stack;

pub use affinity::{
    Affinity, LabelSelector, NodeAffinity, NodeSelector, NodeSelectorTerm, PodAffinity, PodAffinityTerm,
    PreferredSchedulingTerm, SelectorRequirement, WeightedPodAffinityTerm,
};
pub use build::{
    Build, BuildBuilder, BuildCache, BuildPersistentVolumeCache, BuildSpec, BuildStack, BuildStatus, LastBuild,
    LastBuildCache,
};
pub use builder::{
    Builder, BuilderSpec, BuilderStatus, ClusterBuilder, ClusterBuilderSpec, GroupEntry, OrderEntry, SignaturePath,
};
pub use buildpack::{
    Buildpack, BuildpackSpec, BuildpackStack, BuildpackStatus, Buildpackage, BuildpacksStatus, ClusterBuildpack,
    ClusterBuildpackSpec, ClusterStore, ClusterStoreSpec, ResolvedGroupEntry, ResolvedOrderEntry,
};
pub use condition::{Condition, ConditionStatus, Conditions};
pub use container::{
    ConfigMapKeySelector, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceClaim, ResourceFieldSelector,
    ResourceRequirements, Toleration,
};
pub use image::{
    CnbBinding, Cosign, CosignAnnotation, Image, ImageBuild, ImageCache, ImageSpec, ImageStatus, ImageVolumeCache,
    Notary, NotaryV1, RegistryCache,
};
pub use lifecycle::{
    ApiVersions, Apis, ClusterLifecycle, ClusterLifecycleSpec, ClusterLifecycleStatus, LifecycleApi, LifecycleApis,
    ResolvedLifecycle,
};
pub use meta::{ObjectMeta, OwnerReference, Resource};
pub use quantity::{InvalidQuantity, Quantity};
pub use shared::{BuildpackMetadata, LocalObjectReference, ObjectReference, ServiceAccountRef, StoreImage};
pub use source::{
    BlobSource, GitPaths, GitSource, RegistrySource, ResolvedBlob, ResolvedGit, ResolvedRegistry, ResolvedSource,
    SourceConfig,
};
pub use source_resolver::{SourceResolver, SourceResolverSpec, SourceResolverStatus};
pub use stack::{ClusterStack, ClusterStackSpec, ClusterStackStatus, StackImage, StackImageSpec};

/// The API version of every kind here.
pub const API_VERSION: &str = "kpack.io/v1alpha2";

/// Says whether Go's `omitempty` would leave the value out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

//! ClusterStack: the images that builds and apps stand on.

use serde::{Deserialize, Serialize};

use super::{Condition, Resource, ServiceAccountRef, is_default};

/// A build image and a run image that belong together.
pub type ClusterStack = Resource<ClusterStackSpec, ClusterStackStatus>;

/// Which images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStackSpec {
    /// Id of the stack; both images must carry it.
    #[serde(skip_serializing_if = "is_default")]
    pub id: String,
    /// The image that builds run in.
    pub build_image: StackImageSpec,
    /// The image that apps run on.
    pub run_image: StackImageSpec,
    /// Whose secrets are used.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// An image of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StackImageSpec {
    /// Its reference.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
}

/// What the images are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStackStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Ready`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// Id of the stack.
    #[serde(skip_serializing_if = "is_default")]
    pub id: String,
    /// The build image.
    pub build_image: StackImage,
    /// The run image.
    pub run_image: StackImage,
    /// Mixins of both images.
    #[serde(skip_serializing_if = "is_default")]
    pub mixins: Vec<String>,
    /// User that builds run as.
    #[serde(skip_serializing_if = "is_default")]
    pub user_id: i64,
    /// Group that builds run as.
    #[serde(skip_serializing_if = "is_default")]
    pub group_id: i64,
}

/// An image as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StackImage {
    /// The image by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub latest_image: String,
    /// The reference as the user wrote it.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
}

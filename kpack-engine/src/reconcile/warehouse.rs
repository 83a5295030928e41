//! [`Warehouse`]: images, as reconcilers need them.

use rebuild_policy::{
    BuildStack, BuildpackMetadata, BuildpackStatus, ClusterStackSpec, ClusterStackStatus, ImageFacts, OrderEntry,
    ResolvedLifecycle, ResolvedOrderEntry, StoreImage,
};

use super::Account;

/// Reads buildpackages, stacks and lifecycles, and makes builder images.
pub trait Warehouse: Send + Sync {
    /// Reads the buildpacks that the images hold, sorted by `id@version`.
    ///
    /// # Errors
    /// When one of them is missing, unreadable or no buildpackage.
    fn buildpacks(&self, images: &[StoreImage], account: &Account) -> Result<Vec<BuildpackStatus>, WarehouseError>;

    /// Reads the images of a stack. Conditions and generation of the result are not filled in.
    ///
    /// # Errors
    /// When one of them is missing or unreadable, or they do not belong together.
    fn stack(&self, spec: &ClusterStackSpec, account: &Account) -> Result<ClusterStackStatus, WarehouseError>;

    /// Reads a lifecycle image.
    ///
    /// # Errors
    /// When it is missing, unreadable or no lifecycle.
    fn lifecycle(&self, image: &str, account: &Account) -> Result<ResolvedLifecycle, WarehouseError>;

    /// Makes and pushes a builder image, and copies its run image beside it.
    ///
    /// # Errors
    /// When the order cannot be resolved, parts do not fit together, or the registry refuses.
    fn builder(&self, inputs: &BuilderInputs<'_>) -> Result<BuilderRecord, WarehouseError>;

    /// Reads labels, environment and system of an image.
    ///
    /// # Errors
    /// When it is missing or unreadable.
    fn facts(&self, image: &str, account: &Account) -> Result<ImageFacts, WarehouseError>;
}

/// An object that holds buildpacks, and who may read them.
#[derive(Clone, Debug)]
pub struct Held {
    /// `Buildpack`, `ClusterBuildpack` or `ClusterStore`.
    pub kind: cnb_order::OwnerKind,
    /// Name of the object.
    pub name: String,
    /// What it holds.
    pub buildpacks: Vec<BuildpackStatus>,
    /// Whose secrets read the images.
    pub account: Account,
}

/// What a builder is made of.
#[derive(Clone, Copy, Debug)]
pub struct BuilderInputs<'a> {
    /// Where the image is pushed, fully resolved.
    pub tag: &'a str,
    /// The order that is wanted.
    pub order: &'a [OrderEntry],
    /// Labels that are wanted.
    pub additional_labels: &'a std::collections::BTreeMap<String, String>,
    /// The stack, as it was read.
    pub stack: &'a ClusterStackStatus,
    /// Whose secrets read the stack's images.
    pub stack_account: &'a Account,
    /// The lifecycle, as it was read.
    pub lifecycle: &'a ResolvedLifecycle,
    /// Whose secrets read the lifecycle.
    pub lifecycle_account: &'a Account,
    /// Where buildpacks may come from, in the order of precedence.
    pub held: &'a [Held],
    /// Whose secrets push the builder.
    pub account: &'a Account,
}

/// A builder that was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuilderRecord {
    /// The builder image, by tag and digest.
    pub image: String,
    /// The relocated run image and the stack's id.
    pub stack: BuildStack,
    /// The lifecycle in it.
    pub lifecycle: ResolvedLifecycle,
    /// Every buildpack in it.
    pub buildpacks: Vec<BuildpackMetadata>,
    /// The order with versions.
    pub order: Vec<ResolvedOrderEntry>,
    /// Operating system of the image.
    pub os: String,
}

/// Why an image could not be read or made. The message becomes that of a condition.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WarehouseError {
    /// What is wrong.
    pub message: String,
    /// Whether trying again without any change may help.
    pub retryable: bool,
    /// Whether the registry has answered that an image, or a part of it, is not there.
    pub absent: bool,
    /// The cause.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl WarehouseError {
    /// Makes an error that stays until something changes.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
            absent: false,
            source: None,
        }
    }

    /// Makes an error from a cause, whose whole chain becomes the message.
    pub fn caused_by(error: impl std::error::Error + Send + Sync + 'static, retryable: bool) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self {
            message,
            retryable,
            absent: false,
            source: Some(Box::new(error)),
        }
    }
}

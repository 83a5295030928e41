//! [`Proposal`]: objects as they would be.

use serde_json::Value;

use super::Present;
use crate::decode::DecodeError;
use crate::resource::{
    Builder, Buildpack, ClusterBuilder, ClusterBuildpack, ClusterLifecycle, ClusterStack, ClusterStore, Image,
};

/// Objects as they would be: each replaces the present one of its kind and name, or is new.
///
/// A stack is told by the digests in its status or, before it was read, by those in its specification; a store or
/// buildpack by the list in its status; a lifecycle by the version in its status.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    pub(super) images: Vec<Image>,
    pub(super) builders: Vec<Builder>,
    pub(super) cluster_builders: Vec<ClusterBuilder>,
    pub(super) stacks: Vec<ClusterStack>,
    pub(super) stores: Vec<ClusterStore>,
    pub(super) lifecycles: Vec<ClusterLifecycle>,
    pub(super) buildpacks: Vec<Buildpack>,
    pub(super) cluster_buildpacks: Vec<ClusterBuildpack>,
}

/// Why something is no proposal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// An object cannot be read.
    #[error("{kind} {name} cannot be read")]
    Decode {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Which field, and what is wrong with it.
        source: DecodeError,
    },
    /// An object is of a kind that a plan cannot follow.
    #[error(
        "a plan can follow changes of images, builders, stacks, stores, lifecycles and buildpacks, but not of {kind:?}"
    )]
    Kind {
        /// The kind.
        kind: String,
    },
    /// A stack does not say which run image it stands for.
    #[error(
        "ClusterStack {name} does not pin its run image: give status.runImage.latestImage or spec.runImage.image with a \
         digest, so that the plan holds whatever becomes of the tag"
    )]
    UnpinnedRunImage {
        /// The stack.
        name: String,
    },
    /// A lifecycle does not say which version it is.
    #[error("ClusterLifecycle {name} does not tell its version: give status.version")]
    UnknownLifecycle {
        /// The lifecycle.
        name: String,
    },
    /// Nothing is proposed.
    #[error("nothing is proposed: give at least one object")]
    Empty,
}

impl Proposal {
    /// Reads the objects of the API that would be.
    ///
    /// # Errors
    /// When there is none, one cannot be read or is of another kind, or a stack or lifecycle does not tell what is in it.
    pub fn from_objects<'o>(objects: impl IntoIterator<Item = &'o Value>) -> Result<Self, ProposalError> {
        let mut read = Present::default();
        let mut count = 0;
        for object in objects {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let kind = text(&object["kind"]);
            if !KINDS.contains(&kind.as_str()) {
                return Err(ProposalError::Kind { kind });
            }
            read.add(object).map_err(|source| ProposalError::Decode {
                kind,
                name: text(&object["metadata"]["name"]),
                source,
            })?;
            count += 1;
        }
        if count == 0 {
            return Err(ProposalError::Empty);
        }
        Self::checked(read)
    }

    fn checked(read: Present) -> Result<Self, ProposalError> {
        for stack in &read.stacks {
            if !run_image(stack).contains("@sha256:") {
                return Err(ProposalError::UnpinnedRunImage {
                    name: stack.metadata.name.clone(),
                });
            }
        }
        let unknown = read
            .lifecycles
            .iter()
            .find(|one| one.status.lifecycle.version.is_empty());
        if let Some(unknown) = unknown {
            return Err(ProposalError::UnknownLifecycle {
                name: unknown.metadata.name.clone(),
            });
        }
        Ok(Self {
            images: read.images,
            builders: read.builders,
            cluster_builders: read.cluster_builders,
            stacks: read.stacks,
            stores: read.stores,
            lifecycles: read.lifecycles,
            buildpacks: read.buildpacks,
            cluster_buildpacks: read.cluster_buildpacks,
        })
    }
}

const KINDS: [&str; 8] = [
    "Image",
    "Builder",
    "ClusterBuilder",
    "ClusterStack",
    "ClusterStore",
    "ClusterLifecycle",
    "Buildpack",
    "ClusterBuildpack",
];

/// The run image that a stack stands for: what its specification pins, else what was found when it was read.
pub(super) fn run_image(stack: &ClusterStack) -> &str {
    if is_about_its_specification(stack) && !stack.status.run_image.latest_image.is_empty() {
        &stack.status.run_image.latest_image
    } else {
        &stack.spec.run_image.image
    }
}

/// The id of a stack, from the same part.
pub(super) fn stack_id(stack: &ClusterStack) -> &str {
    let (wanted, found) = (stack.spec.id.as_str(), stack.status.id.as_str());
    if wanted.is_empty() || (is_about_its_specification(stack) && !found.is_empty()) {
        found
    } else {
        wanted
    }
}

/// Whether the status is about the images that are wanted now, not about earlier ones.
fn is_about_its_specification(stack: &ClusterStack) -> bool {
    let (wanted, found) = (&stack.spec.run_image.image, &stack.status.run_image.image);
    wanted.is_empty() || found.is_empty() || found == wanted
}

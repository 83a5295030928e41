//! What a proposal makes of builders.

use std::collections::{BTreeMap, HashMap};

use cnb_order::{Catalog, CatalogObject, OrderGroup, OwnerKind, resolve_order};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::present::{BuilderKey, Present};
use super::proposal::{Proposal, run_image, stack_id};
use crate::decide::BuilderView;
use crate::resource::{
    BuilderStatus, BuildpackMetadata, BuildpackStatus, ClusterLifecycle, ClusterStack, ObjectMeta, ObjectReference,
    OrderEntry, Resource,
};

/// A builder that is made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuilderEffect {
    /// Its namespace; empty for a ClusterBuilder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub outcome: BuilderOutcome,
}

/// What becomes of a builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
#[non_exhaustive]
pub enum BuilderOutcome {
    /// It is made with other parts.
    Remade {
        /// Which parts are others: `stack` (the run image or the id), `build image`, `lifecycle`, `buildpacks`,
        /// `specification`.
        parts: Vec<&'static str>,
    },
    /// It cannot be made, and the present one stays in use.
    Impossible {
        /// Why.
        problem: String,
    },
}

/// A builder as it would be.
struct After<'a> {
    kind: &'static str,
    metadata: &'a ObjectMeta,
    status: BuilderStatus,
    outcome: BuilderOutcome,
}

/// The builders that a proposal concerns.
pub(super) struct Effects<'a>(BTreeMap<BuilderKey<'a>, After<'a>>);

impl<'a> Effects<'a> {
    pub(super) fn new(present: &'a Present, proposal: &'a Proposal) -> Self {
        let world = World::new(present, proposal);
        let mut effects = BTreeMap::new();
        let present_one = |key: &BuilderKey<'_>| {
            present
                .builders
                .iter()
                .find(|one| key_of(&one.metadata) == *key)
                .map(|one| &one.status)
        };
        let namespaced = with_replacements(&present.builders, &proposal.builders);
        for (builder, is_new) in namespaced {
            let key = key_of(&builder.metadata);
            let wanted = Wanted {
                kind: "Builder",
                metadata: &builder.metadata,
                stack: &builder.spec.stack,
                lifecycle: &builder.spec.lifecycle,
                store: &builder.spec.store,
                order: &builder.spec.order,
                is_new,
                status: if is_new {
                    present_one(&key).unwrap_or(&builder.status)
                } else {
                    &builder.status
                },
            };
            effects.extend(world.after(&wanted).map(|after| (key, after)));
        }
        let present_one = |name: &str| {
            present
                .cluster_builders
                .iter()
                .find(|one| one.metadata.name == name)
                .map(|one| &one.status)
        };
        for (builder, is_new) in with_replacements(&present.cluster_builders, &proposal.cluster_builders) {
            let name = builder.metadata.name.as_str();
            let wanted = Wanted {
                kind: "ClusterBuilder",
                metadata: &builder.metadata,
                stack: &builder.spec.stack,
                lifecycle: &builder.spec.lifecycle,
                store: &builder.spec.store,
                order: &builder.spec.order,
                is_new,
                status: if is_new {
                    present_one(name).unwrap_or(&builder.status)
                } else {
                    &builder.status
                },
            };
            effects.extend(
                world
                    .after(&wanted)
                    .map(|after| (BuilderKey { namespace: "", name }, after)),
            );
        }
        Self(effects)
    }

    pub(super) fn concern(&self, key: &BuilderKey<'_>) -> bool {
        self.0.contains_key(key)
    }

    /// The builder as it would be; `None` when nothing concerns it.
    pub(super) fn after<'s>(&'s self, key: &BuilderKey<'s>) -> Option<BuilderView<'s>> {
        self.0.get(key).map(|after| BuilderView {
            kind: after.kind,
            metadata: after.metadata,
            status: &after.status,
        })
    }

    pub(super) fn into_list(self) -> Vec<BuilderEffect> {
        let effects = self.0.into_iter().map(|(key, after)| BuilderEffect {
            namespace: key.namespace.to_owned(),
            name: key.name.to_owned(),
            outcome: after.outcome,
        });
        effects.collect()
    }
}

fn key_of(metadata: &ObjectMeta) -> BuilderKey<'_> {
    BuilderKey {
        namespace: &metadata.namespace,
        name: &metadata.name,
    }
}

/// All objects, those that are proposed (`true`) in the place of the present ones.
fn with_replacements<'a, S: Default, T: Default>(
    present: &'a [Resource<S, T>],
    proposed: &'a [Resource<S, T>],
) -> impl Iterator<Item = (&'a Resource<S, T>, bool)> {
    let replaced = |object: &Resource<S, T>| {
        proposed
            .iter()
            .any(|new| new.metadata.name == object.metadata.name && new.metadata.namespace == object.metadata.namespace)
    };
    let kept = present.iter().filter(move |object| !replaced(object));
    kept.map(|object| (object, false))
        .chain(proposed.iter().map(|object| (object, true)))
}

/// What a builder of either kind wants.
struct Wanted<'a> {
    kind: &'static str,
    metadata: &'a ObjectMeta,
    stack: &'a ObjectReference,
    lifecycle: &'a ObjectReference,
    store: &'a ObjectReference,
    order: &'a [OrderEntry],
    /// Whether the builder itself is proposed.
    is_new: bool,
    /// How it stands now.
    status: &'a BuilderStatus,
}

/// Everything that builders are made of, with what is proposed.
struct World<'a> {
    present: &'a Present,
    proposal: &'a Proposal,
    stores: HashMap<&'a str, CatalogObject>,
    cluster_buildpacks: Vec<CatalogObject>,
    buildpacks: HashMap<&'a str, Vec<CatalogObject>>,
    sees_buildpacks: bool,
}

impl<'a> World<'a> {
    fn new(present: &'a Present, proposal: &'a Proposal) -> Self {
        let sees_buildpacks = !(proposal.stores.is_empty()
            && proposal.cluster_buildpacks.is_empty()
            && proposal.buildpacks.is_empty()
            && proposal.builders.is_empty()
            && proposal.cluster_builders.is_empty());
        let mut world = Self {
            present,
            proposal,
            stores: HashMap::new(),
            cluster_buildpacks: Vec::new(),
            buildpacks: HashMap::new(),
            sees_buildpacks,
        };
        if !sees_buildpacks {
            return world;
        }
        for (store, _) in with_replacements(&present.stores, &proposal.stores) {
            let held = held(OwnerKind::ClusterStore, &store.metadata, &store.status.buildpacks);
            world.stores.insert(&store.metadata.name, held);
        }
        for (one, _) in with_replacements(&present.cluster_buildpacks, &proposal.cluster_buildpacks) {
            let held = held(OwnerKind::ClusterBuildpack, &one.metadata, &one.status.buildpacks);
            world.cluster_buildpacks.push(held);
        }
        world.cluster_buildpacks.sort_by(|one, other| one.name.cmp(&other.name));
        for (one, _) in with_replacements(&present.buildpacks, &proposal.buildpacks) {
            let held = held(OwnerKind::Buildpack, &one.metadata, &one.status.buildpacks);
            world.buildpacks.entry(&one.metadata.namespace).or_default().push(held);
        }
        for list in world.buildpacks.values_mut() {
            list.sort_by(|one, other| one.name.cmp(&other.name));
        }
        world
    }

    /// What becomes of a builder; `None` when nothing concerns it.
    fn after(&self, wanted: &Wanted<'a>) -> Option<After<'a>> {
        let mut after = After {
            kind: wanted.kind,
            metadata: wanted.metadata,
            status: wanted.status.clone(),
            outcome: BuilderOutcome::Remade { parts: Vec::new() },
        };
        let mut parts = Vec::new();
        if let Some(stack) = self.stack(wanted) {
            if set_stack(&mut after.status, stack) {
                parts.push("stack");
            }
            if self.has_other_build_image(stack) {
                parts.push("build image");
            }
        }
        if let Some(lifecycle) = self.lifecycle(wanted) {
            let version = &lifecycle.status.lifecycle.version;
            if after.status.lifecycle.version != *version {
                after.status.lifecycle.version.clone_from(version);
                parts.push("lifecycle");
            }
        }
        if self.sees_buildpacks && self.may_see_others(wanted) {
            match self.buildpacks(wanted) {
                Ok(buildpacks) => {
                    if !same_set(&after.status.builder_metadata, &buildpacks) {
                        parts.push("buildpacks");
                    }
                    after.status.builder_metadata = buildpacks;
                }
                Err(problem) => {
                    return Some(After {
                        status: wanted.status.clone(),
                        outcome: BuilderOutcome::Impossible { problem },
                        ..after
                    });
                }
            }
        }
        if wanted.is_new {
            parts.push("specification");
        }
        // The status is then about the new specification.
        after.status.observed_generation = wanted.metadata.generation;
        if parts.is_empty() {
            return None;
        }
        after.outcome = BuilderOutcome::Remade { parts };
        Some(after)
    }

    /// Another build image makes another builder, too, but is nobody's reason to build.
    fn has_other_build_image(&self, stack: &ClusterStack) -> bool {
        let present = self
            .present
            .stacks
            .iter()
            .find(|one| one.metadata.name == stack.metadata.name);
        present.is_some_and(|present| build_image(present) != build_image(stack))
    }

    fn stack(&self, wanted: &Wanted<'_>) -> Option<&'a ClusterStack> {
        let named = |stack: &&ClusterStack| stack.metadata.name == wanted.stack.name;
        let proposed = self.proposal.stacks.iter().find(named);
        let present = || self.present.stacks.iter().find(named).filter(|_| wanted.is_new);
        proposed.or_else(present)
    }

    fn lifecycle(&self, wanted: &Wanted<'_>) -> Option<&'a ClusterLifecycle> {
        let name = match wanted.lifecycle.name.as_str() {
            "" => "default-lifecycle",
            name => name,
        };
        let named = |lifecycle: &&ClusterLifecycle| lifecycle.metadata.name == name;
        let proposed = self.proposal.lifecycles.iter().find(named);
        let present = || self.present.lifecycles.iter().find(named).filter(|_| wanted.is_new);
        proposed.or_else(present)
    }

    /// Whether the proposal has anything that this builder takes buildpacks from.
    fn may_see_others(&self, wanted: &Wanted<'_>) -> bool {
        wanted.is_new
            || !self.proposal.cluster_buildpacks.is_empty()
            || self
                .proposal
                .stores
                .iter()
                .any(|store| store.metadata.name == wanted.store.name)
            || self
                .proposal
                .buildpacks
                .iter()
                .any(|one| !wanted.metadata.namespace.is_empty() && one.metadata.namespace == wanted.metadata.namespace)
    }

    /// The buildpacks that the builder's order comes to.
    fn buildpacks(&self, wanted: &Wanted<'_>) -> Result<Vec<BuildpackMetadata>, String> {
        let order = wanted.order.iter().map(convert::<_, OrderGroup>);
        let order: Vec<OrderGroup> = order.collect::<Result<_, _>>()?;
        let own = self
            .buildpacks
            .get(wanted.metadata.namespace.as_str())
            .into_iter()
            .flatten();
        let store = self.stores.get(wanted.store.name.as_str());
        let objects = own.chain(&self.cluster_buildpacks).chain(store).cloned().collect();
        let catalog = Catalog { objects };
        let resolved = resolve_order(&order, &catalog).map_err(|error| error.to_string())?;
        let mut found: Vec<BuildpackMetadata> = Vec::new();
        for buildpack in &resolved.buildpacks {
            let metadata = BuildpackMetadata {
                id: buildpack.item.id.to_string(),
                version: buildpack.item.version.to_string(),
                homepage: buildpack.item.homepage.clone(),
            };
            if !found.contains(&metadata) {
                found.push(metadata);
            }
        }
        Ok(found)
    }
}

fn held(kind: OwnerKind, metadata: &ObjectMeta, buildpacks: &[BuildpackStatus]) -> CatalogObject {
    CatalogObject {
        kind,
        name: metadata.name.clone(),
        // What a status lists was read from labels by the same rules, so that nothing is left out here.
        buildpacks: buildpacks.iter().filter_map(|one| convert(one).ok()).collect(),
    }
}

fn convert<T: Serialize, U: DeserializeOwned>(value: &T) -> Result<U, String> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    value.map_err(|error| error.to_string())
}

fn same_set(one: &[BuildpackMetadata], other: &[BuildpackMetadata]) -> bool {
    let has = |list: &[BuildpackMetadata], wanted: &BuildpackMetadata| {
        list.iter()
            .any(|one| one.id == wanted.id && one.version == wanted.version)
    };
    one.iter().all(|each| has(other, each)) && other.iter().all(|each| has(one, each))
}

/// Puts the stack's run image beside the builder, as making the builder would; tells whether that is another one.
fn set_stack(status: &mut BuilderStatus, stack: &ClusterStack) -> bool {
    let id = stack_id(stack);
    let digest = run_image(stack).rsplit_once('@').map_or("", |(_, digest)| digest);
    let (place, old) = status
        .stack
        .run_image
        .rsplit_once('@')
        .unwrap_or((&status.stack.run_image, ""));
    let changed = old != digest || (!id.is_empty() && status.stack.id != id);
    let place = if place.is_empty() { "builder-run-image" } else { place };
    let run_image = format!("{place}@{digest}");
    status.stack.run_image = run_image;
    if !id.is_empty() {
        id.clone_into(&mut status.stack.id);
    }
    changed
}

fn build_image(stack: &ClusterStack) -> &str {
    match stack.status.build_image.latest_image.as_str() {
        "" => &stack.spec.build_image.image,
        found => found,
    }
}

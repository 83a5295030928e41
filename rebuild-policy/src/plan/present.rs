//! [`Present`]: the objects as they are, and how to find one's way among them.

use std::collections::HashMap;

use serde_json::Value;

use crate::decide::BuilderView;
use crate::decode::{DecodeError, decode};
use crate::history::latest_of;
use crate::key::IMAGE_LABEL;
use crate::resource::{
    Build, Builder, Buildpack, ClusterBuilder, ClusterBuildpack, ClusterLifecycle, ClusterStack, ClusterStore, Image,
    SourceResolver,
};

/// The objects that a plan looks at, as they are.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Images.
    pub images: Vec<Image>,
    /// Their Builds.
    pub builds: Vec<Build>,
    /// Their sources.
    pub sources: Vec<SourceResolver>,
    /// Builders.
    pub builders: Vec<Builder>,
    /// ClusterBuilders.
    pub cluster_builders: Vec<ClusterBuilder>,
    /// ClusterStacks.
    pub stacks: Vec<ClusterStack>,
    /// ClusterStores.
    pub stores: Vec<ClusterStore>,
    /// ClusterLifecycles.
    pub lifecycles: Vec<ClusterLifecycle>,
    /// Buildpacks.
    pub buildpacks: Vec<Buildpack>,
    /// ClusterBuildpacks.
    pub cluster_buildpacks: Vec<ClusterBuildpack>,
}

impl Present {
    /// Adds an object of the API; one of another kind is passed over.
    ///
    /// # Errors
    /// When a field has the wrong type.
    pub fn add(&mut self, object: &Value) -> Result<(), DecodeError> {
        match object["kind"].as_str().unwrap_or_default() {
            "Image" => self.images.push(decode(object)?),
            "Build" => self.add_build(decode(object)?),
            "SourceResolver" => self.sources.push(decode(object)?),
            "Builder" => self.builders.push(decode(object)?),
            "ClusterBuilder" => self.cluster_builders.push(decode(object)?),
            "ClusterStack" => self.stacks.push(decode(object)?),
            "ClusterStore" => self.stores.push(decode(object)?),
            "ClusterLifecycle" => self.lifecycles.push(decode(object)?),
            "Buildpack" => self.buildpacks.push(decode(object)?),
            "ClusterBuildpack" => self.cluster_buildpacks.push(decode(object)?),
            _ => {}
        }
        Ok(())
    }

    /// Adds a Build. Of its steps only is kept how long they took, in seconds: their states take more room than all the
    /// rest.
    pub fn add_build(&mut self, mut build: Build) {
        let seconds = super::cost::duration(&build).map(Value::from);
        build.status.step_states = seconds.into_iter().collect();
        build.metadata.managed_fields = Vec::new();
        self.builds.push(build);
    }

    /// Reads objects of the API; those of other kinds are passed over.
    ///
    /// # Errors
    /// When a field has the wrong type.
    pub fn from_objects<'o>(objects: impl IntoIterator<Item = &'o Value>) -> Result<Self, DecodeError> {
        let mut present = Self::default();
        objects.into_iter().try_for_each(|object| present.add(object))?;
        Ok(present)
    }
}

/// A Builder (of a namespace) or ClusterBuilder (the namespace is empty).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BuilderKey<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> BuilderKey<'a> {
    /// The builder that an image names.
    pub(super) fn of(image: &'a Image) -> Self {
        let reference = &image.spec.builder;
        Self {
            namespace: if reference.kind == "Builder" {
                &image.metadata.namespace
            } else {
                ""
            },
            name: &reference.name,
        }
    }
}

type NameKey<'a> = (&'a str, &'a str);

/// Finds what belongs to an image, in constant time.
pub(super) struct Index<'a> {
    images: HashMap<NameKey<'a>, &'a Image>,
    sources: HashMap<NameKey<'a>, &'a SourceResolver>,
    builders: HashMap<BuilderKey<'a>, BuilderView<'a>>,
    /// Builds of the same image are neighbours, found by where they begin and end.
    builds: Vec<&'a Build>,
    ranges: HashMap<NameKey<'a>, (u32, u32)>,
}

fn image_of(build: &Build) -> NameKey<'_> {
    let image = build.metadata.labels.get(IMAGE_LABEL).map_or("", String::as_str);
    (&build.metadata.namespace, image)
}

impl<'a> Index<'a> {
    pub(super) fn new(present: &'a Present) -> Self {
        let mut builds: Vec<&Build> = present.builds.iter().collect();
        builds.sort_by_cached_key(|build| image_of(build));
        let mut ranges: HashMap<NameKey<'a>, (u32, u32)> = HashMap::with_capacity(present.images.len());
        for (at, build) in (0_u32..).zip(&builds) {
            ranges.entry(image_of(build)).or_insert((at, at)).1 = at + 1;
        }
        let builders = present.builders.iter().map(|builder| {
            let metadata = &builder.metadata;
            let key = BuilderKey {
                namespace: &metadata.namespace,
                name: &metadata.name,
            };
            (key, builder.into())
        });
        let cluster_builders = present.cluster_builders.iter().map(|builder| {
            (
                BuilderKey {
                    namespace: "",
                    name: &builder.metadata.name,
                },
                builder.into(),
            )
        });
        let source = |source: &'a SourceResolver| {
            (
                (source.metadata.namespace.as_str(), source.metadata.name.as_str()),
                source,
            )
        };
        let image = |image: &'a Image| ((image.metadata.namespace.as_str(), image.metadata.name.as_str()), image);
        Self {
            images: present.images.iter().map(image).collect(),
            sources: present.sources.iter().map(source).collect(),
            builders: builders.chain(cluster_builders).collect(),
            builds,
            ranges,
        }
    }

    pub(super) fn has_image(&self, image: &Image) -> bool {
        self.images
            .contains_key(&(image.metadata.namespace.as_str(), image.metadata.name.as_str()))
    }

    pub(super) fn builder(&self, key: &BuilderKey<'_>) -> Option<BuilderView<'a>> {
        self.builders.get(key).copied()
    }

    pub(super) fn source(&self, image: &Image) -> Option<&'a SourceResolver> {
        let name = crate::dependents::source_resolver_name(image);
        self.sources
            .get(&(image.metadata.namespace.as_str(), name.as_str()))
            .copied()
    }

    pub(super) fn builds(&self, image: &Image) -> impl Iterator<Item = &'a Build> {
        let key = (image.metadata.namespace.as_str(), image.metadata.name.as_str());
        let (from, to) = self.ranges.get(&key).copied().unwrap_or_default();
        self.builds[from as usize..to as usize].iter().copied()
    }

    pub(super) fn last_build(&self, image: &Image) -> Option<&'a Build> {
        latest_of(self.builds(image))
    }
}

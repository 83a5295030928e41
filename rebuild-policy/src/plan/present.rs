//! [`Present`]: the objects as they are, and how to find one's way among them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::thread;

use serde_json::Value;

use crate::decide::BuilderView;
use crate::decode::{DecodeError, decode};
use crate::key::IMAGE_LABEL;
use crate::resource::{
    Build, Builder, Buildpack, ClusterBuilder, ClusterBuildpack, ClusterLifecycle, ClusterStack, ClusterStore, Image,
    ObjectMeta, SourceResolver,
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

/// Namespace and name.
pub(super) type NameKey<'a> = (&'a str, &'a str);

/// Finds what belongs to an image, in constant time.
pub(super) struct Index<'a> {
    /// Present and proposed images, numbered.
    numbers: HashMap<NameKey<'a>, u32>,
    sources: HashMap<NameKey<'a>, &'a SourceResolver>,
    builders: HashMap<BuilderKey<'a>, BuilderView<'a>>,
    /// Builds of the same image are neighbours: those of image number n stand before the end of n, from that of n - 1.
    builds: Vec<&'a Build>,
    ends: Vec<u32>,
}

pub(super) fn name_of(metadata: &ObjectMeta) -> NameKey<'_> {
    (&metadata.namespace, &metadata.name)
}

fn image_of(build: &Build) -> NameKey<'_> {
    let image = build.metadata.labels.get(IMAGE_LABEL).map_or("", String::as_str);
    (&build.metadata.namespace, image)
}

impl<'a> Index<'a> {
    /// `proposed` are images that may not be there yet, whose builds are of interest all the same. Two threads share the
    /// work if they may.
    pub(super) fn new(present: &'a Present, proposed: &'a [Image], threads: NonZeroUsize) -> Self {
        let sources = || -> HashMap<NameKey<'a>, &'a SourceResolver> {
            let named = |source: &'a SourceResolver| (name_of(&source.metadata), source);
            present.sources.iter().map(named).collect()
        };
        if threads == NonZeroUsize::MIN {
            return Self::with_sources(present, proposed, sources);
        }
        thread::scope(|scope| {
            let other = scope.spawn(sources);
            Self::with_sources(present, proposed, || {
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// `sources` is asked last.
    fn with_sources(
        present: &'a Present,
        proposed: &'a [Image],
        sources: impl FnOnce() -> HashMap<NameKey<'a>, &'a SourceResolver>,
    ) -> Self {
        let mut numbers: HashMap<NameKey<'a>, u32> = HashMap::with_capacity(present.images.len() + proposed.len());
        for image in present.images.iter().chain(proposed) {
            let next = u32::try_from(numbers.len()).expect("images that fit into memory");
            numbers.entry(name_of(&image.metadata)).or_insert(next);
        }
        let (builds, ends) = by_image(&present.builds, &numbers);
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
        Self {
            numbers,
            builders: builders.chain(cluster_builders).collect(),
            builds,
            ends,
            sources: sources(),
        }
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

    /// The builds of an image, in the order in which they were given.
    pub(super) fn builds(&self, image: &Image) -> &[&'a Build] {
        let Some(number) = self
            .numbers
            .get(&name_of(&image.metadata))
            .map(|number| *number as usize)
        else {
            return &[];
        };
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.builds[begin as usize..self.ends[number] as usize]
    }
}

/// Sorts builds by the numbers of their images, keeping the order of those of the same image, and says where each
/// number's end. Builds of no image are left out.
fn by_image<'a>(builds: &'a [Build], numbers: &HashMap<NameKey<'_>, u32>) -> (Vec<&'a Build>, Vec<u32>) {
    let found: Vec<(u32, &Build)> = builds
        .iter()
        .filter_map(|build| Some((*numbers.get(&image_of(build))?, build)))
        .collect();
    let mut ends = vec![0_u32; numbers.len()];
    for (number, _) in &found {
        ends[*number as usize] += 1;
    }
    let mut end = 0;
    for count in &mut ends {
        end += *count;
        *count = end;
    }
    let mut free = ends.clone();
    let mut sorted: Vec<&Build> = found.iter().map(|(_, build)| *build).collect();
    for (number, build) in found.iter().rev() {
        let place = &mut free[*number as usize];
        *place -= 1;
        sorted[*place as usize] = build;
    }
    (sorted, ends)
}

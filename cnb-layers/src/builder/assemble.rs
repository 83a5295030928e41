use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use cnb_order::{
    BuilderBuildpack, BuilderMetadata, BuildpackLayer, BuildpackLayersLabel, CreatedBy, Group, LifecycleApis,
    LifecycleMetadata, Order, OrderLabel, RunImageMetadata, StackMetadata, StoredBuildpack, TomlTable, TomlValue,
    go_toml,
};
use registry_auth::{Digest, Reference};

use super::{LifecycleInfo, MisfitError, StackInfo, check_fit};
use crate::copy::{Wanted, copy_wanted};
use crate::{
    Compression, CopyError, CopyEvent, Descriptor, DiffId, History, Image, ImageDraft, ImageError, ImageSource,
    ImageTarget, Layer, LayerBuilder, UploadError, copy_resolved_image, media_type, push_image, upload_layer,
};

/// What a builder's tag gets at its end to name its run image.
pub const RUN_IMAGE_SUFFIX: &str = "-run-image";

/// An image, and where it was found.
#[derive(Clone)]
pub struct Located<'a> {
    /// From where its layers are read.
    pub source: &'a dyn ImageSource,
    /// Its reference there.
    pub reference: Reference,
    /// The image.
    pub image: Image,
}

/// The buildpack of a builder, and from where its layer is read.
#[derive(Clone)]
pub struct BuildpackLayerSource<'a> {
    /// The buildpack, as the store lists it.
    pub buildpack: StoredBuildpack,
    /// From where its layer is read.
    pub source: &'a dyn ImageSource,
    /// The image that holds the layer.
    pub reference: Reference,
}

impl fmt::Debug for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Located({})", self.reference)
    }
}

impl fmt::Debug for BuildpackLayerSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BuildpackLayerSource({}@{} in {})",
            self.buildpack.id, self.buildpack.version, self.reference
        )
    }
}

/// What a builder is made of.
#[derive(Clone, Debug)]
pub struct BuilderInputs<'a> {
    /// The stack's build image, which the builder is put on.
    pub build_image: Located<'a>,
    /// The run image's name, as the builder is to record it: see [`relocate_run_image`].
    pub run_image: String,
    /// The lifecycle image; its last layer is taken.
    pub lifecycle_image: Located<'a>,
    /// The lifecycle image's name for error messages, as the user wrote it.
    pub lifecycle_name: String,
    /// What the lifecycle image says of itself.
    pub lifecycle: LifecycleInfo,
    /// What the stack's images say of it.
    pub stack: StackInfo,
    /// The buildpacks, with all that composites consist of. Repetitions do no harm.
    pub buildpacks: Vec<BuildpackLayerSource<'a>>,
    /// The order, every entry with its version.
    pub order: Vec<Group>,
    /// Labels that the user adds.
    pub labels: BTreeMap<String, String>,
    /// The version of kpack that is recorded, such as `v0.17.2 (git sha: 1234567)`.
    pub created_by_version: String,
}

/// A builder that was written.
#[derive(Clone, Debug)]
pub struct AssembledBuilder {
    /// The image.
    pub image: Image,
    /// Its buildpacks, in the order of their layers.
    pub buildpacks: Vec<BuilderBuildpack>,
}

/// Why a builder could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The build image is for Windows.
    #[error("windows base images are not supported")]
    Windows,
    /// There is no layer in the lifecycle image.
    #[error("failed to find lifecycle layer: failed to find lifecycle image layers")]
    NoLifecycleLayer,
    /// The lifecycle is for another platform than the build image.
    #[error("validating lifecycle image {image}: expected platform to be {expected} but got {found}")]
    LifecyclePlatform {
        /// The lifecycle image's name.
        image: String,
        /// The build image's platform.
        expected: String,
        /// The lifecycle's.
        found: String,
    },
    /// The parts do not fit together.
    #[error(transparent)]
    Misfit(#[from] MisfitError),
    /// What is known of a buildpack's layer is malformed.
    #[error("unable to construct layer {what}: {text:?} of buildpack {buildpack} is none; read its store again")]
    InvalidLayer {
        /// `id@version`.
        buildpack: String,
        /// `diff id`, `digest` or `size`.
        what: &'static str,
        /// Its text.
        text: String,
    },
    /// A tag for the run image cannot be made of the builder's.
    #[error("could not parse reference: {text}")]
    Reference {
        /// The tag.
        text: String,
    },
    /// A new layer could not be stored.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// An image could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] ImageError),
}

/// Copies a stack's run image beside the builder, to `<tag>-run-image`, and returns the name to record:
/// that tag with the digest.
///
/// `more_tags` get it as well; they must be in the same repository.
///
/// # Errors
/// When `<tag>-run-image` is no reference (the tag has a digest or more than 118 characters), or copying fails.
pub fn relocate_run_image(
    run_image: &Located<'_>,
    target: &dyn ImageTarget,
    tag: &str,
    more_tags: &[Reference],
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<String, AssembleError> {
    let text = format!("{tag}{RUN_IMAGE_SUFFIX}");
    let reference = Reference::parse(&text).map_err(|_| AssembleError::Reference { text: text.clone() })?;
    let tags: Vec<Reference> = [reference].into_iter().chain(more_tags.iter().cloned()).collect();
    let digest = copy_resolved_image(
        run_image.source,
        &run_image.reference,
        &run_image.image,
        target,
        &tags,
        progress,
    )?;
    Ok(format!("{}@{digest}", tags[0]))
}

/// Makes a builder image and writes it to `tags`, as kpack does: on the build image come default
/// directories, the lifecycle, the buildpacks (largest first), stack.toml and order.toml.
///
/// Equal inputs give an equal image. Blobs that the target has are not sent; within one registry they are mounted; about
/// those that it is known to have (an earlier builder was read through it) it is not even asked.
///
/// # Errors
/// When the parts do not fit, or reading or writing fails; then no tag is written.
pub fn assemble_builder(
    inputs: &BuilderInputs<'_>,
    target: &dyn ImageTarget,
    tags: &[Reference],
    compression: Compression,
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<AssembledBuilder, AssembleError> {
    let repository = tags.first().ok_or(UploadError::NoTag)?.repository();
    check_platform(inputs)?;
    let buildpacks = in_layer_order(&inputs.buildpacks);
    let items: Vec<StoredBuildpack> = buildpacks.iter().map(|source| source.buildpack.clone()).collect();
    check_fit(&inputs.lifecycle, &inputs.stack, &items)?;

    let parts = parts(inputs, &buildpacks)?;
    let base = &inputs.build_image;
    let base_layers = base.image.layers();
    let of_base = base_layers.iter().map(|layer| Wanted {
        from: base.source,
        reference: &base.reference,
        blob: &layer.descriptor,
    });
    copy_wanted(
        of_base.chain(parts.iter().filter_map(Part::wanted)),
        target,
        repository,
        progress,
    )?;

    let mut draft = ImageDraft::of(&base.image);
    let mut there = HashSet::new();
    for part in parts {
        let layer = match part {
            Part::Taken { layer, .. } => *layer,
            Part::Made(content) => {
                let media_type = media_type::DOCKER_LAYER_GZIP;
                upload_layer(target, repository, &content, media_type, compression)?.0
            }
        };
        if there.insert(layer.diff_id.clone()) {
            draft.push_layer(layer, History::default());
        }
    }
    let listed = set_config(&mut draft, inputs, &items);
    let image = draft.finish();
    push_image(target, &image, repository, tags)?;
    Ok(AssembledBuilder {
        image,
        buildpacks: listed,
    })
}

/// A layer of a builder, above those of the build image.
enum Part<'a> {
    /// Made here.
    Made(LayerBuilder),
    /// Taken as it is.
    Taken {
        from: &'a dyn ImageSource,
        reference: &'a Reference,
        layer: Box<Layer>,
    },
}

impl Part<'_> {
    fn wanted(&self) -> Option<Wanted<'_>> {
        match self {
            Self::Made(_) => None,
            Self::Taken { from, reference, layer } => Some(Wanted {
                from: *from,
                reference,
                blob: &layer.descriptor,
            }),
        }
    }
}

/// The layers above those of the build image, bottom first. A layer that is there already is not repeated.
fn parts<'a>(
    inputs: &'a BuilderInputs<'_>,
    buildpacks: &'a [BuildpackLayerSource<'_>],
) -> Result<Vec<Part<'a>>, AssembleError> {
    let lifecycle = &inputs.lifecycle_image;
    let lifecycle_layers = lifecycle.image.layers();
    let layer = Box::new(lifecycle_layers.last().ok_or(AssembleError::NoLifecycleLayer)?.clone());
    let mut taken = HashSet::from([layer.diff_id.clone()]);
    let mut parts = vec![
        Part::Made(default_directories(inputs.stack.user_id, inputs.stack.group_id)),
        Part::Taken {
            from: lifecycle.source,
            reference: &lifecycle.reference,
            layer,
        },
    ];
    for buildpack in buildpacks {
        let layer = Box::new(layer_of(&buildpack.buildpack)?);
        if taken.insert(layer.diff_id.clone()) {
            parts.push(Part::Taken {
                from: buildpack.source,
                reference: &buildpack.reference,
                layer,
            });
        }
    }
    let run_image = TomlTable::new().text("image", &inputs.run_image);
    let stack = go_toml(&TomlTable::new().with("run-image", TomlValue::Table(run_image)));
    let order = Order {
        groups: inputs.order.clone(),
        ..Order::default()
    };
    let file = |path: &str, content: String| Part::Made(LayerBuilder::new().file(path, 0o644, 0, 0, content));
    parts.push(file("/cnb/stack.toml", stack));
    parts.push(file("/cnb/order.toml", order.to_toml()));
    Ok(parts)
}

fn check_platform(inputs: &BuilderInputs<'_>) -> Result<(), AssembleError> {
    let base = inputs.build_image.image.config();
    let lifecycle = inputs.lifecycle_image.image.config();
    if base.os == "windows" {
        return Err(AssembleError::Windows);
    }
    if inputs.lifecycle_image.image.manifest().layers.is_empty() {
        return Err(AssembleError::NoLifecycleLayer);
    }
    let fits = |a: &str, b: &str| a == b || a.is_empty() || b.is_empty();
    let same = base.os == lifecycle.os
        && fits(&base.architecture, &lifecycle.architecture)
        && fits(&base.variant, &lifecycle.variant);
    if same {
        return Ok(());
    }
    Err(AssembleError::LifecyclePlatform {
        image: inputs.lifecycle_name.clone(),
        expected: format!("{}/{}/{}", base.os, base.architecture, base.variant),
        found: format!("{}/{}/{}", lifecycle.os, lifecycle.architecture, lifecycle.variant),
    })
}

/// Returns the buildpacks with the largest (compressed) layer first, equal ones by `id@version` backwards.
/// Of several with the same id, version and home page the last counts.
fn in_layer_order<'a>(given: &[BuildpackLayerSource<'a>]) -> Vec<BuildpackLayerSource<'a>> {
    let mut distinct = BTreeMap::new();
    for source in given {
        let item = &source.buildpack;
        distinct.insert(
            (item.id.clone(), item.version.clone(), item.homepage.clone()),
            source.clone(),
        );
    }
    let mut sorted: Vec<_> = distinct.into_values().collect();
    let title = |source: &BuildpackLayerSource<'_>| format!("{}@{}", source.buildpack.id, source.buildpack.version);
    sorted.sort_by_key(|source| Reverse((source.buildpack.size, title(source))));
    sorted
}

fn layer_of(item: &StoredBuildpack) -> Result<Layer, AssembleError> {
    let invalid = |what, text: &str| AssembleError::InvalidLayer {
        buildpack: format!("{}@{}", item.id, item.version),
        what,
        text: text.to_owned(),
    };
    let diff_id: DiffId = item.diff_id.parse().map_err(|_| invalid("diff id", &item.diff_id))?;
    let digest: Digest = item.digest.parse().map_err(|_| invalid("digest", &item.digest))?;
    let size = u64::try_from(item.size).map_err(|_| invalid("size", &item.size.to_string()))?;
    Ok(Layer {
        diff_id,
        descriptor: Descriptor::new(media_type::DOCKER_LAYER_GZIP, digest, size),
    })
}

fn default_directories(uid: i64, gid: i64) -> LayerBuilder {
    LayerBuilder::new()
        .directory("/workspace", 0o755, uid, gid)
        .directory("/layers", 0o755, uid, gid)
        .directory("/cnb", 0o755, 0, 0)
        .directory("/cnb/buildpacks", 0o755, 0, 0)
        .directory("/platform", 0o755, 0, 0)
        .directory("/platform/env", 0o755, 0, 0)
}

fn set_config(draft: &mut ImageDraft, inputs: &BuilderInputs<'_>, items: &[StoredBuildpack]) -> Vec<BuilderBuildpack> {
    "/layers".clone_into(&mut draft.container_mut().working_dir);
    draft.set_label("io.buildpacks.lifecycle.version", inputs.lifecycle.version.clone());
    for (name, value) in &inputs.labels {
        draft.set_label(name, value);
    }
    let listed: Vec<BuilderBuildpack> = items
        .iter()
        .map(|item| BuilderBuildpack {
            id: item.id.clone(),
            version: item.version.clone(),
            homepage: item.homepage.clone(),
        })
        .collect();
    let metadata = BuilderMetadata {
        description: "Custom Builder built with kpack".to_owned(),
        stack: StackMetadata {
            run_image: RunImageMetadata {
                image: inputs.run_image.clone(),
                mirrors: None,
            },
        },
        lifecycle: LifecycleMetadata {
            version: inputs.lifecycle.version.clone(),
            api: inputs.lifecycle.api.clone(),
            apis: inputs.lifecycle.apis.clone(),
        },
        created_by: CreatedBy {
            name: "kpack Builder".to_owned(),
            version: inputs.created_by_version.clone(),
        },
        buildpacks: listed.clone(),
    };
    let mut layers = BuildpackLayersLabel::default();
    for item in items {
        let layer = BuildpackLayer {
            api: item.api.clone(),
            layer_diff_id: item.diff_id.clone(),
            order: item.order.clone(),
            stacks: item.stacks.clone(),
            homepage: item.homepage.clone(),
            ..BuildpackLayer::default()
        };
        layers
            .0
            .entry(item.id.clone())
            .or_default()
            .insert(item.version.clone(), layer);
    }
    draft.set_label(OrderLabel::LABEL, OrderLabel(inputs.order.clone()).to_json());
    draft.set_label(BuildpackLayersLabel::LABEL, layers.to_json());
    draft.set_label(LifecycleApis::LABEL, inputs.lifecycle.apis.to_json());
    draft.set_label(BuilderMetadata::LABEL, metadata.to_json());
    listed
}

//! [`RegistryWarehouse`]: buildpackages, stacks, lifecycles and builders in registries.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use cnb_layers::builder::{
    AssembleError, AssembledBuilder, BuildpackLayerSource, LifecycleInfo, Located, StackInfo, assemble_builder,
    read_buildpackages, read_lifecycle, read_stack, relocate_run_image,
};
use cnb_layers::{
    Compression, CopyError, CopyEvent, Digest, Image, ImageError, ImageSource, ImageTarget, Platform, Reference,
    UploadError,
};
use cnb_order::{Catalog, CatalogObject, OrderGroup, ResolvedBuildpack, ResolvedOrder, resolve_order};
use rebuild_policy::{
    BuildStack, BuildpackMetadata, BuildpackStatus, ClusterStackSpec, ClusterStackStatus, ImageFacts,
    ResolvedLifecycle, StackImage, StoreImage,
};
use registry_client::RegistryError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Account, BuilderInputs, BuilderRecord, Held, ImagePlace, ImageStores, Warehouse, WarehouseError};
use crate::store::Clock;

/// Images that are read at the same time.
const PARALLEL: usize = 8;

/// Reads and makes images in registries.
pub struct RegistryWarehouse {
    images: Arc<dyn ImageStores>,
    platform: Platform,
    version: String,
    clock: Clock,
}

/// An image and the place it was read from.
struct Found {
    source: Arc<dyn ImageSource>,
    reference: Reference,
    image: Image,
}

impl Found {
    fn located(&self) -> Located<'_> {
        Located {
            source: &*self.source,
            reference: self.reference.clone(),
            image: self.image.clone(),
        }
    }

    /// The image by digest, without a tag.
    fn pinned(&self) -> String {
        self.reference.with_digest(self.image.digest()).to_string()
    }
}

impl RegistryWarehouse {
    /// Reads and makes images for `linux/amd64`, as the reference does, and records `version` in builders.
    pub fn new(images: Arc<dyn ImageStores>, version: impl Into<String>, clock: Clock) -> Self {
        Self {
            images,
            platform: Platform::linux_amd64(),
            version: version.into(),
            clock,
        }
    }

    /// Chooses another platform: which image of an index is meant.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    fn find(&self, name: &str, account: &Account) -> Result<Found, WarehouseError> {
        let reference = parse(name)?;
        let keychain = account
            .keychain()
            .map_err(|error| WarehouseError::caused_by(error, false))?;
        let source = self
            .images
            .source(&reference, keychain)
            .map_err(|error| WarehouseError::caused_by(error, false))?;
        let image = source
            .image(&reference, &self.platform)
            .map_err(failed)?
            .ok_or_else(|| WarehouseError {
                retryable: true,
                absent: true,
                ..WarehouseError::permanent(format!("image {name} not found"))
            })?;
        Ok(Found {
            source,
            reference,
            image,
        })
    }

    fn place(&self, tag: &Reference, account: &Account) -> Result<ImagePlace, WarehouseError> {
        let keychain = account
            .keychain()
            .map_err(|error| WarehouseError::caused_by(error, false))?;
        self.images
            .place(tag, keychain)
            .map_err(|error| WarehouseError::caused_by(error, false))
    }

    fn buildpacks_of(&self, name: &str, account: &Account) -> Result<Vec<BuildpackStatus>, WarehouseError> {
        let found = self.find(name, account)?;
        let listed = read_buildpackages(&found.image, name).map_err(|error| WarehouseError::caused_by(error, false))?;
        listed.iter().map(convert).collect()
    }

    /// The tag that the reference adds to every image it writes.
    fn timestamp_tag(&self, tag: &Reference) -> Result<Reference, WarehouseError> {
        let time = (self.clock)().strftime("%Y%m%d%H%M%S").to_string();
        tag.with_tag(&time)
            .map_err(|error| WarehouseError::caused_by(error, false))
    }

    /// Copies the run image beside the builder, unless it is there.
    fn relocate(
        &self,
        run_image: &Found,
        target: &dyn ImageTarget,
        tag: &Reference,
        text: &str,
    ) -> Result<String, WarehouseError> {
        let beside = parse(&format!("{text}{}", cnb_layers::builder::RUN_IMAGE_SUFFIX))?;
        let more = match digest(target, &beside)? {
            Some(digest) if digest == *run_image.image.digest() => Vec::new(),
            _ => vec![self.timestamp_tag(tag)?],
        };
        relocate_run_image(&run_image.located(), target, text, &more, &ignore).map_err(not_made)
    }
}

impl Warehouse for RegistryWarehouse {
    fn buildpacks(&self, images: &[StoreImage], account: &Account) -> Result<Vec<BuildpackStatus>, WarehouseError> {
        let mut all = Vec::new();
        for batch in images.chunks(PARALLEL) {
            let read: Vec<_> = std::thread::scope(|scope| {
                let readers: Vec<_> = batch
                    .iter()
                    .map(|image| scope.spawn(|| self.buildpacks_of(&image.image, account)))
                    .collect();
                readers.into_iter().map(ScopedJoinHandle::join).collect()
            });
            for result in read {
                let panicked = |_| WarehouseError::permanent("reading a buildpackage failed inside; this is a bug");
                all.extend(result.map_err(panicked)??);
            }
        }
        let title = |one: &BuildpackStatus| (format!("{}@{}", one.id, one.version), one.store_image.image.clone());
        all.sort_by_cached_key(title);
        Ok(all)
    }

    fn stack(&self, spec: &ClusterStackSpec, account: &Account) -> Result<ClusterStackStatus, WarehouseError> {
        let build = self.find(&spec.build_image.image, account)?;
        let run = self.find(&spec.run_image.image, account)?;
        let info =
            read_stack(&spec.id, &build.image, &run.image).map_err(|error| WarehouseError::caused_by(error, false))?;
        let image = |found: &Found, name: &str| StackImage {
            latest_image: found.pinned(),
            image: name.to_owned(),
        };
        Ok(ClusterStackStatus {
            id: info.id,
            build_image: image(&build, &spec.build_image.image),
            run_image: image(&run, &spec.run_image.image),
            mixins: info.mixins,
            user_id: info.user_id,
            group_id: info.group_id,
            ..ClusterStackStatus::default()
        })
    }

    fn lifecycle(&self, name: &str, account: &Account) -> Result<ResolvedLifecycle, WarehouseError> {
        let found = self.find(name, account)?;
        let info = read_lifecycle(&found.image).map_err(|error| WarehouseError::caused_by(error, false))?;
        Ok(ResolvedLifecycle {
            image: StackImage {
                latest_image: found.pinned(),
                image: name.to_owned(),
            },
            version: info.version,
            api: convert(&info.api)?,
            apis: convert(&info.apis)?,
        })
    }

    fn builder(&self, inputs: &BuilderInputs<'_>) -> Result<BuilderRecord, WarehouseError> {
        let build_image = self.find(&inputs.stack.build_image.latest_image, inputs.stack_account)?;
        let run_image = self.find(&inputs.stack.run_image.latest_image, inputs.stack_account)?;
        let lifecycle_image = self.find(&inputs.lifecycle.image.latest_image, inputs.lifecycle_account)?;
        let tag = parse(inputs.tag)?;
        let (place, target) = self.place(&tag, inputs.account)?;
        // As in the reference, also for a builder that then turns out not to be possible.
        let run_image = self.relocate(&run_image, &*target, &tag, inputs.tag)?;

        let catalog = catalog(inputs.held)?;
        let order: Vec<OrderGroup> = inputs.order.iter().map(convert).collect::<Result<_, _>>()?;
        let resolved = resolve_order(&order, &catalog).map_err(|error| WarehouseError::caused_by(error, false))?;
        let mut opened = HashMap::new();
        for buildpack in &resolved.buildpacks {
            self.open(buildpack, inputs.held, &mut opened)?;
        }
        let parts = cnb_layers::builder::BuilderInputs {
            build_image: build_image.located(),
            run_image: run_image.clone(),
            lifecycle_image: lifecycle_image.located(),
            lifecycle_name: inputs.lifecycle.image.image.clone(),
            lifecycle: LifecycleInfo {
                version: inputs.lifecycle.version.clone(),
                api: convert(&inputs.lifecycle.api)?,
                apis: convert(&inputs.lifecycle.apis)?,
            },
            stack: StackInfo {
                id: inputs.stack.id.clone(),
                mixins: inputs.stack.mixins.clone(),
                user_id: inputs.stack.user_id,
                group_id: inputs.stack.group_id,
            },
            buildpacks: layer_sources(&resolved, &opened),
            order: resolved.to_groups(),
            labels: inputs.additional_labels.clone(),
            created_by_version: self.version.clone(),
        };
        // Read through the place that is written to, the earlier builder's layers need no request. One that cannot be read
        // is as good as none.
        let before = place.image(&tag, &self.platform).ok().flatten();
        let before = before.map(|image| image.digest().clone());
        let tags = std::slice::from_ref(&tag);
        let made = assemble_builder(&parts, &*target, tags, Compression::default(), &ignore).map_err(not_made)?;
        if before.as_ref() != Some(made.image.digest()) {
            let also = self.timestamp_tag(&tag)?;
            target
                .put_manifest(&also, made.image.media_type(), made.image.manifest_json())
                .map_err(failed)?;
        }
        record(inputs, run_image, &made, &resolved)
    }

    fn facts(&self, image: &str, account: &Account) -> Result<ImageFacts, WarehouseError> {
        let found = self.find(image, account)?;
        let config = found.image.config();
        Ok(ImageFacts {
            labels: config.config.labels.clone(),
            env: config.config.env.clone(),
            os: config.os.clone(),
        })
    }
}

/// An opened buildpackage: where its layers are read.
type Opened = HashMap<(usize, String), (Arc<dyn ImageSource>, Reference)>;

impl RegistryWarehouse {
    fn open(
        &self,
        buildpack: &ResolvedBuildpack<'_>,
        held: &[Held],
        opened: &mut Opened,
    ) -> Result<(), WarehouseError> {
        let name = buildpack.item.store_image.image.clone();
        let Some(owner) = owner(buildpack, held) else {
            return Ok(());
        };
        if opened.contains_key(&(owner, name.clone())) {
            return Ok(());
        }
        let reference = parse(&name).map_err(|error| {
            let message = format!("unable to parse {name}: {}", error.message);
            WarehouseError { message, ..error }
        })?;
        let keychain = held[owner]
            .account
            .keychain()
            .map_err(|error| WarehouseError::caused_by(error, false))?;
        let source = self
            .images
            .source(&reference, keychain)
            .map_err(|error| WarehouseError::caused_by(error, false))?;
        opened.insert((owner, name), (source, reference));
        Ok(())
    }
}

impl fmt::Debug for RegistryWarehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryWarehouse")
            .field("platform", &self.platform)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn parse(name: &str) -> Result<Reference, WarehouseError> {
    Reference::parse(name).map_err(|_| WarehouseError::permanent(format!("could not parse reference: {name}")))
}

fn digest(target: &dyn ImageTarget, tag: &Reference) -> Result<Option<Digest>, WarehouseError> {
    target.manifest_digest(tag).map_err(failed)
}

fn ignore(_: CopyEvent) {}

fn failed(error: ImageError) -> WarehouseError {
    let (retryable, absent) = (is_retryable(&error), is_absent(&error));
    WarehouseError {
        absent,
        ..WarehouseError::caused_by(error, retryable)
    }
}

fn not_made(error: AssembleError) -> WarehouseError {
    let retryable = match &error {
        AssembleError::Store(error)
        | AssembleError::Copy(CopyError::Store(error))
        | AssembleError::Upload(UploadError::Store(error)) => is_retryable(error),
        AssembleError::Copy(CopyError::NotFound { .. }) => true,
        _ => false,
    };
    WarehouseError::caused_by(error, retryable)
}

/// Whether the same question may get another answer: what is missing may come, who is refused stays refused until
/// secrets change.
fn is_retryable(error: &ImageError) -> bool {
    match error {
        ImageError::Registry(error) => may_answer_later(error),
        ImageError::NoBlob { .. } | ImageError::WrongDigest { .. } | ImageError::File { .. } => true,
        ImageError::Blob { source, .. } => is_passing(source),
        _ => false,
    }
}

/// Whether the registry has said that it does not have what an image is made of.
fn is_absent(error: &ImageError) -> bool {
    match error {
        ImageError::Registry(error) => error.is_not_found(),
        ImageError::NoBlob { .. } => true,
        _ => false,
    }
}

fn may_answer_later(error: &RegistryError) -> bool {
    match error.reason() {
        registry_client::Reason::Local(source) => is_passing(source),
        // Whatever a registry answers may be otherwise later, unless it is about who asks.
        registry_client::Reason::Status { .. } => !error.is_unauthorized(),
        _ => error.is_retryable(),
    }
}

/// Whether what interrupted a transfer may pass: the cause is in the error that the reader or writer gave.
fn is_passing(error: &std::io::Error) -> bool {
    let Some(cause) = error.get_ref() else {
        return true;
    };
    if let Some(error) = cause.downcast_ref::<ImageError>() {
        return is_retryable(error);
    }
    if let Some(error) = cause.downcast_ref::<RegistryError>() {
        return may_answer_later(error);
    }
    cause.downcast_ref::<std::io::Error>().is_none_or(is_passing)
}

/// Values that two crates write as the same JSON.
fn convert<T: Serialize, U: DeserializeOwned>(value: &T) -> Result<U, WarehouseError> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|error| WarehouseError::caused_by(error, false))
}

pub(super) fn catalog(held: &[Held]) -> Result<Catalog, WarehouseError> {
    let objects = held.iter().map(|held| {
        Ok(CatalogObject {
            kind: held.kind,
            name: held.name.clone(),
            buildpacks: held
                .buildpacks
                .iter()
                .map(convert)
                .collect::<Result<_, WarehouseError>>()?,
        })
    });
    Ok(Catalog {
        objects: objects.collect::<Result<_, WarehouseError>>()?,
    })
}

pub(super) fn owner(buildpack: &ResolvedBuildpack<'_>, held: &[Held]) -> Option<usize> {
    held.iter()
        .position(|held| held.kind == buildpack.owner.kind && held.name == buildpack.owner.name)
}

fn layer_sources<'a>(resolved: &ResolvedOrder<'_>, opened: &'a Opened) -> Vec<BuildpackLayerSource<'a>> {
    let source = |buildpack: &ResolvedBuildpack<'_>| {
        // An image may be read with the accounts of several owners; any of them can read the layer.
        let name = &buildpack.item.store_image.image;
        let (_, (source, reference)) = opened.iter().find(|((_, other), _)| other == name)?;
        Some(BuildpackLayerSource {
            buildpack: buildpack.item.clone(),
            source: &**source,
            reference: reference.clone(),
        })
    };
    resolved.buildpacks.iter().filter_map(source).collect()
}

fn record(
    inputs: &BuilderInputs<'_>,
    run_image: String,
    made: &AssembledBuilder,
    resolved: &ResolvedOrder<'_>,
) -> Result<BuilderRecord, WarehouseError> {
    let buildpacks = made.buildpacks.iter().map(|one| BuildpackMetadata {
        id: one.id.to_string(),
        version: one.version.to_string(),
        homepage: one.homepage.clone(),
    });
    Ok(BuilderRecord {
        image: format!("{}@{}", inputs.tag, made.image.digest()),
        stack: BuildStack {
            run_image,
            id: inputs.stack.id.clone(),
        },
        lifecycle: ResolvedLifecycle {
            image: StackImage::default(),
            ..inputs.lifecycle.clone()
        },
        buildpacks: buildpacks.collect(),
        order: convert(&resolved.to_groups())?,
        os: made.image.config().os.clone(),
    })
}

//! Putting an image onto another base without building it.
//!
//! The layers of the application stay the same blobs; only config and manifest are made anew. Whether it
//! may be done is decided by [`check_rebase`], what will be written by [`plan_rebase`]: functions of the two images.
//! [`rebase_many`] rebases any number of images and goes on where it was interrupted.

mod check;
mod many;

pub use check::{Misfit, check_rebase};
pub use many::{RebaseJob, RebaseJournal, rebase_many};

use std::time::Duration;

use registry_auth::Reference;

use crate::metadata::{DecodeError, RebaseMetadata, Report, RunImageNames, labels, to_json};
use crate::open::{OpenError, open_base};
use crate::phase::{Home, Log, LogExt as _, PlatformApi};
use crate::save::{Placed, SaveError, Saving, save};
use crate::{
    Digest, History, Image, ImageDraft, ImageError, ImageFormat, ImageSource, ImageTarget, Platform, RegistryAccess,
    Timestamp,
};

/// What a rebase works on.
#[derive(Clone, Copy)]
pub struct RebaseInputs<'a> {
    /// The platform API of the rebaser (not of the image).
    pub api: PlatformApi,
    /// The image to rebase.
    pub app: &'a str,
    /// The names to save the result under; the first is the main one.
    pub names: &'a [String],
    /// The new base; `None`: the one that the image names.
    pub run_image: Option<&'a str>,
    /// Rebase although the new base is not known to fit.
    pub force: bool,
    /// The machine to choose images of an index for.
    pub platform: &'a Platform,
    /// Waits before another attempt to open the new base.
    pub wait: &'a (dyn Fn(Duration) + Sync),
}

/// Why an image was not rebased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebaseError {
    /// A name is not an image reference.
    #[error("could not parse reference: {0}")]
    Reference(String),
    /// There is no image to rebase.
    #[error("failed to access image to rebase")]
    NoApp,
    /// The image to rebase could not be read.
    #[error("failed to access image to rebase")]
    ReadApp(#[source] ImageError),
    /// The image does not say what its base was.
    #[error("failed to unmarshal context of label '{label}'")]
    Label {
        /// The label.
        label: &'static str,
        /// The cause.
        source: DecodeError,
    },
    /// Neither the caller nor the image names a base.
    #[error("failed to parse arguments: -run-image is required when there is no run image metadata available")]
    NoRunImageName,
    /// None of the known names of the base can be read.
    #[error("failed to find accessible run image")]
    NoAccessibleRunImage,
    /// The new base cannot be opened.
    #[error("failed to access run image")]
    RunImage(#[source] OpenError),
    /// The new base does not fit.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The image's old base cannot be told from its application.
    #[error("rebase app image: could not find base layer in image")]
    NoBaseLayer,
    /// The new base contradicts itself.
    #[error(
        "rebase app image: failed to process new base image: malformed image: config history references at least \
         {history} non-empty layer(s), but only {layers} layer(s) are present"
    )]
    MalformedBase {
        /// How many layers its history speaks of.
        history: usize,
        /// How many layers it has.
        layers: usize,
    },
    /// The image does not know the new base.
    #[error(
        "rebase app image: new base image '{name}' not found in existing run image metadata: {known}; please provide \
         -force to override"
    )]
    UnknownBase {
        /// The new base's name.
        name: String,
        /// What the image knows, as JSON.
        known: String,
    },
    /// The result could not be saved under all names.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// Puts an image onto another base and saves it.
///
/// No layer is downloaded; blobs that the target's repository lacks are mounted from the base's, or copied
/// when it is on another registry.
///
/// # Errors
/// See [`RebaseError`]. Nothing is pushed unless everything fits.
pub fn rebase(
    inputs: &RebaseInputs<'_>,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
    access: &dyn RegistryAccess,
    log: &dyn Log,
) -> Result<Report, RebaseError> {
    let app_reference = parse(inputs.app)?;
    let app = source
        .image(&app_reference, inputs.platform)
        .map_err(RebaseError::ReadApp)?
        .ok_or(RebaseError::NoApp)?;
    let metadata = metadata_of(&app)?;
    let name = match inputs.run_image {
        Some(name) => name.to_owned(),
        None => choose_base(inputs, &metadata, &app_reference, access)?,
    };
    let base = NewBase::open(&name, source, inputs.platform, inputs.wait, log)?;
    let plan = plan_with(inputs.api, inputs.force, &app, &app_reference, metadata, &base)?;
    Ok(plan.run(inputs.names, source, target, log)?)
}

/// The base of a rebase, opened once for any number of images.
#[derive(Clone, Debug)]
pub struct NewBase {
    name: String,
    pinned: Reference,
    image: Image,
}

impl NewBase {
    /// Opens a base, which must exist and have layers.
    ///
    /// # Errors
    /// [`RebaseError::Reference`] and [`RebaseError::RunImage`].
    pub fn open(
        name: &str,
        source: &dyn ImageSource,
        platform: &Platform,
        wait: &dyn Fn(Duration),
        log: &dyn Log,
    ) -> Result<Self, RebaseError> {
        let reference = parse(name)?;
        let image = open_base(&reference, source, platform, wait, log).map_err(RebaseError::RunImage)?;
        Ok(Self::known(name, &reference, image))
    }

    /// Takes a base that was read already; `name` is what the image's label will be compared with.
    pub fn known(name: &str, reference: &Reference, image: Image) -> Self {
        Self {
            name: name.to_owned(),
            pinned: reference.with_digest(image.digest()),
            image,
        }
    }

    /// Returns the image.
    pub fn image(&self) -> &Image {
        &self.image
    }
}

/// What a rebase will write. Nothing has been written yet.
#[derive(Clone, Debug)]
pub struct RebasePlan {
    image: Image,
    layers: Vec<Placed>,
    current: (Reference, Digest),
    warnings: Vec<String>,
}

impl RebasePlan {
    /// Returns the image as it will be.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Returns whether the image will be another one than it is.
    pub fn is_change(&self) -> bool {
        self.image.digest() != &self.current.1
    }

    /// Returns what was overridden by force.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Writes the image under the names. Done again, it finds that nothing is left to do.
    ///
    /// # Errors
    /// When it could not be saved under all names.
    pub fn run(
        &self,
        names: &[String],
        source: &dyn ImageSource,
        target: &dyn ImageTarget,
        log: &dyn Log,
    ) -> Result<Report, SaveError> {
        for warning in &self.warnings {
            log.warn(warning);
        }
        let current = Some((&self.current.0, &self.current.1));
        let saving = Saving {
            image: &self.image,
            layers: &self.layers,
            names,
            home: Home::Registry,
            current,
        };
        save(saving, source, target, log)
    }
}

/// Plans to put an image onto another base: a function of the two images.
///
/// `reference` is where `app` was read.
///
/// # Errors
/// Those of [`RebaseError`] that say that the two do not fit.
pub fn plan_rebase(
    api: PlatformApi,
    force: bool,
    app: &Image,
    reference: &Reference,
    base: &NewBase,
) -> Result<RebasePlan, RebaseError> {
    plan_with(api, force, app, reference, metadata_of(app)?, base)
}

fn plan_with(
    api: PlatformApi,
    force: bool,
    app: &Image,
    reference: &Reference,
    metadata: RebaseMetadata,
    base: &NewBase,
) -> Result<RebasePlan, RebaseError> {
    let overridden = check_rebase(app, &base.image, force)?;
    let mut warnings: Vec<String> = overridden.iter().map(ToString::to_string).collect();
    let (draft, layers) = onto(app, reference, &base.image, &base.pinned, &metadata.run_image.top_layer)?;
    let image = relabel(api, force, draft, metadata, base, &mut warnings)?.finish();
    Ok(RebasePlan {
        image,
        layers,
        current: (reference.clone(), app.digest().clone()),
        warnings,
    })
}

fn metadata_of(app: &Image) -> Result<RebaseMetadata, RebaseError> {
    let metadata = match app.label(labels::LIFECYCLE_METADATA) {
        None | Some("") => RebaseMetadata::from_label("{}"),
        Some(text) => RebaseMetadata::from_label(text),
    };
    metadata.map_err(|source| RebaseError::Label {
        label: labels::LIFECYCLE_METADATA,
        source,
    })
}

fn parse(name: &str) -> Result<Reference, RebaseError> {
    Reference::parse(name).map_err(|_| RebaseError::Reference(name.to_owned()))
}

fn choose_base(
    inputs: &RebaseInputs<'_>,
    metadata: &RebaseMetadata,
    app: &Reference,
    access: &dyn RegistryAccess,
) -> Result<String, RebaseError> {
    let own = &metadata.run_image.names;
    let names = if inputs.api.at_least(12) && !own.image.is_empty() {
        Some(own)
    } else {
        metadata.stack.as_ref()
    };
    let names = names
        .filter(|names| !names.image.is_empty())
        .ok_or(RebaseError::NoRunImageName)?;
    let is_readable = |reference: &Reference| access.check_read(reference).is_ok();
    names
        .choose(app.registry(), &is_readable)
        .ok_or(RebaseError::NoAccessibleRunImage)
}

/// Makes the new image: the application's layers and settings above the new base's layers and machine.
fn onto(
    app: &Image,
    app_reference: &Reference,
    base: &Image,
    base_reference: &Reference,
    top_layer: &str,
) -> Result<(ImageDraft, Vec<Placed>), RebaseError> {
    let app_layers = app.layers();
    let old = app_layers
        .iter()
        .position(|layer| layer.diff_id.as_str() == top_layer)
        .ok_or(RebaseError::NoBaseLayer)?;
    let (history, layers) = (
        base.config().history.iter().filter(|entry| !entry.empty_layer).count(),
        base.layers(),
    );
    if history > layers.len() {
        return Err(RebaseError::MalformedBase {
            history,
            layers: layers.len(),
        });
    }
    let placed = |from: &Reference| {
        let from = from.clone();
        move |layer| Placed {
            layer,
            from: from.clone(),
        }
    };
    let layers: Vec<Placed> = layers
        .into_iter()
        .map(placed(base_reference))
        .chain(app_layers.into_iter().skip(old + 1).map(placed(app_reference)))
        .collect();
    let mut draft = ImageDraft::empty(ImageFormat::Docker);
    let blank = || History {
        created: Timestamp::reproducible(),
        ..History::default()
    };
    for placed in &layers {
        draft.push_layer(placed.layer.clone(), blank());
    }
    let of_base = base.config();
    let config = draft.config_mut();
    config.created = Timestamp::reproducible();
    config.architecture.clone_from(&of_base.architecture);
    config.os.clone_from(&of_base.os);
    config.os_version.clone_from(&of_base.os_version);
    config.config = app.config().clone().without_unknown().config;
    Ok((draft, layers))
}

/// Writes into the labels what the image stands on now.
fn relabel(
    api: PlatformApi,
    force: bool,
    mut draft: ImageDraft,
    mut metadata: RebaseMetadata,
    base: &NewBase,
    warnings: &mut Vec<String>,
) -> Result<ImageDraft, RebaseError> {
    let (name, pinned, base) = (&base.name, &base.pinned, &base.image);
    let since_0_12 = api.at_least(12);
    metadata.run_image.top_layer = base.top_layer().map_or_else(String::new, ToString::to_string);
    metadata.run_image.reference = pinned.to_string();
    let in_stack = metadata.stack.as_ref().is_some_and(|names| names.contain(name));
    if since_0_12 && !metadata.run_image.names.contain(name) && !in_stack {
        let known = match &metadata.stack {
            _ if !metadata.run_image.names.image.is_empty() => to_json(&metadata.run_image),
            Some(names) if !names.image.is_empty() => to_json(names),
            _ => "not found".to_owned(),
        };
        if !force {
            return Err(RebaseError::UnknownBase {
                name: name.clone(),
                known,
            });
        }
        warnings.push(format!(
            "rebase app image: new base image '{name}' not found in existing run image metadata: {known}"
        ));
        metadata.run_image.names = RunImageNames {
            image: name.clone(),
            mirrors: Vec::new(),
        };
        metadata.stack = Some(metadata.run_image.names.clone());
    }
    let belongs_to_base = |label: &str| {
        label.starts_with("io.buildpacks.stack.") || since_0_12 && label.starts_with("io.buildpacks.base.")
    };
    let all = &mut draft.container_mut().labels;
    all.retain(|label, _| !belongs_to_base(label));
    let of_base = base
        .config()
        .config
        .labels
        .iter()
        .filter(|(label, _)| belongs_to_base(label));
    all.extend(of_base.map(|(label, value)| (label.clone(), value.clone())));
    draft.set_label(labels::LIFECYCLE_METADATA, to_json(&metadata));
    Ok(draft)
}

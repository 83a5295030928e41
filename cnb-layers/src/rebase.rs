//! Putting an image onto another base without building it.
//!
//! The layers of the application stay the same blobs; only config and manifest are made anew. Whether it
//! may be done is decided by [`check_rebase`], a function of the two images.

use std::time::Duration;

use registry_auth::Reference;

use crate::metadata::{DecodeError, RebaseMetadata, Report, RunImageNames, TargetMetadata, labels, to_json};
use crate::open::{OpenError, open_base};
use crate::phase::{Log, LogExt as _, PlatformApi};
use crate::save::{Placed, SaveError, save};
use crate::{
    History, Image, ImageDraft, ImageError, ImageFormat, ImageSource, ImageTarget, Platform, RegistryAccess, Timestamp,
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

/// Why a base does not fit an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The image was built with a platform API that is none.
    #[error("the app image was built with platform API '{0}', which is not a version; rebuild it")]
    PlatformApi(String),
    /// The image does not say which stack it needs.
    #[error("stack not defined on app image")]
    NoStackOnApp,
    /// The base does not say which stack it belongs to.
    #[error("stack not defined on new base image")]
    NoStackOnBase,
    /// They belong to different stacks.
    #[error("incompatible stack: '{base}' is not compatible with '{app}'")]
    OtherStack {
        /// The base's stack.
        base: String,
        /// The image's stack.
        app: String,
    },
    /// A list of mixins cannot be read.
    #[error("get {image} mixins: failed to unmarshal context of label 'io.buildpacks.stack.mixins': {problem}")]
    Mixins {
        /// Whose it is.
        image: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The base lacks what the image needs.
    #[error("missing required mixin(s): {}", .0.join(", "))]
    MissingMixins(Vec<String>),
    /// The image does not want to be rebased; may be overridden.
    #[error("app image is not marked as rebasable{}", if *.forced { "" } else { "; please provide -force to override" })]
    NotRebasable {
        /// Whether it was overridden.
        forced: bool,
    },
    /// The base is for another machine; may be overridden.
    #[error(
        "unable to satisfy target os/arch constraints; new run image: {base}, old run image: {app}{}",
        if *.forced { "" } else { "; please provide -force to override" }
    )]
    Target {
        /// The base's machine, as JSON.
        base: String,
        /// The image's machine, as JSON.
        app: String,
        /// Whether it was overridden.
        forced: bool,
    },
}

/// Decides whether `base` fits `app`. With `force`, reasons that may be overridden come back as warnings.
pub fn check_rebase(app: &Image, base: &Image, force: bool) -> Result<Vec<Misfit>, Misfit> {
    let version = app.env("CNB_PLATFORM_API").unwrap_or_default();
    let since_0_12 = match (version, parse_api(version)) {
        ("", _) => false,
        (_, Some(version)) => version >= (0, 12),
        (_, None) => return Err(Misfit::PlatformApi(version.to_owned())),
    };
    if !since_0_12 {
        check_stack(app, base)?;
        return Ok(Vec::new());
    }
    let mut overridden = Vec::new();
    if app.label(labels::REBASABLE) == Some("false") {
        overridden.push(Misfit::NotRebasable { forced: force });
    }
    let (base, app) = (TargetMetadata::of(base), TargetMetadata::of(app));
    if !serves(&base, &app) {
        overridden.push(Misfit::Target {
            base: to_json(&base),
            app: to_json(&app),
            forced: force,
        });
    }
    match overridden.first() {
        Some(first) if !force => Err(first.clone()),
        _ => Ok(overridden),
    }
}

fn check_stack(app: &Image, base: &Image) -> Result<(), Misfit> {
    let stack = |image: &Image| image.label(labels::STACK_ID).unwrap_or_default().to_owned();
    let (of_app, of_base) = (stack(app), stack(base));
    if of_app.is_empty() {
        return Err(Misfit::NoStackOnApp);
    }
    if of_base.is_empty() {
        return Err(Misfit::NoStackOnBase);
    }
    if of_app != of_base {
        return Err(Misfit::OtherStack {
            base: of_base,
            app: of_app,
        });
    }
    let needed = mixins(app, "app image")?;
    let offered = mixins(base, "run image")?;
    let mut missing: Vec<_> = needed.into_iter().filter(|mixin| !offered.contains(mixin)).collect();
    missing.sort();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Misfit::MissingMixins(missing))
    }
}

/// Returns the mixins of an image without the stage (`build:`, `run:`) that they are for.
fn mixins(image: &Image, whose: &'static str) -> Result<Vec<String>, Misfit> {
    let text = image.label(labels::STACK_MIXINS).unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let all: Option<Vec<String>> = serde_json::from_str(text).map_err(|error| Misfit::Mixins {
        image: whose,
        problem: error.to_string(),
    })?;
    let bare = |mixin: String| match mixin.split_once(':') {
        Some((_, name)) => name.to_owned(),
        None => mixin,
    };
    Ok(all.unwrap_or_default().into_iter().map(bare).collect())
}

/// Returns whether a base for one machine serves an application for another.
fn serves(base: &TargetMetadata, app: &TargetMetadata) -> bool {
    let variant = base.arch_variant.is_empty() || app.arch_variant.is_empty() || base.arch_variant == app.arch_variant;
    let distro = match (&base.distro, &app.distro) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(base), Some(app)) => {
            (base.name.is_empty() || base.name == app.name) && (base.version.is_empty() || base.version == app.version)
        }
    };
    base.os == app.os && base.arch == app.arch && variant && distro
}

fn parse_api(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
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
    let metadata = match app.label(labels::LIFECYCLE_METADATA) {
        None | Some("") => RebaseMetadata::from_label("{}"),
        Some(text) => RebaseMetadata::from_label(text),
    };
    let metadata = metadata.map_err(|source| RebaseError::Label {
        label: labels::LIFECYCLE_METADATA,
        source,
    })?;
    let name = match inputs.run_image {
        Some(name) => name.to_owned(),
        None => choose_base(inputs, &metadata, &app_reference, access)?,
    };
    let base_reference = parse(&name)?;
    let base = open_base(&base_reference, source, inputs.platform, inputs.wait, log).map_err(RebaseError::RunImage)?;
    for warning in check_rebase(&app, &base, inputs.force)? {
        log.warn(warning);
    }
    let pinned = base_reference.with_digest(base.digest());
    let (draft, layers) = onto(&app, &app_reference, &base, &pinned, &metadata.run_image.top_layer)?;
    let image = relabel(inputs, draft, metadata, &base, &name, &pinned, log)?.finish();
    Ok(save(&image, &layers, inputs.names, source, target, log)?)
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
    inputs: &RebaseInputs<'_>,
    mut draft: ImageDraft,
    mut metadata: RebaseMetadata,
    base: &Image,
    name: &str,
    pinned: &Reference,
    log: &dyn Log,
) -> Result<ImageDraft, RebaseError> {
    let since_0_12 = inputs.api.at_least(12);
    metadata.run_image.top_layer = base.top_layer().map_or_else(String::new, ToString::to_string);
    metadata.run_image.reference = pinned.to_string();
    let in_stack = metadata.stack.as_ref().is_some_and(|names| names.contain(name));
    if since_0_12 && !metadata.run_image.names.contain(name) && !in_stack {
        let known = match &metadata.stack {
            _ if !metadata.run_image.names.image.is_empty() => to_json(&metadata.run_image),
            Some(names) if !names.image.is_empty() => to_json(names),
            _ => "not found".to_owned(),
        };
        if !inputs.force {
            return Err(RebaseError::UnknownBase {
                name: name.to_owned(),
                known,
            });
        }
        log.warn(format_args!(
            "rebase app image: new base image '{name}' not found in existing run image metadata: {known}"
        ));
        metadata.run_image.names = RunImageNames {
            image: name.to_owned(),
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

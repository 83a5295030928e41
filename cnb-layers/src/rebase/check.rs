//! Whether a base fits an image.

use cnb_order::{ApiVersion, go_json_problem};

use crate::Image;
use crate::metadata::{TargetMetadata, labels, to_json};

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
    let since_0_12 = match app.config().config.plain_env("CNB_PLATFORM_API").unwrap_or_default() {
        "" => false,
        text => {
            let version: ApiVersion = text.parse().map_err(|_| Misfit::PlatformApi(text.to_owned()))?;
            version.at_least(12)
        }
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
    missing.dedup();
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
    let all: Option<Vec<Option<String>>> = serde_json::from_str(text).map_err(|error| Misfit::Mixins {
        image: whose,
        problem: go_json_problem(text).unwrap_or_else(|| error.to_string()),
    })?;
    let bare = |mixin: String| match mixin.split_once(':') {
        Some((_, name)) => name.to_owned(),
        None => mixin,
    };
    Ok(all
        .unwrap_or_default()
        .into_iter()
        .map(|mixin| bare(mixin.unwrap_or_default()))
        .collect())
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

//! Brings back the layers of the last build.

use std::path::Path;

use cnb_layers::cache::Cache;
use cnb_layers::metadata::{Analyzed, Group};
use cnb_layers::restore::{RestoreInputs, restore};
use cnb_layers::{ImageSource as _, Reference, RegistryAccess, RegistryStore, Seals};
use cnb_order::go_quoted;

use crate::detector::Timer;
use crate::env::Env;
use crate::failure::{Failure, code, with_causes};
use crate::inputs::Inputs;
use crate::logger::Logger;
use crate::{caches, files, images, phase};

/// Runs the restorer with its inputs.
pub(crate) fn run(inputs: Inputs, env: &Env, log: &Logger) -> Result<(), Failure> {
    if !inputs.positional.is_empty() {
        return Err(Failure::because(
            code::INVALID_ARGS,
            "parse arguments",
            "received unexpected Args",
        ));
    }
    phase::refuse_daemon(&inputs)?;
    phase::check_experiments(&inputs, env, log)?;
    caches::warn_without_cache(&inputs, log);
    log.debug("Ensuring privileges...");
    let registries = images::registries(&inputs, env)?;
    let mut directories = vec![inputs.layers.as_path()];
    directories.extend(inputs.cache_dir.as_deref());
    phase::drop_privileges(&inputs, &directories)?;
    log.debug("Executing command...");
    let group = files::group(&inputs.group)?;
    files::check_buildpack_apis(&group)?;
    // What could not be understood is left for people to look at.
    let mut is_readable = true;
    let mut analyzed = match files::analyzed(&inputs.analyzed, log) {
        Ok(found) => found.unwrap_or_default(),
        Err(problem) => {
            log.warn(format_args!(
                "Not using analyzed data, usable file not found: {problem}"
            ));
            is_readable = false;
            Analyzed::default()
        }
    };
    if inputs.api.at_least(10) && !inputs.build_image.is_empty() {
        analyzed.build_image = Some(build_image(&inputs, &group, &registries, log)?);
    }
    if inputs.api.at_least(14) && !inputs.layout {
        check_run_image(&inputs, &analyzed, &registries, log)?;
    }
    if is_readable {
        crate::analyzer::write(&inputs, &analyzed, log)?;
    }
    let cache = caches::open(&inputs, &registries, log)?;
    bring_back(&inputs, &group, &analyzed, cache.as_deref(), None, log)
}

/// Returns the image that the build runs in, by digest.
///
/// # Deviation
/// The reference also lays its manifest and config down for an extender in `/kaniko`; that is left to the extender.
fn build_image(inputs: &Inputs, group: &Group, registries: &RegistryStore, log: &Logger) -> Result<String, Failure> {
    let name = &inputs.build_image;
    let failed =
        |reason: String| Failure::because(code::FAILED, &format!("read build image {}", go_quoted(name)), reason);
    let reference = Reference::parse(name).map_err(|_| failed(format!("could not parse reference: {name}")))?;
    let image = registries.image(&reference, &phase::platform());
    let image = image.map_err(|error| failed(with_causes(&error)))?;
    let image = image.ok_or_else(|| failed("there is no such image".to_owned()))?;
    if !group.extensions.is_empty() {
        log.warn("Build image is named in analyzed metadata, but not downloaded for extensions");
    }
    Ok(reference.with_digest(image.digest()).to_string())
}

/// Checks that the run image chosen before can be read now, if run.toml knows it.
fn check_run_image(
    inputs: &Inputs,
    analyzed: &Analyzed,
    registries: &RegistryStore,
    log: &Logger,
) -> Result<(), Failure> {
    let Some(image) = analyzed.run_image.as_ref().filter(|image| !image.image.is_empty()) else {
        return Ok(());
    };
    let run = files::run_toml(&inputs.run, log).map_err(|problem| Failure::new(code::FAILED, problem))?;
    if !run.images.iter().any(|names| names.contain(&image.image)) {
        return Ok(());
    }
    let refused = || {
        Failure::new(
            code::FAILED,
            format!("selected run image '{}' is not accessible", image.image),
        )
    };
    let reference = Reference::parse(&image.image).map_err(|_| refused())?;
    RegistryAccess::check_read(registries.client(), &reference).map_err(|_| refused())
}

/// Restores layers and metadata, and seals the layers if a later phase is to know whether they have changed.
pub(crate) fn bring_back(
    inputs: &Inputs,
    group: &Group,
    analyzed: &Analyzed,
    cache: Option<&dyn Cache>,
    seals: Option<&Seals>,
    log: &Logger,
) -> Result<(), Failure> {
    let timer = Timer::start("Restorer", log);
    let restoring = RestoreInputs {
        api: phase::api(inputs.api),
        layers_dir: &inputs.layers,
        root: Path::new("/"),
        group,
        metadata: &analyzed.metadata,
        skip_layers: inputs.skip_layers,
        parallelism: phase::parallelism(),
        seals,
    };
    let restored = restore(&restoring, cache, log);
    timer.stop(log);
    restored.map_err(|error| Failure::of(code::RESTORE, "restore", &error))
}

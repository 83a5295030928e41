//! Brings back the layers of the last build.

use std::path::Path;

use cnb_layers::cache::Cache;
use cnb_layers::metadata::{Analyzed, Group};
use cnb_layers::restore::{RestoreInputs, restore};
use cnb_layers::{RegistryAccess, RegistryStore};

use crate::detector::Timer;
use crate::env::Env;
use crate::failure::{Failure, code};
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
    let analyzed = match files::analyzed(&inputs.analyzed, log) {
        Ok(found) => found.unwrap_or_default(),
        Err(problem) => {
            log.warn(format_args!(
                "Not using analyzed data, usable file not found: {problem}"
            ));
            is_readable = false;
            Analyzed::default()
        }
    };
    if inputs.api.at_least(14) && !inputs.layout {
        check_run_image(&inputs, &analyzed, &registries, log)?;
    }
    if is_readable {
        crate::analyzer::write(&inputs, &analyzed, log)?;
    }
    let cache = caches::open(&inputs, &registries, log)?;
    bring_back(&inputs, &group, &analyzed, cache.as_deref(), log)
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
    let reference = cnb_layers::Reference::parse(&image.image).map_err(|_| refused())?;
    RegistryAccess::check_read(registries.client(), &reference).map_err(|_| refused())
}

/// Restores layers and metadata.
pub(crate) fn bring_back(
    inputs: &Inputs,
    group: &Group,
    analyzed: &Analyzed,
    cache: Option<&dyn Cache>,
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
    };
    let restored = restore(&restoring, cache, log);
    timer.stop(log);
    restored.map_err(|error| Failure::of(code::RESTORE, "restore", &error))
}

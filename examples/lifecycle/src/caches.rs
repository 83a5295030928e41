//! The cache of a phase: a directory, an image, or none.

use cnb_layers::cache::{Cache, CacheImage, VolumeCache};
use cnb_layers::{Reference, RegistryStore};
use cnb_order::go_quoted;

use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::Logger;
use crate::phase;

/// Warns when there is no cache.
pub(crate) fn warn_without_cache(inputs: &Inputs, log: &Logger) {
    if !is_configured(inputs) {
        log.warn("No cached data will be used, no cache specified.");
    }
}

/// Warns when an export in parallel with the cache has no effect because there is none.
pub(crate) fn warn_when_parallel_is_useless(inputs: &Inputs, log: &Logger) {
    if inputs.parallel && !is_configured(inputs) {
        log.warn("Parallel export has been enabled, but it has not taken effect because no cache has been specified.");
    }
}

/// Warns when there is a directory for layers of a docker daemon, which has no use here.
pub(crate) fn warn_of_launch_cache(inputs: &Inputs, log: &Logger) {
    if inputs.launch_cache.is_some() {
        log.warn("Ignoring -launch-cache, only intended for use with -daemon");
    }
}

/// Returns whether the platform gave a cache.
fn is_configured(inputs: &Inputs) -> bool {
    inputs.cache_dir.is_some() || !inputs.cache_image.is_empty()
}

/// Opens the cache.
pub(crate) fn open<'a>(
    inputs: &Inputs,
    registries: &'a RegistryStore,
    log: &'a Logger,
) -> Result<Option<Box<dyn Cache + 'a>>, Failure> {
    if !inputs.cache_image.is_empty() {
        let name = &inputs.cache_image;
        let reference = Reference::parse(name).map_err(|_| {
            let reason = format!(
                "accessing cache image {}: could not parse reference: {name}",
                go_quoted(name)
            );
            Failure::because(code::FAILED, "create image cache", reason)
        })?;
        let opened = CacheImage::open(&reference, registries, registries, phase::compression());
        let cache = opened.map_err(|error| {
            let reason = format!(
                "accessing cache image {}: {}",
                go_quoted(name),
                crate::failure::with_causes(&error)
            );
            Failure::because(code::FAILED, "create image cache", reason)
        })?;
        let delete = |old: &Reference| Ok(registries.client().delete(old)?);
        return Ok(Some(if inputs.api.at_least(13) {
            Box::new(cache)
        } else {
            Box::new(cache.deleting_old(Box::new(delete), log))
        }));
    }
    let Some(dir) = &inputs.cache_dir else { return Ok(None) };
    let cache = VolumeCache::open(dir).map_err(|error| Failure::of(code::FAILED, "create volume cache", &error))?;
    Ok(Some(Box::new(cache)))
}

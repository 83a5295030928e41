//! The cache of a phase: a directory, an image, or none.

use cnb_layers::cache::{Cache, CacheImage, CacheImageState, VolumeCache};
use cnb_layers::{Compression, RegistryStore};

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

/// Returns whether the platform gave a cache.
pub(crate) fn is_configured(inputs: &Inputs) -> bool {
    inputs.cache_dir.is_some() || !inputs.cache_image.is_empty()
}

/// Opens the cache.
pub(crate) fn open<'a>(
    inputs: &Inputs,
    registries: &'a RegistryStore,
    log: &Logger,
) -> Result<Option<Box<dyn Cache + 'a>>, Failure> {
    if !inputs.cache_image.is_empty() {
        let name = &inputs.cache_image;
        let reference = phase::parse(name)?;
        let opened = CacheImage::open(&reference, registries, registries, Compression::default());
        let (cache, state) = opened.map_err(|error| {
            let reason = format!(
                "accessing cache image {name:?}: {}",
                crate::failure::with_causes(&error)
            );
            Failure::because(code::FAILED, "create image cache", reason)
        })?;
        if state == CacheImageState::Corrupt {
            log.info(format_args!("Ignoring cache image {name:?} because it was corrupt"));
        }
        return Ok(Some(Box::new(cache)));
    }
    let Some(dir) = &inputs.cache_dir else { return Ok(None) };
    let cache = VolumeCache::open(dir).map_err(|error| Failure::of(code::FAILED, "create volume cache", &error))?;
    Ok(Some(Box::new(cache)))
}

//! Filling the cache for the next build.

use super::Export;
use crate::cache::{Cache, CacheError, CachedLayer};
use crate::layers_dir::{layers_of, log_directory};
use crate::metadata::{BuildpackLayers, CacheMetadata, LayerMetadata};
use crate::phase::{Home, Log, LogExt as _, with_causes};
use crate::{DiffId, diff_id};

/// How logs call the layer with the bills of materials.
const SBOM: &str = "buildpacksio/lifecycle:cache.sbom";

/// Stores the cached layers of this build; what it finds there unchanged is kept without being written.
///
/// Called in [`Export::run_beside`], it waits for each layer that is being made.
///
/// A layer that cannot be stored is a warning and missing from the cache, nothing else.
///
/// # Errors
/// When the cache as a whole cannot be written.
pub fn export_cache(export: &Export<'_>, cache: &dyn Cache, log: &dyn Log) -> Result<(), CacheError> {
    if let Some(notice) = cache.notice() {
        log.info(notice);
    }
    let before = cache.metadata().unwrap_or_else(|error| {
        log.warn(format_args!("Not reusing the cache: {}", with_causes(&error)));
        CacheMetadata::default()
    });
    let mut metadata = CacheMetadata::default();
    let mut all = Vec::new();
    let layers_dir = export.disk_layers();
    for buildpack in &export.inputs.group.buildpacks {
        let mut known = BuildpackLayers {
            key: buildpack.id.clone(),
            version: buildpack.version.clone(),
            ..BuildpackLayers::default()
        };
        log_directory(export.inputs.layers_dir, &layers_dir, buildpack, log);
        for layer in layers_of(&layers_dir, buildpack).unwrap_or_default() {
            let Ok(toml) = layer.toml() else { continue };
            if !toml.types.cache {
                continue;
            }
            let id = layer.identifier();
            if !layer.has_contents() {
                log.warn(format_args!("Failed to cache layer '{id}' because it has no contents"));
                continue;
            }
            let dir = export
                .inputs
                .layers_dir
                .join(buildpack.directory())
                .join(layer.file_name());
            let sha = before.layer(&buildpack.id, &layer.name).map(|layer| layer.sha.clone());
            match store(export, cache, &id, &dir, sha.as_deref(), log) {
                Ok(diff_id) => {
                    let entry = LayerMetadata {
                        sha: diff_id.to_string(),
                        data: toml.metadata,
                        build: toml.types.build,
                        launch: toml.types.launch,
                        cache: toml.types.cache,
                    };
                    known.layers.insert(layer.name, entry);
                }
                Err(problem) => log.warn(format_args!("Failed to cache layer '{id}': {problem}")),
            }
        }
        all.push(known);
    }
    metadata.buildpacks = (!all.is_empty()).then_some(all);
    let sbom = export.inputs.layers_dir.join("sbom/cache");
    if export.inputs.api.at_least(8) && std::fs::metadata(export.disk(&sbom)).is_ok() {
        let id = SBOM;
        log.debug(format_args!("Found SBOM of type cache for at {}", sbom.display()));
        match store(export, cache, id, &sbom, Some(&before.sbom), log) {
            Ok(diff_id) => metadata.sbom = diff_id.to_string(),
            Err(problem) => log.warn(format_args!("Failed to cache layer '{id}': {problem}")),
        }
    }
    cache.commit(&metadata)
}

fn store(
    export: &Export<'_>,
    cache: &dyn Cache,
    id: &str,
    dir: &std::path::Path,
    before: Option<&str>,
    log: &dyn Log,
) -> Result<DiffId, String> {
    let content = export.restorable(dir).map_err(|error| with_causes(&error))?;
    let made = export.made.get(id);
    let known = made
        .as_ref()
        .map_or_else(|| content.known_diff_id(), |made| Some(made.diff_id.clone()));
    let diff_id = match known {
        Some(known) => known,
        None => {
            diff_id(content.as_ref())
                .map_err(|error| format!("creating layer '{id}': {}", with_causes(&error)))?
                .0
        }
    };
    if made.is_some() || id == SBOM {
        log.debug(format_args!(
            "Reusing tarball for layer {} with SHA: {diff_id}",
            cnb_order::go_quoted(id)
        ));
    }
    if before == Some(diff_id.as_str()) {
        match cache.keep(&diff_id) {
            Ok(()) => log.info(format_args!("Reusing cache layer '{id}'")),
            Err(error) => log.warn(format_args!("Skipping reuse for layer {id}: {}", with_causes(&error))),
        }
    }
    log.info(format_args!("Adding cache layer '{id}'"));
    log.debug(format_args!("Layer '{id}' SHA: {diff_id}"));
    // A cache image is in a registry, whose blobs are not those of a layout.
    let is_near = export.inputs.home == Home::Registry;
    let placed = made
        .as_ref()
        .filter(|_| is_near)
        .map(|made| (&made.placed.0, &made.placed.1));
    let layer = CachedLayer {
        diff_id: &diff_id,
        content: content.as_ref(),
        placed,
    };
    cache.add(&layer).map_err(|error| with_causes(&error))?;
    Ok(diff_id)
}

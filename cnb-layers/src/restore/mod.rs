//! Bringing back what the last build left: metadata of layers from the image, layers from the cache.
//!
//! [`restore`] writes `<layer>.toml` files, `store.toml` files and bills of materials, then extracts the
//! cached layers. Which layers come back is decided by [`layers_to_restore`], a function of documents alone.

mod sbom;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use cnb_order::go_quoted;

use crate::cache::{Cache, LayerPlace, extract_layer};
use crate::layers_dir::{is_plain_id, is_plain_name, layers_of, log_directory};
use crate::metadata::{CacheMetadata, Data, EncodeError, Group, GroupBuildpack, LifecycleMetadata, data_document};
use crate::outline::Outline;
use crate::phase::{Log, LogExt as _, PlatformApi};
use crate::{DiffId, Seals};
use sbom::{distribute_sbom, restore_sbom};

/// What a restore works on.
#[derive(Clone, Copy, Debug)]
pub struct RestoreInputs<'a> {
    /// The platform API.
    pub api: PlatformApi,
    /// The layers directory, absolute, as the image and the cached tars name it.
    pub layers_dir: &'a Path,
    /// Where the root of those paths lies on disk: `/` unless in a test.
    pub root: &'a Path,
    /// The buildpacks of this build.
    pub group: &'a Group,
    /// What the previous image says about its layers.
    pub metadata: &'a LifecycleMetadata,
    /// Bring back only the stores of the buildpacks.
    pub skip_layers: bool,
    /// How many layers are extracted at once.
    pub parallelism: NonZeroUsize,
    /// Where to put a seal on each layer that is extracted, for an export in the same run. See [`Seals`] for what it does to
    /// the layers' directories and for the risk.
    pub seals: Option<&'a Seals>,
}

impl RestoreInputs<'_> {
    /// Returns the layers directory on disk.
    fn disk(&self) -> PathBuf {
        self.root
            .join(self.layers_dir.strip_prefix("/").unwrap_or(self.layers_dir))
    }
}

/// Why a restore failed. Problems of the cache are not among the reasons: they are warnings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A file in the layers directory could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The data of a layer or store holds what TOML has no place for.
    #[error("cannot write {path}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: EncodeError,
    },
    /// The directory of a buildpack could not be read.
    #[error("reading buildpack layer directory of {buildpack}")]
    ReadLayers {
        /// The buildpack's id.
        buildpack: String,
        /// The cause.
        source: io::Error,
    },
    /// A layer that does not fit could not be removed.
    #[error("removing layer {layer}")]
    Remove {
        /// The layer.
        layer: String,
        /// The cause.
        source: io::Error,
    },
}

/// A layer whose metadata comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredLayer {
    /// The buildpack's id.
    pub buildpack: String,
    /// The layer's name.
    pub name: String,
    /// Where its metadata comes from.
    pub origin: Origin,
    /// The diff id that its data must have.
    pub sha: String,
    /// Its metadata.
    pub data: Data,
}

/// Where the metadata of a layer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The label of the previous image.
    AppImage,
    /// The metadata of the cache.
    Cache,
}

/// Decides which layers of the last build a buildpack will find again, and with which metadata.
///
/// A launch layer comes back as the image knows it; if it is cached as well, only when the cache has it
/// too. Other cached layers come back as the cache knows them; a launch layer that the image lost does so
/// from platform API 0.14 on.
pub fn layers_to_restore(
    api: PlatformApi,
    buildpack: &GroupBuildpack,
    app: &LifecycleMetadata,
    cache: &CacheMetadata,
) -> Vec<RestoredLayer> {
    let mut all = Vec::new();
    let restored = |name: &str, origin, layer: &crate::metadata::LayerMetadata| RestoredLayer {
        buildpack: buildpack.id.clone(),
        name: name.to_owned(),
        origin,
        sha: layer.sha.clone(),
        data: layer.data.clone(),
    };
    let in_app = app.buildpack(&buildpack.id).map(|found| &found.layers);
    for (name, layer) in in_app.into_iter().flatten() {
        let cached = cache.layer(&buildpack.id, name).is_some_and(|cached| cached.cache);
        let wanted = layer.launch && if layer.cache { cached } else { !layer.build };
        if wanted {
            all.push(restored(name, Origin::AppImage, layer));
        }
    }
    let in_cache = cache
        .buildpacks
        .iter()
        .flatten()
        .find(|found| found.key == buildpack.id);
    for (name, layer) in in_cache.iter().flat_map(|found| &found.layers) {
        let known_to_app = in_app.is_some_and(|layers| layers.contains_key(name));
        let wanted = layer.cache && !(layer.launch && (known_to_app || !api.at_least(14)));
        if wanted {
            all.push(restored(name, Origin::Cache, layer));
        }
    }
    all
}

/// Brings back what the last build left for the buildpacks of this one.
///
/// # Errors
/// When the layers directory cannot be written. Whatever is wrong with the cache is a warning: the
/// layer is not restored, and its buildpack makes it anew.
pub fn restore(inputs: &RestoreInputs<'_>, cache: Option<&dyn Cache>, log: &dyn Log) -> Result<(), RestoreError> {
    if let Some(notice) = cache.and_then(Cache::notice) {
        log.info(notice);
    }
    let cached = cache.map_or_else(CacheMetadata::default, |cache| {
        cache.metadata().unwrap_or_else(|error| {
            log.warn(format_args!("Not using the cache: {}", chain(&error)));
            CacheMetadata::default()
        })
    });
    let mut buildpacks = Vec::new();
    for buildpack in &inputs.group.buildpacks {
        if is_plain_id(&buildpack.id) {
            buildpacks.push(buildpack);
        } else {
            log.warn(format_args!(
                "Not restoring layers of {}, which is not the id of a buildpack",
                go_quoted(&buildpack.id)
            ));
        }
    }
    for buildpack in &buildpacks {
        restore_store(inputs, buildpack)?;
    }
    let mut shas = BTreeMap::new();
    if inputs.skip_layers {
        log.info("Skipping buildpack layer analysis");
    } else {
        log.debug("Restoring Layer Metadata");
        for buildpack in &buildpacks {
            log.debug(format_args!(
                "Reading Buildpack Layers directory {}",
                inputs.layers_dir.display()
            ));
            log_directory(inputs.layers_dir, &inputs.disk(), buildpack, log);
            restore_metadata(inputs, buildpack, &cached, &mut shas, log)?;
        }
    }
    let mut jobs = Vec::new();
    for buildpack in &buildpacks {
        add_jobs(inputs, buildpack, &cached, &shas, &mut jobs, log)?;
    }
    if let Some(cache) = cache {
        restore_data(inputs, cache, &jobs, log);
    }
    if let Some(seals) = inputs.seals {
        for dir in seals.settle() {
            log.debug(format_args!(
                "What is changed in {} can't be told by its times; it will be read",
                dir.display()
            ));
        }
    }
    if inputs.api.at_least(8) {
        if let Some(cache) = cache.filter(|_| !cached.sbom.is_empty()) {
            restore_sbom(inputs, cache, &cached.sbom, log);
        }
        let receivers = if inputs.skip_layers { &[][..] } else { &buildpacks };
        distribute_sbom(inputs, receivers, log)?;
    }
    Ok(())
}

/// Finds the layers of a buildpack whose contents the cache has, and removes those that are not what the cache has.
fn add_jobs(
    inputs: &RestoreInputs<'_>,
    buildpack: &GroupBuildpack,
    cached: &CacheMetadata,
    shas: &BTreeMap<String, String>,
    jobs: &mut Vec<Job>,
    log: &dyn Log,
) -> Result<(), RestoreError> {
    log_directory(inputs.layers_dir, &inputs.disk(), buildpack, log);
    let found = layers_of(&inputs.disk(), buildpack).map_err(|source| RestoreError::ReadLayers {
        buildpack: buildpack.id.clone(),
        source,
    })?;
    // A document can't name others.
    for layer in found.into_iter().filter(|layer| layer.file_name().to_str().is_some()) {
        let Some(known) = cached.layer(&buildpack.id, &layer.name).filter(|known| known.cache) else {
            continue;
        };
        let identifier = layer.identifier();
        let sha = shas.get(&identifier).map_or("", String::as_str);
        if sha == known.sha {
            jobs.push(Job {
                identifier,
                directory: buildpack.directory(),
                name: layer.name,
                sha: known.sha.clone(),
            });
        } else {
            log.info(format_args!("Removing {}, wrong sha", go_quoted(&identifier)));
            log.debug(format_args!("Layer sha: {sha:?}, cache sha: {:?}", known.sha));
            layer.remove().map_err(|source| RestoreError::Remove {
                layer: identifier,
                source,
            })?;
        }
    }
    Ok(())
}

fn restore_store(inputs: &RestoreInputs<'_>, buildpack: &GroupBuildpack) -> Result<(), RestoreError> {
    let store = inputs
        .metadata
        .buildpack(&buildpack.id)
        .and_then(|found| found.store.as_ref());
    store.map_or(Ok(()), |store| write(&inputs.disk(), buildpack, "store.toml", store))
}

fn restore_metadata(
    inputs: &RestoreInputs<'_>,
    buildpack: &GroupBuildpack,
    cached: &CacheMetadata,
    shas: &mut BTreeMap<String, String>,
    log: &dyn Log,
) -> Result<(), RestoreError> {
    log_refusals(inputs, buildpack, cached, log);
    for layer in layers_to_restore(inputs.api, buildpack, inputs.metadata, cached) {
        let identifier = format!("{}:{}", layer.buildpack, layer.name);
        if !is_plain_name(&layer.name) {
            log.warn(format_args!(
                "Not restoring {}, which is not the name of a layer",
                go_quoted(&identifier)
            ));
            continue;
        }
        let origin = match layer.origin {
            Origin::AppImage => "app image",
            Origin::Cache => "cache",
        };
        log.info(format_args!(
            "Restoring metadata for {} from {origin}",
            go_quoted(&identifier)
        ));
        log.debug(format_args!("Writing layer metadata for {}", go_quoted(&identifier)));
        match write(&inputs.disk(), buildpack, &format!("{}.toml", layer.name), &layer.data) {
            Ok(()) => {
                shas.insert(identifier, layer.sha);
            }
            Err(RestoreError::Unwritable { source, .. }) => {
                log.warn(format_args!("Not restoring {}: {source}", go_quoted(&identifier)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Says of the layers that do not come back why.
fn log_refusals(inputs: &RestoreInputs<'_>, buildpack: &GroupBuildpack, cached: &CacheMetadata, log: &dyn Log) {
    let id = &buildpack.id;
    let in_app = inputs.metadata.buildpack(id).map(|found| &found.layers);
    for (name, layer) in in_app.into_iter().flatten() {
        let layer_id = format!("{id}:{name}");
        if !layer.launch {
            log.debug(format_args!(
                "Not restoring metadata for {}, marked as launch=false",
                go_quoted(&layer_id)
            ));
        } else if layer.build && !layer.cache {
            log.debug(format_args!(
                "Not restoring metadata for {}, marked as build=true, cache=false",
                go_quoted(&layer_id)
            ));
        } else if layer.cache && !cached.layer(id, name).is_some_and(|cached| cached.cache) {
            log.debug(format_args!(
                "Not restoring metadata for {}, marked as cache=true, but not found in cache",
                go_quoted(&layer_id)
            ));
        }
    }
    let in_cache = cached.buildpacks.iter().flatten().find(|found| found.key == *id);
    for (name, layer) in in_cache.iter().flat_map(|found| &found.layers) {
        let layer_id = format!("{id}:{name}");
        if !layer.cache {
            log.debug(format_args!(
                "Not restoring {} from cache, marked as cache=false",
                go_quoted(&layer_id)
            ));
        } else if layer.launch && (in_app.is_some_and(|layers| layers.contains_key(name)) || !inputs.api.at_least(14)) {
            log.debug(format_args!(
                "Not restoring {} from cache, marked as launch=true",
                go_quoted(&layer_id)
            ));
        }
    }
}

/// Writes data into a file of a buildpack's directory; what is in its place, a link above all, is replaced.
fn write(layers: &Path, buildpack: &GroupBuildpack, name: &str, data: &Data) -> Result<(), RestoreError> {
    let dir = layers.join(buildpack.directory());
    let path = dir.join(name);
    let text = match data_document(data) {
        Ok(text) => text,
        Err(source) => return Err(RestoreError::Unwritable { path, source }),
    };
    let written = || -> io::Result<()> {
        match fs::symlink_metadata(&dir) {
            Ok(found) if !found.is_dir() => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
            Ok(_) => {}
            Err(_) => fs::create_dir_all(&dir)?,
        }
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(&path)?;
        }
        fs::write(&path, text)
    };
    written().map_err(|source| RestoreError::Write { path, source })
}

/// A cached layer to be extracted.
struct Job {
    identifier: String,
    directory: String,
    name: String,
    sha: String,
}

fn restore_data(inputs: &RestoreInputs<'_>, cache: &dyn Cache, jobs: &[Job], log: &dyn Log) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            log.info(format_args!(
                "Restoring data for {} from cache",
                go_quoted(&job.identifier)
            ));
            log.debug(format_args!("Retrieving data for {:?}", job.sha));
            if let Err(problem) = restore_layer(inputs, cache, job) {
                log.warn(format_args!("Skipping restore for layer {}: {problem}", job.identifier));
            }
        }
    };
    let workers = inputs.parallelism.get().min(jobs.len());
    if workers < 2 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(work);
            }
        });
    }
}

fn restore_layer(inputs: &RestoreInputs<'_>, cache: &dyn Cache, job: &Job) -> Result<(), String> {
    let diff_id: DiffId = job
        .sha
        .parse()
        .map_err(|_| format!("failed to find cache layer with SHA '{}'", job.sha))?;
    let within = [job.directory.as_str(), job.name.as_str()];
    let place = LayerPlace {
        disk: &inputs.disk(),
        image: inputs.layers_dir,
        within: &within,
    };
    let mut tar = cache.layer_to_check(&diff_id).map_err(|error| chain(&error))?;
    let mut outline = inputs.seals.map(|_| Outline::default());
    extract_layer(&mut tar, &diff_id, place, outline.as_mut()).map_err(|error| chain(&error))?;
    if let (Some(seals), Some(outline)) = (inputs.seals, outline) {
        seals.put(place.dir(), diff_id, outline);
    }
    Ok(())
}

/// Returns the text of an error and of everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    crate::phase::with_causes(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::VolumeCache;
    use crate::metadata::{BuildpackLayers, LayerMetadata};
    use crate::phase::{LogLevel, MemoryLog};
    use crate::{LayerBuilder, LayerContent as _};

    fn layer(flags: (u8, u8, u8), sha: &str) -> LayerMetadata {
        LayerMetadata {
            sha: sha.into(),
            data: Data::Null,
            build: flags.0 == 1,
            launch: flags.1 == 1,
            cache: flags.2 == 1,
        }
    }

    fn buildpacks(layer: Option<LayerMetadata>) -> Vec<BuildpackLayers> {
        let layers = layer.map(|layer| ("l".to_owned(), layer)).into_iter().collect();
        vec![BuildpackLayers {
            key: "acme/one".into(),
            layers,
            ..BuildpackLayers::default()
        }]
    }

    fn decided(flags: (u8, u8, u8), in_app: bool, in_cache: bool, minor: u64) -> Option<Origin> {
        let app = LifecycleMetadata {
            buildpacks: Some(buildpacks(in_app.then(|| layer(flags, "a")))),
            ..LifecycleMetadata::default()
        };
        let cache = CacheMetadata {
            buildpacks: Some(buildpacks(in_cache.then(|| layer(flags, "c")))),
            ..CacheMetadata::default()
        };
        let buildpack = GroupBuildpack {
            id: "acme/one".into(),
            ..GroupBuildpack::default()
        };
        let api = PlatformApi::new(minor).expect("it is known");
        let mut all = layers_to_restore(api, &buildpack, &app, &cache);
        assert!(all.len() < 2);
        all.pop().map(|layer| layer.origin)
    }

    // rows 11.6/R18 11.6/R20 11.6/R21
    #[test]
    fn what_comes_back_depends_on_the_flags_and_on_who_knows_the_layer() {
        use Origin::{AppImage, Cache};
        // (build, launch, cache), in the image, in the cache, expected before and from 0.14 on
        for (flags, app, cache, before, since) in [
            ((0, 0, 1), false, true, Some(Cache), Some(Cache)),
            ((1, 0, 1), false, true, Some(Cache), Some(Cache)),
            ((0, 1, 0), true, false, Some(AppImage), Some(AppImage)),
            ((1, 1, 0), true, false, None, None),
            ((0, 1, 1), true, true, Some(AppImage), Some(AppImage)),
            ((1, 1, 1), true, true, Some(AppImage), Some(AppImage)),
            ((0, 1, 1), true, false, None, None),
            ((0, 1, 1), false, true, None, Some(Cache)),
            ((1, 1, 1), false, true, None, Some(Cache)),
            ((0, 0, 0), true, true, None, None),
        ] {
            assert_eq!(decided(flags, app, cache, 13), before, "{flags:?} {app} {cache}");
            assert_eq!(decided(flags, app, cache, 14), since, "{flags:?} {app} {cache}");
        }
    }

    /// Restores for `acme/one`, with what a cache remembers and perhaps a layer of it, into `layers` below `root`, and
    /// returns the warnings.
    fn warnings(root: &Path, metadata: &str, layer: &[u8]) -> Vec<String> {
        let cache = VolumeCache::open(root).expect("it opens");
        let committed = root.join("committed");
        fs::write(committed.join("io.buildpacks.lifecycle.cache.metadata"), metadata).expect("there is room");
        fs::write(committed.join(format!("{}.tar", DiffId::of(layer))), layer).expect("there is room");
        let group = Group {
            buildpacks: vec![GroupBuildpack {
                id: "acme/one".into(),
                ..GroupBuildpack::default()
            }],
            ..Group::default()
        };
        let inputs = RestoreInputs {
            api: PlatformApi::new(15).expect("it is known"),
            layers_dir: Path::new("/layers"),
            root,
            group: &group,
            metadata: &LifecycleMetadata::default(),
            skip_layers: false,
            parallelism: NonZeroUsize::MIN,
            seals: None,
        };
        let log = MemoryLog::default();
        restore(&inputs, Some(&cache), &log).expect("the layers directory can be written");
        let warnings = log.lines().into_iter().filter(|(level, _)| *level == LogLevel::Warn);
        warnings.map(|(_, line)| line).collect()
    }

    #[test]
    fn what_a_cache_remembers_but_no_file_can_hold_is_a_warning() {
        let long = "a".repeat(251);
        for (name, data, problem) in [
            (
                "null",
                r#"{"a":[null]}"#,
                ": toml: cannot encode array with nil element",
            ),
            (long.as_str(), "{}", ", which is not the name of a layer"),
        ] {
            let root = tempfile::tempdir().expect("there is room");
            let layer = format!(r#"{{"sha":"sha256:0","data":{data},"cache":true}}"#);
            let metadata = format!(r#"{{"buildpacks":[{{"key":"acme/one","layers":{{"{name}":{layer}}}}}]}}"#);
            let warning = format!("Not restoring \"acme/one:{name}\"{problem}");
            assert_eq!(warnings(root.path(), &metadata, b""), [warning]);
            assert!(!root.path().join("layers/acme_one").exists());
        }
    }

    #[test]
    fn a_bill_of_materials_that_may_not_be_read_is_a_warning_and_read_only_directories_of_such_vanish() {
        let mut tar = Vec::new();
        let dir = "layers/sbom/cache/acme_one/l";
        let layer = LayerBuilder::new()
            .directory(dir, 0o555, 0, 0)
            .file(format!("{dir}/sbom.cdx.json"), 0, 0, 0, "{}")
            .file(format!("{dir}/sbom.spdx.json"), 0o444, 0, 0, "{}");
        layer.write_tar(&mut tar).expect("memory takes all");
        let metadata = format!(r#"{{"sbom":{{"sha":"{}"}}}}"#, DiffId::of(&tar));
        // Root may do anything. The thread alone becomes another user.
        let restored = || {
            if rustix::process::getuid().is_root() {
                let user = rustix::process::Uid::from_raw(1000);
                rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
            }
            let root = tempfile::tempdir().expect("there is room");
            let layers = root.path().join("layers");
            fs::create_dir_all(layers.join("acme_one")).expect("there is room");
            let warnings = warnings(root.path(), &metadata, &tar);
            let file = layers.join("sbom/cache/acme_one/l/sbom.cdx.json");
            let warning = format!("Skipping restore of the SBOM {}: permission denied", file.display());
            assert_eq!(warnings, [warning]);
            assert!(layers.join("acme_one/l.sbom.spdx.json").exists() && !layers.join("sbom").exists());
        };
        std::thread::scope(|scope| scope.spawn(restored).join()).expect("nothing is wrong");
    }
}

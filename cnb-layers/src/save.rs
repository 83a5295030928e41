//! Saving an image under its names: layers first, then config and manifest, so that a name moves last.

use registry_auth::{Reference, Repository};

use crate::metadata::Report;
use crate::phase::{Home, Log, LogExt as _, with_causes};
use crate::store::push_config;
use crate::{Digest, Image, ImageError, ImageSource, ImageTarget, Layer, copy_layers};

/// A layer of an image that is to be saved, and where its blob can be had.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) layer: Layer,
    /// An image that has the blob.
    pub(crate) from: Reference,
}

/// The names under which an image could not be saved.
#[derive(Debug, thiserror::Error)]
#[error("failed to write image to the following tags: {}", list(.0))]
pub struct SaveError(pub Vec<(String, String)>);

fn list(failures: &[(String, String)]) -> String {
    failures
        .iter()
        .map(|(name, problem)| format!("[{name}: {problem}]"))
        .collect::<Vec<_>>()
        .join(",")
}

/// What is saved, and where.
#[derive(Clone, Copy)]
pub(crate) struct Saving<'a> {
    pub(crate) image: &'a Image,
    pub(crate) layers: &'a [Placed],
    pub(crate) names: &'a [String],
    pub(crate) home: Home<'a>,
    /// What one of the names is known to mean now.
    pub(crate) current: Option<(&'a Reference, &'a Digest)>,
}

/// Saves the image under each name, logs what became of each, and returns the report.
///
/// A name that fails does not keep the others from being tried.
pub(crate) fn save(
    saving: Saving<'_>,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
    log: &dyn Log,
) -> Result<Report, SaveError> {
    let Saving {
        image,
        names,
        home,
        current,
        ..
    } = saving;
    let layers = &present(saving.layers, home, target);
    log.info(format_args!("Saving {}...", names.first().map_or("", String::as_str)));
    let mut failures = Vec::new();
    let mut outcomes = Vec::new();
    for name in names {
        let saved = save_as(image, layers, name, current, source, target);
        if let Err(problem) = &saved {
            failures.push((name.clone(), problem.clone()));
        }
        outcomes.push((name, saved));
    }
    match (home, names.first()) {
        (Home::Layout { .. }, Some(name)) => log.info(format_args!("*** Images ({name}@{}):", image.digest())),
        _ => log.info(format_args!("*** Images ({}):", image.digest())),
    }
    let mut report = Report::default();
    for (name, saved) in outcomes {
        match saved {
            Ok(()) => {
                log.info(format_args!("      {name}"));
                report.tags.push(name.clone());
            }
            Err(problem) => log.info(format_args!("      {name} - {problem}")),
        }
    }
    if home == Home::Registry {
        report.digest = image.digest().to_string();
    }
    report.manifest_size = image.manifest_json().len() as u64;
    log.debug(format_args!("\n*** Digest: {}", image.digest()));
    log.debug(format_args!("\n*** Manifest Size: {}", report.manifest_size));
    if failures.is_empty() {
        Ok(report)
    } else {
        Err(SaveError(failures))
    }
}

/// Returns the layers that can be saved: in a layout, those of a run image whose blobs are missing are left out.
fn present(layers: &[Placed], home: Home<'_>, target: &dyn ImageTarget) -> Vec<Placed> {
    let is_there = |placed: &&Placed| {
        let digest = &placed.layer.descriptor.digest;
        home == Home::Registry || target.has_blob(placed.from.repository(), digest).unwrap_or(true)
    };
    layers.iter().filter(is_there).cloned().collect()
}

fn save_as(
    image: &Image,
    layers: &[Placed],
    name: &str,
    current: Option<(&Reference, &Digest)>,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
) -> Result<(), String> {
    let reference = Reference::parse(name).map_err(|error| with_causes(&error))?;
    let saved = || -> Result<(), ImageError> {
        let differs = current.is_some_and(|(known, digest)| *known == reference && digest != image.digest());
        if !differs && target.manifest_digest(&reference)?.as_ref() == Some(image.digest()) {
            return Ok(());
        }
        match put(image, layers, &reference, source, target) {
            // What was known of the repository was out of date, and is forgotten: look more closely.
            Err(error) if error.is_missing_blob() => put(image, layers, &reference, source, target),
            outcome => outcome,
        }
    };
    saved().map_err(|error| with_causes(&error))
}

fn put(
    image: &Image,
    layers: &[Placed],
    reference: &Reference,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
) -> Result<(), ImageError> {
    place_all(layers, reference.repository(), source, target)?;
    push_config(target, image, reference.repository())?;
    target
        .put_manifest(reference, image.media_type(), image.manifest_json())
        .map(|_| ())
}

/// Makes sure that the repository has every layer.
pub(crate) fn place_all(
    layers: &[Placed],
    repository: &Repository,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
) -> Result<(), ImageError> {
    let mut rest: Vec<&Placed> = layers.iter().collect();
    while let Some(first) = rest.first() {
        let from = first.from.clone();
        let (now, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|placed| placed.from == from);
        let now: Vec<Layer> = now.into_iter().map(|placed| placed.layer.clone()).collect();
        copy_layers(source, &from, &now, target, repository, &|_| ())?;
        rest = later;
    }
    Ok(())
}

//! Reading what a build starts from: the previous image, the run image, the right to write the new one.

use registry_auth::Reference;
use registry_client::Reason;

use std::path::{Path, PathBuf};

use crate::cache::{ExtractError, LayerPlace, extract_sbom, is_whole};
use crate::layer::decompressed;
use crate::metadata::{Analyzed, AnalyzedRunImage, LifecycleMetadata, RunToml, StackToml, TargetMetadata, labels};
use crate::phase::{Home, Log, LogExt as _, PlatformApi};
use crate::{DiffId, Image, ImageError, ImageSource, ImageTarget, Platform, RegistryAccess};

/// What an analysis works on.
#[derive(Clone, Copy, Debug)]
pub struct AnalyzeInputs<'a> {
    /// The platform API.
    pub api: PlatformApi,
    /// The names that the image will be saved under; the first is the main one.
    pub names: &'a [String],
    /// The image of the last build.
    pub previous_image: &'a str,
    /// The base of the new image.
    pub run_image: &'a str,
    /// The cache image, which will be written.
    pub cache_image: Option<&'a str>,
    /// Bring back nothing of the last build.
    pub skip_layers: bool,
    /// The layers directory, absolute.
    pub layers_dir: &'a Path,
    /// Where the root of that path lies on disk: `/` unless in a test.
    pub root: &'a Path,
    /// The machine to choose images of an index for.
    pub platform: &'a Platform,
    /// Where the images are.
    pub home: Home<'a>,
}

/// Why an analysis failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnalyzeError {
    /// A name is not an image reference.
    #[error("could not parse reference: {0}")]
    Reference(String),
    /// An image may not be read.
    #[error("validating registry read access: failed to ensure registry read access to {image}")]
    ReadAccess {
        /// The image.
        image: String,
        /// The cause.
        source: ImageError,
    },
    /// An image may not be written.
    #[error("validating registry write access: failed to ensure registry read/write access to {image}")]
    WriteAccess {
        /// The image.
        image: String,
        /// The cause.
        source: ImageError,
    },
    /// The previous image could not be read.
    #[error("getting previous image")]
    PreviousImage(#[source] ImageError),
    /// The run image could not be read.
    #[error("getting run image")]
    RunImage(#[source] ImageError),
    /// The run image does not say which system it is for.
    #[error("failed to find OS in run image config")]
    NoOs,
    /// The bills of materials of the previous image could not be read.
    #[error("restoring layer: previous image has no layer {0:?}")]
    NoSbom(String),
    /// The bills of materials of the previous image could not be read.
    #[error("restoring layer")]
    ReadSbom(#[source] ImageError),
    /// The bills of materials of the previous image could not be extracted.
    #[error("restoring layer")]
    ExtractSbom(#[source] ExtractError),
}

impl AnalyzeError {
    /// Returns what failed, as the reference calls it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::NoOs | Self::NoSbom(_) | Self::ReadSbom(_) | Self::ExtractSbom(_) => "analyze",
            _ => "initialize analyzer",
        }
    }
}

/// Why no run image could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunImageError {
    /// run.toml names none.
    #[error("-run-image is required when there is no run metadata available")]
    NoRunToml,
    /// stack.toml names none.
    #[error("missing run image metadata (-run-image)")]
    NoStackToml,
    /// None of the names can be read.
    #[error("failed to find accessible run image")]
    NotAccessible,
}

/// Chooses the run image of a builder: the first in run.toml, from the mirror that is next to the output.
///
/// # Errors
/// When run.toml names no image, or none can be read.
pub fn choose_run_image(
    run: &RunToml,
    output: &Reference,
    access: &dyn RegistryAccess,
) -> Result<String, RunImageError> {
    let names = run.images.first().ok_or(RunImageError::NoRunToml)?;
    let is_readable = |reference: &Reference| access.check_read(reference).is_ok();
    names
        .choose(output.registry(), &is_readable)
        .ok_or(RunImageError::NotAccessible)
}

/// Chooses the run image of an older builder, as [`choose_run_image`].
///
/// # Errors
/// When stack.toml names no image, or none can be read.
pub fn choose_stack_run_image(
    stack: &StackToml,
    output: &Reference,
    access: &dyn RegistryAccess,
) -> Result<String, RunImageError> {
    if stack.run_image.image.is_empty() {
        return Err(RunImageError::NoStackToml);
    }
    let is_readable = |reference: &Reference| access.check_read(reference).is_ok();
    stack
        .run_image
        .choose(output.registry(), &is_readable)
        .ok_or(RunImageError::NotAccessible)
}

/// Checks access, reads previous image and run image, and brings back the bills of materials of the
/// previous image's launch layers.
///
/// # Errors
/// See [`AnalyzeError`].
pub fn analyze(
    inputs: &AnalyzeInputs<'_>,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
    access: &dyn RegistryAccess,
    log: &dyn Log,
) -> Result<Analyzed, AnalyzeError> {
    // Reading the images tells whether they may be read: no need to ask for that first.
    let previous_reference = parse(inputs.previous_image)?;
    let previous = read(inputs.previous_image, &previous_reference, inputs.platform, source)?;
    let run_reference = parse(inputs.run_image)?;
    let run_image = read(inputs.run_image, &run_reference, inputs.platform, source)?;
    check_write_access(inputs, [&previous_reference, &run_reference], access)?;
    let previous = previous.map_err(AnalyzeError::PreviousImage)?;
    let previous = whole(inputs, previous, &previous_reference, target, log)?;
    let run_image = run_image.map_err(AnalyzeError::RunImage)?;

    let mut analyzed = Analyzed {
        previous_image: Some(String::new()),
        ..Analyzed::default()
    };
    if let Some(image) = &previous {
        let pinned = inputs.home.name(&previous_reference.with_digest(image.digest()));
        log.debug(format_args!("Found image with identifier {pinned:?}"));
        let label = image.label(labels::LIFECYCLE_METADATA).unwrap_or_default();
        // Without knowledge of its layers, nothing of the image can be used.
        if let Ok(metadata) = LifecycleMetadata::from_label(label) {
            analyzed.previous_image = Some(pinned);
            analyzed.metadata = metadata;
        }
        let sbom = analyzed.metadata.sbom.as_deref().filter(|sha| !sha.is_empty());
        if let Some(sha) = sbom.filter(|_| inputs.api.at_least(8) && !inputs.skip_layers) {
            restore_sbom(inputs, image, &previous_reference, sha, source, log)?;
        }
    }
    analyzed.run_image = Some(describe(inputs, &run_reference, run_image.as_ref(), log)?);
    Ok(analyzed)
}

/// Reads an image. The inner error is one of the image itself, the outer one of access to it.
#[allow(
    clippy::type_complexity,
    reason = "two errors that are dealt with at different times"
)]
fn read(
    name: &str,
    reference: &Reference,
    platform: &Platform,
    source: &dyn ImageSource,
) -> Result<Result<Option<Image>, ImageError>, AnalyzeError> {
    match source.image(reference, platform) {
        Err(ImageError::Registry(error)) if matches!(error.status(), None | Some(401 | 403)) && !is_content(&error) => {
            Err(AnalyzeError::ReadAccess {
                image: name.to_owned(),
                source: error.into(),
            })
        }
        read => Ok(read),
    }
}

/// Returns whether the registry answered, but with something that is no manifest or config.
fn is_content(error: &registry_client::RegistryError) -> bool {
    matches!(error.reason(), Reason::WrongBytes { .. } | Reason::Answer(_))
}

/// Checks that all images may be written; those in `read` are known to be readable.
fn check_write_access(
    inputs: &AnalyzeInputs<'_>,
    read: [&Reference; 2],
    access: &dyn RegistryAccess,
) -> Result<(), AnalyzeError> {
    let mut written = Vec::new();
    for image in inputs
        .cache_image
        .into_iter()
        .chain(inputs.names.iter().map(String::as_str))
    {
        let reference = parse(image)?;
        let check = || {
            if !read.contains(&&reference) {
                access.check_read(&reference)?;
            }
            if !written.contains(reference.repository()) {
                access.check_write(&reference)?;
            }
            Ok(())
        };
        check().map_err(|source| AnalyzeError::WriteAccess {
            image: image.to_owned(),
            source,
        })?;
        written.push(reference.repository().clone());
    }
    Ok(())
}

fn parse(name: &str) -> Result<Reference, AnalyzeError> {
    Reference::parse(name).map_err(|_| AnalyzeError::Reference(name.to_owned()))
}

/// Returns the previous image if it is there and lacks no blob.
fn whole(
    inputs: &AnalyzeInputs<'_>,
    image: Option<Image>,
    reference: &Reference,
    target: &dyn ImageTarget,
    log: &dyn Log,
) -> Result<Option<Image>, AnalyzeError> {
    let Some(image) = image else {
        log.info(format_args!("Image with name {:?} not found", inputs.previous_image));
        return Ok(None);
    };
    // One on disk may lack the layers of its run image.
    if inputs.home != Home::Registry || is_whole(&image, reference, target).map_err(AnalyzeError::PreviousImage)? {
        return Ok(Some(image));
    }
    log.info(format_args!(
        "Ignoring image {:?} because it was corrupt",
        inputs.previous_image
    ));
    Ok(None)
}

/// Brings back the bills of materials, beside others that may be there. Those that belong elsewhere are a warning.
fn restore_sbom(
    inputs: &AnalyzeInputs<'_>,
    image: &Image,
    reference: &Reference,
    sha: &str,
    source: &dyn ImageSource,
    log: &dyn Log,
) -> Result<(), AnalyzeError> {
    log.info("Restoring data for SBOM from previous image");
    let layer = sha.parse::<DiffId>().ok().and_then(|diff_id| image.layer(&diff_id));
    let layer = layer.ok_or_else(|| AnalyzeError::NoSbom(sha.to_owned()))?;
    let blob = source
        .layer(reference, &layer.descriptor)
        .map_err(AnalyzeError::ReadSbom)?;
    let mut tar = decompressed(blob).map_err(|error| AnalyzeError::ExtractSbom(ExtractError::Tar(error)))?;
    let disk: PathBuf = inputs
        .root
        .join(inputs.layers_dir.strip_prefix("/").unwrap_or(inputs.layers_dir));
    let place = LayerPlace {
        disk: &disk,
        image: inputs.layers_dir,
        within: &["sbom"],
    };
    match extract_sbom(&mut tar, place) {
        // As when the last build had another layers directory; this one can do without.
        Err(error @ ExtractError::Escapes { .. }) => {
            log.warn(format_args!("Skipping restore of SBOM from previous image: {error}"));
            Ok(())
        }
        extracted => extracted.map_err(AnalyzeError::ExtractSbom),
    }
}

fn describe(
    inputs: &AnalyzeInputs<'_>,
    reference: &Reference,
    image: Option<&Image>,
    log: &dyn Log,
) -> Result<AnalyzedRunImage, AnalyzeError> {
    let since_0_12 = inputs.api.at_least(12);
    let pinned = if let Some(image) = image {
        let pinned = inputs.home.name(&reference.with_digest(image.digest()));
        log.debug(format_args!("Found image with identifier {pinned:?}"));
        pinned
    } else {
        log.info(format_args!("Image with name {:?} not found", inputs.run_image));
        String::new()
    };
    let target = match image {
        _ if !since_0_12 => None,
        Some(image) => Some(TargetMetadata::of(image)),
        // What an image would be for that does not exist: the exporter will say that it does not.
        None => Some(TargetMetadata {
            os: inputs.platform.os.clone(),
            arch: inputs.platform.architecture.clone(),
            ..TargetMetadata::default()
        }),
    };
    if target.as_ref().is_some_and(|target| target.os.is_empty()) {
        return Err(AnalyzeError::NoOs);
    }
    let name = if since_0_12 {
        inputs.run_image.to_owned()
    } else {
        String::new()
    };
    Ok(AnalyzedRunImage {
        reference: pinned,
        image: name,
        extend: false,
        target,
    })
}

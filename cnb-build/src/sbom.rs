//! SBOM files: which are there, whose they are, and where they go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cnb_detect::open_written;

use crate::build::entries;
use crate::{BuildError, LayerMetadata, media_type};

/// A format of SBOM files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SbomFormat {
    /// CycloneDX, `cdx.json`.
    CycloneDx,
    /// SPDX, `spdx.json`.
    Spdx,
    /// Syft, `syft.json`.
    Syft,
}

impl SbomFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::CycloneDx, Self::Spdx, Self::Syft];

    /// Returns the end of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::CycloneDx => "cdx.json",
            Self::Spdx => "spdx.json",
            Self::Syft => "syft.json",
        }
    }

    /// Returns the media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
            Self::Syft => "application/vnd.syft+json",
        }
    }
}

/// A SBOM file that a buildpack wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SbomFile {
    pub path: PathBuf,
    /// `launch`, `build` or `cache`.
    pub kind: &'static str,
    /// The layer it describes, if it is not about all of the buildpack's contribution.
    pub layer: Option<String>,
    pub format: SbomFormat,
}

impl SbomFile {
    /// Returns the place below `<layers>/sbom`.
    fn target(&self, escaped_id: &str) -> PathBuf {
        let mut target = Path::new(self.kind).join(escaped_id);
        if let Some(layer) = &self.layer {
            target.push(layer);
        }
        target.join(format!("sbom.{}", self.format.extension()))
    }
}

/// Says whether a buildpack wrote any SBOM file.
pub(crate) fn any(layers: &Path) -> Result<bool, BuildError> {
    Ok(!names(layers)?.is_empty())
}

fn names(layers: &Path) -> Result<Vec<String>, BuildError> {
    let mut names = Vec::new();
    for entry in entries(layers)? {
        if let Ok(name) = entry.file_name().into_string()
            && let Some(middle) = name.find(".sbom.")
            && name[middle + ".sbom".len()..]
                .strip_suffix(".json")
                .is_some_and(|format| !format.is_empty())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Finds and checks the SBOM files of one buildpack.
///
/// The owner of a file is what is in front of the first dot of its name; files of layers without metadata are ignored.
pub(crate) fn find(
    layers: &Path,
    layer_of: impl Fn(&str) -> Option<LayerMetadata>,
    declared: &[String],
    buildpack: &str,
) -> Result<Vec<SbomFile>, BuildError> {
    let mut files = Vec::new();
    for name in names(layers)? {
        let path = layers.join(&name);
        let owner = name.split('.').next().unwrap_or(&name);
        let format = SbomFormat::ALL
            .into_iter()
            .find(|format| name.ends_with(&format!("sbom.{}", format.extension())));
        let mut kinds = Vec::new();
        let mut layer = None;
        match owner {
            "launch" => kinds.push("launch"),
            "build" => kinds.push("build"),
            owner => {
                let Some(metadata) = layer_of(owner) else { continue };
                layer = Some(owner.to_owned());
                kinds.push(if metadata.types.launch { "launch" } else { "build" });
                if metadata.types.cache {
                    kinds.push("cache");
                }
            }
        }
        let Some(format) = format else {
            return Err(BuildError::rule(format!(
                "unsupported SBOM file format: '{}'",
                path.display()
            )));
        };
        check_declared(format, declared).map_err(|problem| {
            BuildError::rule(format!(
                "validating SBOM file '{}' for buildpack: '{buildpack}': {problem}",
                path.display()
            ))
        })?;
        files.extend(kinds.into_iter().map(|kind| SbomFile {
            path: path.clone(),
            kind,
            layer: layer.clone(),
            format,
        }));
    }
    Ok(files)
}

fn check_declared(format: SbomFormat, declared: &[String]) -> Result<(), String> {
    for declared in declared {
        let media_type =
            media_type::parse(declared).map_err(|error| format!("parsing declared media type: {error}"))?;
        if media_type == format.media_type() {
            return Ok(());
        }
    }
    Err(format!("undeclared SBOM media type: '{}'", format.media_type()))
}

/// Copies the files to where the exporter looks for them.
pub(crate) fn copy(files: &[(String, SbomFile)], sbom: &Path) -> Result<(), BuildError> {
    for (escaped_id, file) in files {
        let target = sbom.join(file.target(escaped_id));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(BuildError::file("mkdir", parent))?;
        }
        // Only the content: the mode is that of any new file.
        let mut from = open_written(&file.path).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => BuildError::file("read", &file.path)(error),
            _ => BuildError::file("open", &file.path)(error),
        })?;
        let mut to = fs::File::create(&target).map_err(BuildError::file("open", &target))?;
        io::copy(&mut from, &mut to).map_err(BuildError::file("copy", &target))?;
    }
    Ok(())
}

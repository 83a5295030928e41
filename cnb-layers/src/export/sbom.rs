//! The bills of materials of lifecycle and launcher.

use std::fs;
use std::io;
use std::path::Path;

use super::{ExportError, SbomFiles};
use crate::phase::{Log, LogExt as _};

const EXTENSIONS: [&str; 3] = ["sbom.cdx.json", "sbom.spdx.json", "sbom.syft.json"];

/// Copies them beside those of the buildpacks.
pub(super) fn copy(layers: &Path, files: SbomFiles<'_>, log: &dyn Log) -> Result<(), ExportError> {
    let launch = layers.join("sbom/launch/buildpacksio_lifecycle/launcher");
    match files {
        SbomFiles::BesideLifecycle(dir) => {
            let build = layers.join("sbom/build/buildpacksio_lifecycle");
            for (what, to) in [("lifecycle", &build), ("launcher", &launch)] {
                for extension in EXTENSIONS {
                    let name = format!("{what}.{extension}");
                    if !copy_file(&dir.join(&name), to, extension)? {
                        log.warn(format_args!("Did not find SBOM {name} in {}", dir.display()));
                    }
                }
            }
        }
        SbomFiles::Custom(dir) => {
            let failed = |source| ExportError::CopySbom {
                path: dir.to_owned(),
                source,
            };
            for entry in fs::read_dir(dir).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let is_dir = entry.file_type().map_err(failed)?.is_dir();
                if !is_dir && EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
                    copy_file(&entry.path(), &launch, &name)?;
                }
            }
        }
    }
    Ok(())
}

/// Copies a file into a directory, which is made; `false` when there is no such file.
fn copy_file(from: &Path, to: &Path, name: &str) -> Result<bool, ExportError> {
    let failed = |source| ExportError::CopySbom {
        path: from.to_owned(),
        source,
    };
    let mut file = match fs::File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    fs::create_dir_all(to).map_err(failed)?;
    let path = to.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    io::copy(&mut file, &mut fs::File::create_new(path).map_err(failed)?).map_err(failed)?;
    Ok(true)
}

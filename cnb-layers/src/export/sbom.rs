//! The bills of materials of lifecycle and launcher.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ExportError, SbomFiles};
use crate::phase::{Log, LogExt as _};

const EXTENSIONS: [&str; 3] = ["sbom.cdx.json", "sbom.spdx.json", "sbom.syft.json"];

/// Copies them beside those of the buildpacks.
pub(super) fn copy(layers: &Path, files: SbomFiles<'_>, log: &dyn Log) -> Result<(), ExportError> {
    let build = layers.join("sbom/build/buildpacksio_lifecycle");
    let launch = layers.join("sbom/launch/buildpacksio_lifecycle/launcher");
    copy_named(files.lifecycle, "lifecycle", &build, log)?;
    match files.launcher {
        None => copy_named(files.lifecycle, "launcher", &launch, log),
        Some(dir) => copy_all(dir, &launch, log),
    }
}

fn copy_named(dir: &Path, what: &str, to: &Path, log: &dyn Log) -> Result<(), ExportError> {
    for extension in EXTENSIONS {
        let name = format!("{what}.{extension}");
        if !copy_file(&dir.join(&name), to, extension)? {
            log.warn(format_args!("Did not find SBOM {name} in {}", dir.display()));
        }
    }
    Ok(())
}

fn copy_all(dir: &Path, to: &Path, log: &dyn Log) -> Result<(), ExportError> {
    let failed = |source| ExportError::CopySbom {
        path: dir.to_owned(),
        source,
    };
    let entries = fs::read_dir(dir).inspect_err(|_| {
        log.warn(format_args!("Failed to list contents of directory {}", dir.display()));
    });
    for entry in entries.map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() || !EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
            continue;
        }
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(failed)?;
            std::os::unix::fs::symlink(target, make_room(to, &name).map_err(failed)?).map_err(failed)?;
        } else {
            copy_file(&entry.path(), to, &name)?;
        }
    }
    Ok(())
}

/// Makes a directory, removes the file from it that will be made anew, and returns its path.
fn make_room(dir: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(path),
    }
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
    let path = make_room(to, name).map_err(failed)?;
    io::copy(&mut file, &mut fs::File::create_new(path).map_err(failed)?).map_err(failed)?;
    Ok(true)
}

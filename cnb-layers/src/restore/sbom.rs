//! Bills of materials: from the cache, to the buildpacks whose layers they are of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{RestoreError, RestoreInputs, chain};
use crate::DiffId;
use crate::cache::{Cache, LayerPlace, extract_sbom};
use crate::metadata::GroupBuildpack;
use crate::phase::{Log, LogExt as _, os_error_text};

/// Brings back the bills of materials of cached layers.
pub(super) fn restore_sbom(inputs: &RestoreInputs<'_>, cache: &dyn Cache, sha: &str, log: &dyn Log) {
    log.info("Restoring data for SBOM from cache");
    let place = LayerPlace {
        disk: &inputs.disk(),
        image: inputs.layers_dir,
        within: &["sbom"],
    };
    let restored = match sha.parse::<DiffId>() {
        Err(_) => Err(format!("failed to find cache layer with SHA '{sha}'")),
        Ok(diff_id) => cache
            .layer(&diff_id)
            .map_err(|error| chain(&error))
            .and_then(|mut tar| extract_sbom(&mut tar, place).map_err(|error| chain(&error))),
    };
    if let Err(problem) = restored {
        log.warn(format_args!("Skipping restore of the SBOM: {problem}"));
    }
}

/// Gives each buildpack the bills of materials of its own layers, then removes the others. One that may not be read,
/// or whose name would be too long, is a warning.
pub(super) fn distribute_sbom(
    inputs: &RestoreInputs<'_>,
    buildpacks: &[&GroupBuildpack],
    log: &dyn Log,
) -> Result<(), RestoreError> {
    let sbom = inputs.disk().join("sbom");
    let skip = |file: &Path, error: &io::Error| {
        log.warn(format_args!(
            "Skipping restore of the SBOM {}: {}",
            file.display(),
            os_error_text(error)
        ));
    };
    for kind in ["cache", "launch"] {
        for buildpack in buildpacks {
            let to = inputs.disk().join(buildpack.directory());
            if !fs::symlink_metadata(&to).is_ok_and(|found| found.is_dir()) {
                continue;
            }
            for layer in directories(&sbom.join(kind).join(buildpack.directory())) {
                for (file, from) in regular_files(&layer.1) {
                    let Some(file) = sbom_name(&file) else { continue };
                    match fs::File::open(&from) {
                        Ok(opened) => {
                            let path = to.join(format!("{}.{file}", layer.0));
                            match copy(opened, &path) {
                                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => skip(&from, &error),
                                copied => copied.map_err(|source| RestoreError::Write { path, source })?,
                            }
                        }
                        Err(error) => skip(&from, &error),
                    }
                }
            }
        }
    }
    match fs::symlink_metadata(&sbom) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&sbom),
        Ok(_) => fs::remove_file(&sbom),
        Err(_) => Ok(()),
    }
    .map_err(|source| RestoreError::Write { path: sbom, source })
}

/// Returns the name of a bill of materials without what follows its `json`; `None` for other files.
fn sbom_name(file: &str) -> Option<&str> {
    let rest = file.strip_prefix("sbom")?;
    let end = rest.rfind("json").filter(|at| *at > 0)?;
    Some(&file[.."sbom".len() + end + "json".len()])
}

fn directories(dir: &Path) -> Vec<(String, PathBuf)> {
    named(dir, fs::FileType::is_dir)
}

fn regular_files(dir: &Path) -> Vec<(String, PathBuf)> {
    named(dir, fs::FileType::is_file)
}

fn named(dir: &Path, wanted: impl Fn(&fs::FileType) -> bool) -> Vec<(String, PathBuf)> {
    if !fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir()) {
        return Vec::new();
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| wanted(&kind)))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

fn copy(mut from: fs::File, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    io::copy(&mut from, &mut fs::File::create_new(to)?).map(|_| ())
}

//! The layers directory: which layers of a buildpack it holds and what their files say.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cnb_order::toml_text;

use crate::metadata::{DecodeError, GroupBuildpack, LayerToml};
use crate::phase::{Log, LogExt as _};

/// A layer of a buildpack on disk.
#[derive(Clone, Debug)]
pub(crate) struct LayerDir {
    /// The buildpack's id.
    pub(crate) buildpack: String,
    /// The layer's name as documents have it: what is no UTF-8 is U+FFFD there.
    pub(crate) name: String,
    /// The layer's directory, which need not exist.
    pub(crate) path: PathBuf,
}

impl LayerDir {
    /// Returns the name that logs use: `<buildpack>:<layer>`.
    pub(crate) fn identifier(&self) -> String {
        format!("{}:{}", self.buildpack, self.name)
    }

    /// Returns the name of the layer's directory.
    pub(crate) fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Returns the path of `<layer>.toml`.
    pub(crate) fn toml_path(&self) -> PathBuf {
        beside(&self.path, ".toml")
    }

    /// Returns what `<layer>.toml` says; a missing file says nothing.
    pub(crate) fn toml(&self) -> Result<LayerToml, LayerTomlError> {
        match fs::read(self.toml_path()) {
            Ok(bytes) => toml_text(&bytes)
                .map_err(DecodeError::from)
                .and_then(LayerToml::from_toml)
                .map_err(LayerTomlError::Decode),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LayerToml::default()),
            Err(error) => Err(LayerTomlError::Read(error)),
        }
    }

    /// Returns whether there is anything at the layer's path; an empty directory and even a file count.
    pub(crate) fn has_contents(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Removes the layer with all its files.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for path in [self.path.clone(), beside(&self.path, ".sha"), self.toml_path()] {
            let removed = match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why a `<layer>.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LayerTomlError {
    /// It could not be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It could not be understood.
    #[error("cannot understand it")]
    Decode(#[source] DecodeError),
}

/// Logs what a buildpack's directory holds, for people who look into a problem. `layers_dir` is as logs name it.
pub(crate) fn log_directory(layers_dir: &Path, disk: &Path, buildpack: &GroupBuildpack, log: &dyn Log) {
    let directory = buildpack.directory();
    log.debug(format_args!(
        "Reading buildpack directory: {}",
        layers_dir.join(&directory).display()
    ));
    let entries = fs::read_dir(disk.join(&directory)).into_iter().flatten().flatten();
    let names: BTreeSet<_> = entries.map(|entry| entry.file_name()).collect();
    for name in names {
        log.debug(format_args!(
            "Reading buildpack directory item: {}",
            name.to_string_lossy()
        ));
    }
}

/// Finds the layers of a buildpack: each directory and each `<name>.toml` but store, launch and build, and but names of
/// directories that hold more than a layer. Sorted by name; a missing directory has none.
pub(crate) fn layers_of(layers: &Path, buildpack: &GroupBuildpack) -> io::Result<Vec<LayerDir>> {
    let dir = layers.join(buildpack.directory());
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            names.insert(name);
        } else if let Some(name) = name.as_bytes().strip_suffix(b".toml")
            && !["store", "launch", "build", "", ".", ".."]
                .map(str::as_bytes)
                .contains(&name)
        {
            names.insert(OsStr::from_bytes(name).to_owned());
        }
    }
    let layer = |name: OsString| LayerDir {
        buildpack: buildpack.id.clone(),
        path: dir.join(&name),
        name: name.to_string_lossy().into_owned(),
    };
    Ok(names.into_iter().map(layer).collect())
}

/// The most bytes of a layer's name: with `.toml` behind it, it is the name of a file.
const LONGEST_NAME: usize = 255 - ".toml".len();

/// Returns whether a name from a document can be the name of a layer or of a buildpack's directory.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Returns whether a buildpack id can have a directory of its own.
pub(crate) fn is_plain_id(id: &str) -> bool {
    id.split('/').all(is_plain_name)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_tomls_are_layers_but_not_store_launch_and_build() {
        let dir = tempfile::tempdir().expect("there is room");
        let bp = dir.path().join("acme_node");
        for name in ["b", "a", "store"] {
            fs::create_dir_all(bp.join(name)).expect("there is room");
        }
        for name in [
            "c.toml",
            "a.toml",
            "launch.toml",
            "build.toml",
            "store.toml",
            "a.sbom.cdx.json",
            ".toml",
            "..toml",
            "...toml",
        ] {
            fs::write(bp.join(name), "").expect("there is room");
        }
        std::os::unix::fs::symlink("a", bp.join("link")).expect("there is room");
        fs::create_dir(bp.join(OsStr::from_bytes(b"x\xff"))).expect("there is room");
        let buildpack = GroupBuildpack {
            id: "acme/node".into(),
            ..GroupBuildpack::default()
        };
        let names: Vec<_> = layers_of(dir.path(), &buildpack)
            .expect("it is readable")
            .into_iter()
            .map(|layer| layer.name)
            .collect();
        assert_eq!(names, ["a", "b", "c", "store", "x\u{fffd}"]);
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_not_plain() {
        assert!(is_plain_id("acme/node.js") && is_plain_name("a.b c"));
        for id in ["", "..", "../x", "a//b", "/a", "a/."] {
            assert!(!is_plain_id(id), "{id}");
        }
        assert!(is_plain_name(&"a".repeat(250)) && !is_plain_name(&"a".repeat(251)));
    }
}

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cnb_order::{go_clean, go_clean_path};

use super::tree::below;
use super::{LayerBuilder, LayerError, Parents, Tree};

/// Returns the layer of a directory: the directories above it, then everything in it.
///
/// `dir` is its path in the image; on disk it is below `root` (`/` where image and disk agree). Everything
/// from `dir` on belongs to `uid` and `gid`; the directories above keep mode and owner, as `parents` says.
///
/// # Errors
/// When a directory above cannot be read. The tree itself is read when the layer is written.
pub fn directory_layer(
    root: &Path,
    dir: &Path,
    parents: &Parents<'_>,
    uid: i64,
    gid: i64,
) -> Result<LayerBuilder, LayerError> {
    let dir = go_clean_path(dir);
    let layer = parents.add(LayerBuilder::new(), root, &dir)?;
    Ok(layer.tree(Tree::new(below(root, &dir), dir.as_os_str().as_bytes(), uid, gid)))
}

/// Returns the layer of the launcher: the program at `launcher` as `/cnb/lifecycle/launcher`.
pub fn launcher_layer(launcher: impl Into<PathBuf>) -> LayerBuilder {
    LayerBuilder::new()
        .directory("/cnb", 0o755, 0, 0)
        .directory("/cnb/lifecycle", 0o755, 0, 0)
        .file_from("/cnb/lifecycle/launcher", 0o755, 0, 0, launcher)
}

/// Returns the layer of links to the launcher, one for each process type: `/cnb/process/<type>`.
///
/// # Errors
/// When a type is empty or cannot be a file name.
pub fn process_types_layer<S: AsRef<str>>(types: &[S]) -> Result<LayerBuilder, LayerError> {
    let mut layer = LayerBuilder::new()
        .directory("/cnb", 0o755, 0, 0)
        .directory("/cnb/process", 0o755, 0, 0);
    for name in types {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(LayerError::NoProcessType);
        }
        if name.contains(['/', '>', '<', ':', '|', '&', '\\']) {
            return Err(LayerError::ProcessType { name: name.to_owned() });
        }
        layer = layer.symlink(
            go_clean(format!("/cnb/process/{name}").as_bytes()),
            "/cnb/lifecycle/launcher",
            0o755,
            0,
            0,
        );
    }
    Ok(layer)
}

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cnb_order::{go_clean, go_clean_path};

use super::tree::{below, walk};
use super::{LayerBuilder, LayerError, Parents, Pattern};

/// Cuts the application directory into layers: one for each slice, and one for the rest.
///
/// A slice is a list of patterns (see [`Pattern`]) for paths relative to `dir`. A directory that matches
/// brings all that is in it; what several slices match belongs to the first. Directories above what a
/// slice takes, up to `dir`, are in it too. A slice that takes nothing becomes a layer without entries.
///
/// `dir` is the directory's absolute path in the image; on disk it is below `root`. Everything from `dir`
/// on belongs to `uid` and `gid`.
///
/// # Errors
/// When the tree cannot be read, or a pattern is malformed and there is a path that it is tried on.
pub fn slice_layers(
    root: &Path,
    dir: &Path,
    slices: &[Vec<String>],
    parents: &Parents<'_>,
    uid: i64,
    gid: i64,
) -> Result<Vec<LayerBuilder>, LayerError> {
    let dir = go_clean_path(dir);
    let index = Index::read(below(root, &dir), dir.as_os_str().as_bytes())?;
    let mut taken = BTreeSet::new();
    let mut layers = Vec::new();
    let layer = |chosen: &BTreeSet<&Vec<u8>>| -> Result<LayerBuilder, LayerError> {
        let empty = LayerBuilder::new();
        let start = if chosen.is_empty() {
            empty
        } else {
            parents.add(empty, root, &dir)?
        };
        Ok(chosen.iter().fold(start, |layer, name| {
            layer.path(index.disk(name), (*name).clone(), uid, gid)
        }))
    };
    for patterns in slices {
        let chosen = index.choose(patterns, &mut taken)?;
        layers.push(layer(&chosen)?);
    }
    let rest: BTreeSet<&Vec<u8>> = index.paths.keys().filter(|name| !taken.contains(*name)).collect();
    layers.push(layer(&rest)?);
    Ok(layers)
}

/// Everything in the directory, by its name in the image.
struct Index {
    root: Vec<u8>,
    disk: PathBuf,
    paths: BTreeMap<Vec<u8>, PathBuf>,
    children: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

/// Returns the part of a path that is beneath the root.
fn relative_bytes<'a>(name: &'a [u8], root: &[u8]) -> &'a [u8] {
    &name[root.len() + usize::from(!root.ends_with(b"/"))..]
}

impl Index {
    fn read(disk: PathBuf, name: &[u8]) -> Result<Self, LayerError> {
        let mut index = Self {
            root: name.to_vec(),
            disk,
            paths: BTreeMap::new(),
            children: BTreeMap::new(),
        };
        let (paths, children) = (&mut index.paths, &mut index.children);
        walk(&index.disk, name, &[], &mut |disk, path, _| {
            if path != name {
                children.entry(parent(path).to_vec()).or_default().push(path.to_vec());
            }
            paths.insert(path.to_vec(), disk.to_owned());
            Ok(())
        })?;
        Ok(index)
    }

    fn disk(&self, name: &[u8]) -> PathBuf {
        self.paths.get(name).unwrap_or(&self.disk).clone()
    }

    /// Returns what one slice has, and marks what no later slice may take.
    fn choose<'a>(
        &'a self,
        patterns: &[String],
        taken: &mut BTreeSet<&'a Vec<u8>>,
    ) -> Result<BTreeSet<&'a Vec<u8>>, LayerError> {
        let mut chosen = BTreeSet::new();
        for pattern in patterns {
            let cleaned = go_clean(pattern.as_bytes());
            let compiled = Pattern::new(&cleaned);
            for name in self.paths.keys().filter(|name| **name != self.root) {
                match compiled.matches(relative_bytes(name, &self.root)) {
                    Ok(true) => self.take(name, taken, &mut chosen),
                    Ok(false) => {}
                    Err(source) => {
                        return Err(LayerError::Pattern {
                            path: self.first_refused(&compiled),
                            pattern: String::from_utf8_lossy(&cleaned).into_owned(),
                            source,
                        });
                    }
                }
            }
        }
        self.add_directories_above(taken, &mut chosen);
        Ok(chosen)
    }

    /// Returns the path, below the root, on which a malformed pattern fails first in the order of a walk.
    fn first_refused(&self, pattern: &Pattern) -> PathBuf {
        self.paths
            .keys()
            .filter(|name| **name != self.root)
            .map(|name| relative_bytes(name, &self.root))
            .filter(|path| pattern.matches(path).is_err())
            .map(|path| Path::new(OsStr::from_bytes(path)))
            .min()
            .unwrap_or_else(|| Path::new(""))
            .to_owned()
    }

    fn take<'a>(&'a self, name: &'a Vec<u8>, taken: &mut BTreeSet<&'a Vec<u8>>, chosen: &mut BTreeSet<&'a Vec<u8>>) {
        let mut waiting = vec![name];
        while let Some(name) = waiting.pop() {
            if taken.insert(name) {
                chosen.insert(name);
            }
            waiting.extend(self.children.get(name).into_iter().flatten());
        }
    }

    /// Adds the directories above what was chosen. One all of whose children are taken is taken as well.
    fn add_directories_above<'a>(&'a self, taken: &mut BTreeSet<&'a Vec<u8>>, chosen: &mut BTreeSet<&'a Vec<u8>>) {
        let mut above = BTreeSet::new();
        for name in chosen.iter() {
            let mut name: &[u8] = name;
            while name != self.root {
                name = parent(name);
                above.insert(name.to_vec());
            }
        }
        // A longer path is never above a shorter one.
        let mut above: Vec<_> = above
            .iter()
            .filter_map(|name| self.paths.get_key_value(name))
            .map(|(name, _)| name)
            .collect();
        above.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in above {
            chosen.insert(name);
            if self
                .children
                .get(name)
                .is_some_and(|children| children.iter().all(|child| taken.contains(child)))
            {
                taken.insert(name);
            }
        }
    }
}

fn parent(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(0) | None => b"/",
        Some(at) => &name[..at],
    }
}

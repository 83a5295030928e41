//! A directory as entries of a layer, in the order of their names.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, MetadataExt as _};

use super::{
    LocalError,
    ignored::{IgnoreFiles, Patterns},
    tar_writer::{Entry, Kind},
};
use crate::limits::Spent;

/// Takes the entries one after the other, each with its content if it is a file.
pub(super) trait Sink {
    fn entry(&mut self, entry: &Entry, content: Option<&mut dyn std::io::Read>) -> Result<(), LocalError>;
}

/// Directories deeper than this are no source.
const MAX_DEPTH: usize = 512;

pub(super) struct Walk<'a, 'l> {
    pub(super) files: &'a IgnoreFiles,
    pub(super) top: &'a Path,
    pub(super) spent: Spent<'l>,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) left_out: u64,
}

impl Walk<'_, '_> {
    /// Hands over what is in `dir`, whose path beneath the source is `path`; links are not followed.
    pub(super) fn directory(
        &mut self,
        dir: &Dir,
        path: &Path,
        above: &Patterns,
        depth: usize,
    ) -> Result<(), LocalError> {
        let unreadable = |path: &Path, source| LocalError::Read {
            path: path.to_owned(),
            source,
        };
        let patterns = above.within(dir, path, self.files)?;
        let entries = dir.entries().map_err(|source| unreadable(path, source))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| unreadable(path, source))?;
        names.sort();
        for name in names {
            let place = path.join(&name);
            let failed = |source| unreadable(&place, source);
            let metadata = dir.symlink_metadata(&name).map_err(failed)?;
            if patterns.leave_out(&place, metadata.is_dir()) {
                self.left_out += 1;
                continue;
            }
            let too_large = |source| LocalError::TooLarge {
                path: self.top.to_owned(),
                source,
            };
            self.spent.entry(place.as_os_str().as_bytes()).map_err(too_large)?;
            let mut entry = Entry {
                name: absolute(&place),
                kind: Kind::Directory,
                mode: metadata.mode() & 0o7777,
            };
            if metadata.is_dir() {
                if depth == MAX_DEPTH {
                    return Err(failed(std::io::Error::other("it is nested too deeply")));
                }
                self.sink.entry(&entry, None)?;
                let inner = dir.open_dir(&name).map_err(failed)?;
                self.directory(&inner, &place, &patterns, depth + 1)?;
            } else if metadata.is_symlink() {
                let target = dir.read_link_contents(&name).map_err(failed)?;
                entry.kind = Kind::Link(target.as_os_str().as_bytes().to_owned());
                self.sink.entry(&entry, None)?;
            } else if metadata.is_file() {
                let mut file = dir.open(&name).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                self.spent.bytes(size).map_err(too_large)?;
                entry.kind = Kind::File(size);
                self.sink.entry(&entry, Some(&mut file))?;
            } else {
                // A socket, pipe or device is no part of a source.
                self.left_out += 1;
            }
        }
        Ok(())
    }
}

/// The name in the layer, which begins with a slash.
pub(super) fn absolute(path: &Path) -> Vec<u8> {
    let mut name = b"/".to_vec();
    name.extend_from_slice(path.as_os_str().as_bytes());
    name
}

/// The path beneath the source, of a name in the layer.
pub(super) fn relative(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name.strip_prefix(b"/").unwrap_or(name)))
}

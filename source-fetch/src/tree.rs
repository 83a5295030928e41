//! A git tree as files, each written through the handle of its directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use git2::{ObjectType, Repository, Tree};

use crate::limits::{LimitExceeded, Spent};

/// Why a tree could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A name that would mean something else to the file system, or belongs to git.
    #[error("it holds a file named {name:?}, which must not be written")]
    Name {
        /// The path.
        name: String,
    },
    /// Too much of something.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// An object is missing or damaged.
    #[error("object {id} of {path} can't be read")]
    Object {
        /// The object.
        id: String,
        /// The path.
        path: String,
        /// The cause.
        source: git2::Error,
    },
    /// Writing failed.
    #[error("{path} can't be written")]
    Io {
        /// The path.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

const EXECUTABLE: i32 = 0o100_755;
const LINK: i32 = 0o120_000;

/// Directories deeper than this are no source.
const MAX_DEPTH: usize = 512;

/// A submodule: where it is in the tree, and its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gitlink {
    pub(crate) path: PathBuf,
    pub(crate) commit: git2::Oid,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Submodules, which are empty directories.
    pub(crate) links: Vec<Gitlink>,
    /// How many files are kept elsewhere by Git LFS, and stay pointers.
    pub(crate) pointers: u64,
    /// The first of them, as text for people.
    pub(crate) pointer: Option<String>,
}

/// How files begin that Git LFS keeps elsewhere; they are short.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const MAX_POINTER: usize = 1024;

/// Writes all files of `tree` into `root`, which must be empty but for git's own directory. Files that exist are not
/// overwritten: that is an error.
///
/// Submodules become empty directories, as git leaves them.
pub(crate) fn write_tree(
    repository: &Repository,
    tree: &Tree<'_>,
    root: &Dir,
    spent: &mut Spent<'_>,
) -> Result<Written, TreeError> {
    let odb = repository.odb().map_err(|source| TreeError::Object {
        id: tree.id().to_string(),
        path: String::new(),
        source,
    })?;
    let mut writer = Writer {
        repository,
        odb,
        spent,
        written: Written::default(),
    };
    writer.directory(root, tree, &mut Vec::new(), 0)?;
    Ok(writer.written)
}

struct Writer<'a, 'l> {
    repository: &'a Repository,
    odb: git2::Odb<'a>,
    spent: &'a mut Spent<'l>,
    written: Written,
}

impl Writer<'_, '_> {
    fn directory(&mut self, dir: &Dir, tree: &Tree<'_>, path: &mut Vec<u8>, depth: usize) -> Result<(), TreeError> {
        for entry in tree {
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name_bytes());
            self.spent.entry(path)?;
            let shown = || String::from_utf8_lossy(path).replace(|c: char| c.is_control(), "?");
            if !is_safe(entry.name_bytes()) || depth == MAX_DEPTH {
                return Err(TreeError::Name { name: shown() });
            }
            let name = os_name(entry.name_bytes());
            let io_error = |source| TreeError::Io { path: shown(), source };
            let object_error = |source| TreeError::Object {
                id: entry.id().to_string(),
                path: shown(),
                source,
            };
            match entry.kind() {
                Some(ObjectType::Tree) => {
                    let tree = self.repository.find_tree(entry.id()).map_err(object_error)?;
                    // Made here and now, so it is a directory and no link, whatever else the tree holds.
                    dir.create_dir(name).map_err(io_error)?;
                    let inner = dir.open_dir(name).map_err(io_error)?;
                    self.directory(&inner, &tree, path, depth + 1)?;
                }
                Some(ObjectType::Commit) => {
                    dir.create_dir(name).map_err(io_error)?;
                    self.written.links.push(Gitlink {
                        path: os_name(path).to_owned(),
                        commit: entry.id(),
                    });
                }
                _ => {
                    // The size comes first: a file of gigabytes is not read to find out that it is too large.
                    let (size, _) = self.odb.read_header(entry.id()).map_err(object_error)?;
                    self.spent.bytes(size as u64)?;
                    let blob = self.repository.find_blob(entry.id()).map_err(object_error)?;
                    match entry.filemode() {
                        LINK => {
                            let target = os_name(blob.content());
                            dir.symlink_contents(target, name).map_err(io_error)?;
                        }
                        mode => {
                            write_file(dir, name, mode, blob.content()).map_err(io_error)?;
                            if size < MAX_POINTER && blob.content().starts_with(POINTER) {
                                self.written.pointers += 1;
                                self.written.pointer.get_or_insert_with(shown);
                            }
                        }
                    }
                }
            }
            path.truncate(length);
        }
        Ok(())
    }
}

fn write_file(dir: &Dir, name: &Path, mode: i32, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(if mode == EXECUTABLE { 0o777 } else { 0o666 });
    let mut file = dir.open_with(name, &options)?;
    io::Write::write_all(&mut file, content)
}

fn os_name(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

/// Whether a name is one path component and not git's own directory, in any of the spellings that file systems fold
/// into it.
fn is_safe(name: &[u8]) -> bool {
    let folded: Vec<u8> = String::from_utf8_lossy(name)
        .chars()
        // Characters that some file systems ignore in names.
        .filter(
            |c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'),
        )
        .collect::<String>()
        .to_ascii_lowercase()
        .into_bytes();
    let folded = folded.trim_ascii_end();
    !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0)
        && folded != b".git"
        && folded != b"git~1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "a/b", ".git", ".GIT", ".g\u{200c}it", "git~1", "a\0b"] {
            assert!(!is_safe(name.as_bytes()), "{name:?}");
        }
        for name in ["a", ".gitignore", "..a", "git", "\u{e4}"] {
            assert!(is_safe(name.as_bytes()), "{name:?}");
        }
    }
}

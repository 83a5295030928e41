//! Files and directories written beneath one directory, whatever their names say.

use std::{
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _, Permissions, PermissionsExt};

use crate::limits::{LimitExceeded, Limits, Received, Spent};

/// A directory that archives are unpacked into, through its handle: no name leads out of it.
pub(crate) struct Beneath<'a> {
    root: Dir,
    spent: Spent<'a>,
    /// Directories whose own mode would hinder writing into them: it is set at the end.
    strict: Vec<(PathBuf, u32)>,
}

/// Why something could not be written beneath a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Too much of something.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// Writing failed.
    #[error("{path} can't be written")]
    Write {
        /// The path beneath the target.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The content could not be read.
    #[error("the content of {path} can't be read; the archive may be cut off or damaged")]
    Content {
        /// The path beneath the target.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

/// The mode bits that make a directory usable for its owner.
const OWNER: u32 = 0o700;

impl<'a> Beneath<'a> {
    pub(crate) fn open(dir: &Path, limits: &'a Limits) -> io::Result<Self> {
        Ok(Self {
            root: Dir::open_ambient_dir(dir, cap_std::ambient_authority())?,
            spent: Spent::new(limits),
            strict: Vec::new(),
        })
    }

    /// Counts the bytes that what is written was made from.
    pub(crate) fn received(&self) -> Received {
        self.spent.received().clone()
    }

    /// Reads what is not written, which costs time all the same.
    pub(crate) fn pass_over(&mut self, content: &mut dyn Read) -> Result<(), WriteError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.spent.bytes(count as u64)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(WriteError::Content {
                        path: "an entry that is left out".to_owned(),
                        source,
                    });
                }
            }
        }
    }

    /// Makes a directory and, with the same mode, those above it; one that exists keeps its mode.
    pub(crate) fn directory(&mut self, path: &Path, mode: u32) -> Result<(), WriteError> {
        self.count(path)?;
        let failed = |source| failed(path, source);
        self.parents(path, (mode & 0o777) | OWNER).map_err(failed)?;
        if self.root.metadata(path).is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        builder.mode((mode & 0o1777) | OWNER);
        self.root.create_dir_with(path, &builder).map_err(failed)?;
        if mode & OWNER != OWNER {
            self.strict.push((path.to_owned(), mode & OWNER));
        }
        Ok(())
    }

    /// Writes a file, over one that exists; its mode counts when the file is new.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), WriteError> {
        self.count(path)?;
        let failed = |source| failed(path, source);
        self.parents(path, 0o777).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode & 0o7777);
        let mut file = self.root.open_with(path, &options).map_err(failed)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(WriteError::Content {
                        path: shown(path),
                        source,
                    });
                }
            };
            self.spent.bytes(count as u64)?;
            file.write_all(&buffer[..count]).map_err(failed)?;
        }
    }

    /// Gives directories the modes that would have hindered writing into them.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        for (path, owner) in self.strict.iter().rev() {
            let failed = |source| failed(path, source);
            let dir = self.root.open_dir(path).map_err(failed)?;
            let mode = dir.dir_metadata().map_err(failed)?.permissions().mode();
            let mode = Permissions::from_mode((mode & 0o1077) | owner);
            dir.set_permissions(".", mode).map_err(failed)?;
        }
        Ok(())
    }

    fn count(&mut self, path: &Path) -> Result<(), LimitExceeded> {
        self.spent.entry(path.as_os_str().as_encoded_bytes())
    }

    fn parents(&self, path: &Path, mode: u32) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                let mut builder = DirBuilder::new();
                self.root.create_dir_with(parent, builder.recursive(true).mode(mode))
            }
            _ => Ok(()),
        }
    }
}

fn failed(path: &Path, source: io::Error) -> WriteError {
    WriteError::Write {
        path: shown(path),
        source,
    }
}

/// The path for people: names of strangers must not move their cursor.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace(|c: char| c.is_control(), "?")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_link_that_leads_out_is_not_followed() {
        let (outside, inside) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).expect("a link");
        let limits = Limits::default();
        let mut beneath = Beneath::open(inside.path(), &limits).expect("opens");
        let written = beneath.file("link/file".as_ref(), 0o644, &mut &b"x"[..]);
        assert!(written.is_err());
        assert!(fs::read_dir(outside.path()).expect("readable").next().is_none());
    }

    #[test]
    fn a_read_only_directory_is_filled_before_it_becomes_so() {
        let dir = tempfile::tempdir().expect("dir");
        let limits = Limits::default();
        let mut beneath = Beneath::open(dir.path(), &limits).expect("opens");
        beneath.directory("d".as_ref(), 0o500).expect("made");
        beneath.file("d/f".as_ref(), 0o644, &mut &b"x"[..]).expect("written");
        beneath.finish().expect("finished");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.path().join("d")).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o500);
    }

    #[test]
    fn bytes_beyond_the_limit_are_not_written() {
        let dir = tempfile::tempdir().expect("dir");
        let limits = Limits {
            unpacked: 10,
            ..Limits::default()
        };
        let mut beneath = Beneath::open(dir.path(), &limits).expect("opens");
        let error = beneath.file("f".as_ref(), 0o644, &mut io::repeat(0).take(1 << 30));
        assert!(matches!(
            error,
            Err(WriteError::Limit(LimitExceeded::Unpacked { limit: 10 }))
        ));
    }
}

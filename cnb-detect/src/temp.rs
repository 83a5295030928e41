//! Directories that vanish.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cnb_order::go_clean_path;

/// A new, private directory that is removed with all its content when the value is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes `<parent>/<prefix><number>` with the first number that is free, mode 0700.
    ///
    /// # Errors
    /// When the directory cannot be made, or a million are there already.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        let parent = go_clean_path(parent);
        for number in 0..1_000_000_u32 {
            let path = parent.join(format!("{prefix}{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "{} is full of {prefix} directories",
            parent.display()
        )))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

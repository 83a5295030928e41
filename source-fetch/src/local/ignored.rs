//! Which files of a local source stay where they are.

use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::LocalError;

/// The names of files that say, in the form of a `.gitignore`, what of their directory is left out of an upload.
///
/// By default `.kpackignore`. Lines of a deeper directory go before those of one above it, and of two files in one
/// directory the one named later.
///
/// # Deviation
/// The reference has no ignore files and uploads everything, as [`IgnoreFiles::none`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreFiles(Vec<String>);

impl Default for IgnoreFiles {
    fn default() -> Self {
        Self(vec![".kpackignore".to_owned()])
    }
}

impl IgnoreFiles {
    /// Leaves nothing out.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Follows files of that name, too, such as `.gitignore` or `.dockerignore`.
    #[must_use]
    pub fn and(mut self, name: impl Into<String>) -> Self {
        self.0.push(name.into());
        self
    }
}

/// The patterns that count in a directory, those of directories above it first.
#[derive(Clone, Default)]
pub(super) struct Patterns(Vec<Gitignore>);

/// An ignore file larger than this is none.
const MAX_FILE: u64 = 1 << 20;

impl Patterns {
    /// Adds what the ignore files of `dir` say; `path` is its path beneath the source.
    pub(super) fn within(&self, dir: &Dir, path: &Path, files: &IgnoreFiles) -> Result<Self, LocalError> {
        let mut patterns = self.clone();
        for name in &files.0 {
            let place = path.join(name);
            let unreadable = |source| LocalError::Read {
                path: place.clone(),
                source,
            };
            match dir.symlink_metadata(name) {
                Ok(found) if found.is_file() && found.len() <= MAX_FILE => {}
                _ => continue,
            }
            let text = dir.read(name).map_err(unreadable)?;
            patterns.0.push(parse(path, &place, &String::from_utf8_lossy(&text))?);
        }
        Ok(patterns)
    }

    pub(super) fn leave_out(&self, path: &Path, is_directory: bool) -> bool {
        for patterns in self.0.iter().rev() {
            match patterns.matched(path, is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

fn parse(dir: &Path, place: &Path, text: &str) -> Result<Gitignore, LocalError> {
    let failed = |source| LocalError::Ignore {
        path: PathBuf::from(place),
        source,
    };
    let mut builder = GitignoreBuilder::new(dir);
    for line in text.lines() {
        builder.add_line(None, line).map_err(failed)?;
    }
    builder.build().map_err(failed)
}

//! A directory inside of a source.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A path inside of a source: relative, without `..`, and not into `.git`.
///
/// Empty for the source itself. Slashes at both ends and single dots don't count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubPath(String);

/// A sub path that leaves the source, or leads into what belongs to git.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sub path {text:?} {problem}; give a directory inside of the source, such as \"app\"")]
pub struct InvalidSubPath {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl SubPath {
    /// Returns the parts, none of them empty.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Returns it as text, without slashes at the ends.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it names the source itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the directory beneath `root` without following links out of it.
    ///
    /// # Errors
    /// When a part is missing, is no directory, or is a link that leads out of `root`.
    pub fn resolve_beneath(&self, root: &Path) -> std::io::Result<PathBuf> {
        let dir = cap_std::fs::Dir::open_ambient_dir(root, cap_std::ambient_authority())?;
        if self.is_root() {
            return Ok(root.to_owned());
        }
        dir.open_dir(&self.0)?;
        Ok(root.join(dir.canonicalize(&self.0)?))
    }
}

impl FromStr for SubPath {
    type Err = InvalidSubPath;

    fn from_str(text: &str) -> Result<Self, InvalidSubPath> {
        let invalid = |problem| InvalidSubPath {
            text: text.to_owned(),
            problem,
        };
        if text.contains('\0') {
            return Err(invalid("holds a NUL byte"));
        }
        let parts: Vec<_> = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if parts.contains(&"..") {
            return Err(invalid("leaves the source"));
        }
        if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
            return Err(invalid("leads into .git"));
        }
        Ok(Self(parts.join("/")))
    }
}

impl fmt::Display for SubPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_dots_at_the_ends_do_not_count() {
        for (text, expected) in [
            ("", ""),
            ("/", ""),
            ("app", "app"),
            ("/app/", "app"),
            ("./a//b/.", "a/b"),
        ] {
            assert_eq!(text.parse::<SubPath>().expect(text).as_str(), expected);
        }
    }

    #[test]
    fn a_path_that_leaves_the_source_is_refused() {
        for text in ["..", "../x", "a/../../b", "/../etc", ".git", "a/.GIT/hooks"] {
            assert!(text.parse::<SubPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_link_that_leads_out_of_the_root_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/etc", root.path().join("out")).expect("a link");
        std::fs::create_dir(root.path().join("in")).expect("a directory");
        assert!(
            "out"
                .parse::<SubPath>()
                .expect("valid")
                .resolve_beneath(root.path())
                .is_err()
        );
        assert!(
            "in".parse::<SubPath>()
                .expect("valid")
                .resolve_beneath(root.path())
                .is_ok()
        );
    }
}

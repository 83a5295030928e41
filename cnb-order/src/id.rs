//! Names of buildpacks and image extensions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a buildpack or of an image extension, such as `acme/node`.
///
/// Any text: the reference lifecycle and published builders do not restrict it, and it is kept byte for byte.
/// What the specification asks of new buildpacks is checked by [`BuildpackId::check`].
///
/// # Specification
/// Buildpack API 0.12, "buildpack.toml": the buildpack ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildpackId(String);

impl BuildpackId {
    /// Takes `text` as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the directories of this buildpack: every `/` becomes `_`.
    ///
    /// So `a/b` and `a_b` share one directory.
    pub fn escaped(&self) -> String {
        self.0.replace('/', "_")
    }

    /// Says whether [`escaped`](Self::escaped) can name a directory of its own: not empty, not `.` or `..`, without NUL.
    ///
    /// An id that cannot would make a phase write outside of the directory it was given.
    pub fn names_a_directory(&self) -> bool {
        !matches!(self.0.as_str(), "" | "." | "..") && !self.0.contains('\0')
    }

    /// Checks the name against the specification, which is stricter than what is accepted when reading.
    ///
    /// # Errors
    /// When it is empty, has a character other than ASCII letters, digits, `.`, `/`, `-`, or is a reserved word
    /// (`app`, `config`, `generated`, `sbom`).
    pub fn check(&self) -> Result<(), InvalidBuildpackId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-');
        let problem = if self.0.is_empty() {
            "is empty"
        } else if !self.0.chars().all(allowed) {
            "may only have letters, digits, '.', '/' and '-'"
        } else if matches!(self.0.as_str(), "app" | "config" | "generated" | "sbom") {
            "is a reserved word"
        } else {
            return Ok(());
        };
        Err(InvalidBuildpackId {
            text: self.0.clone(),
            problem,
        })
    }
}

impl From<&str> for BuildpackId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for BuildpackId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for BuildpackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name is not one that the specification allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("buildpack id '{text}' {problem}")]
pub struct InvalidBuildpackId {
    /// The name.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Whether a module is a buildpack or an image extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModuleKind {
    /// A buildpack: has `bin/detect` and `bin/build`, or an order.
    #[default]
    Buildpack,
    /// An image extension: has `bin/generate`.
    Extension,
}

impl ModuleKind {
    /// Returns the word used in file names and messages: `buildpack` or `extension`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Buildpack => "buildpack",
            Self::Extension => "extension",
        }
    }

    /// Returns the word with a capital: `Buildpack` or `Extension`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Buildpack => "Buildpack",
            Self::Extension => "Extension",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_becomes_an_underscore_in_directory_names() {
        assert_eq!(BuildpackId::from("a/b/c_d").escaped(), "a_b_c_d");
    }

    #[test]
    fn the_specification_is_stricter_than_reading() {
        assert!(BuildpackId::from("acme/node-engine.v2").check().is_ok());
        for bad in ["", "a_b", "app", "sbom", "generated", "a b"] {
            assert!(BuildpackId::from(bad).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_parent_directory_is_no_directory_name() {
        assert!(!BuildpackId::from("..").names_a_directory());
        assert!(BuildpackId::from("../x").names_a_directory(), "escaped to .._x");
    }
}

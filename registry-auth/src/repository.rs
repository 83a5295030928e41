//! A named collection of images on a registry.

use std::{fmt, str::FromStr};

use crate::{
    host::{InvalidRegistryHost, RegistryHost},
    reference::ParseOptions,
};

/// A repository, such as `index.docker.io/library/ubuntu`: a registry and a path on it.
///
/// Parsed by the reference's weak rules: the text before the first `/` is the registry if it has a `.` or `:`
/// or is `localhost`; a single name on Docker Hub is in `library/`. The path is 2 to 255 characters of
/// `a-z0-9_-./`, without further structure; a `library/` that may be left out does not count, so that what was read
/// without it is printed as what can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: RegistryHost,
    path: String,
}

impl Repository {
    /// Makes the repository `path` on `registry`; `path` is taken as it is, but for `library/` on Docker Hub.
    ///
    /// # Errors
    /// When `path` is too short, too long or has other characters than a path may have.
    pub fn new(registry: RegistryHost, path: &str) -> Result<Self, RepositoryProblem> {
        check_path(path, registry.is_docker_hub())?;
        let path = if is_implicit(&registry, path) {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Ok(Self { registry, path })
    }

    /// Parses `text` with `options` (the default tag does not matter here).
    ///
    /// # Errors
    /// When `text` is empty, its registry or path is not well-formed, or `options` is strict and the registry
    /// or `library/` is left out.
    pub fn parse_with(text: &str, options: &ParseOptions) -> Result<Self, RepositoryProblem> {
        if text.is_empty() {
            return Err(RepositoryProblem::Empty);
        }
        let (registry, path) = match text.split_once('/') {
            Some((first, rest)) if options.is_registry(first) => (first, rest),
            _ => ("", text),
        };
        let registry = options.registry(registry);
        check_path(path, registry.as_ref().is_ok_and(RegistryHost::is_docker_hub))?;
        let registry = registry?;
        if options.strict && is_implicit(&registry, path) {
            return Err(RepositoryProblem::ImplicitLibrary);
        }
        Self::new(registry, path)
    }

    /// Returns the registry.
    pub fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    /// Returns the path on the registry, with `library/` where it is implied.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn is_implicit(registry: &RegistryHost, path: &str) -> bool {
    registry.is_docker_hub() && !path.contains('/')
}

fn check_path(path: &str, on_docker_hub: bool) -> Result<(), RepositoryProblem> {
    let length = path.chars().count();
    let could_be_shorter = on_docker_hub && path.strip_prefix("library/").is_some_and(|name| !name.contains('/'));
    let most = if could_be_shorter { 255 + "library/".len() } else { 255 };
    if !(2..=most).contains(&length) {
        return Err(RepositoryProblem::Length { path: path.to_owned() });
    }
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '/');
    if !path.chars().all(good) {
        return Err(RepositoryProblem::Characters { path: path.to_owned() });
    }
    Ok(())
}

impl FromStr for Repository {
    type Err = RepositoryProblem;

    fn from_str(text: &str) -> Result<Self, RepositoryProblem> {
        Self::parse_with(text, &ParseOptions::default())
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// Why a text is no [`Repository`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryProblem {
    /// There is no text.
    #[error("a repository name must be specified")]
    Empty,
    /// The path is too short or too long.
    #[error("repository must be between 2 and 255 characters in length: {path}")]
    Length {
        /// The path without the registry.
        path: String,
    },
    /// The path has a character that it may not have.
    #[error("repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: {path}")]
    Characters {
        /// The path without the registry.
        path: String,
    },
    /// The registry is not well-formed.
    #[error(transparent)]
    Registry(#[from] InvalidRegistryHost),
    /// Strict: no registry is named.
    #[error("strict validation requires the registry to be explicitly defined")]
    ImplicitRegistry,
    /// Strict: a Docker Hub repository without `library/`.
    #[error("strict validation requires the full repository path (missing 'library')")]
    ImplicitLibrary,
}

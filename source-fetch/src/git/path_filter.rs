//! Which paths of a repository count.

use std::{fmt, path::Path, sync::Arc};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Which paths of a repository count for an image beside its sub path: a shared library, but not the documentation.
///
/// A path counts when it is beneath the sub path or matches one of `include`, and matches none of `exclude`. Patterns
/// have the form of lines in a `.gitignore` and begin at the top of the repository: `libs/shared/`, `*.md`,
/// `/docs/**`. Of the exclude patterns a later one that begins with `!` takes paths back in.
///
/// # Examples
/// ```
/// use source_fetch::PathFilter;
///
/// let paths = PathFilter::new(["libs/shared/"], ["*.md"])?;
/// assert!(!paths.is_everything());
/// assert!(PathFilter::new(["a{"], [""; 0]).is_err());
/// # Ok::<(), source_fetch::InvalidPathFilter>(())
/// ```
#[derive(Clone, Default)]
pub struct PathFilter(Option<Arc<Patterns>>);

struct Patterns {
    include: Vec<String>,
    exclude: Vec<String>,
    included: Option<Gitignore>,
    excluded: Option<Gitignore>,
}

/// A pattern that is none.
#[derive(Clone, Debug, thiserror::Error)]
#[error("path pattern {pattern:?} is not valid; write it like a line of a .gitignore")]
pub struct InvalidPathFilter {
    /// The pattern.
    pub pattern: String,
    source: ignore::Error,
}

impl PathFilter {
    /// Checks the patterns.
    ///
    /// # Errors
    /// [`InvalidPathFilter`] with the first that is none.
    pub fn new<I, E>(
        include: impl IntoIterator<Item = I>,
        exclude: impl IntoIterator<Item = E>,
    ) -> Result<Self, InvalidPathFilter>
    where
        I: Into<String>,
        E: Into<String>,
    {
        let include: Vec<String> = include.into_iter().map(Into::into).collect();
        let exclude: Vec<String> = exclude.into_iter().map(Into::into).collect();
        if include.is_empty() && exclude.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(Patterns {
            included: compiled(&include)?,
            excluded: compiled(&exclude)?,
            include,
            exclude,
        }))))
    }

    /// Returns whether it leaves nothing out and takes nothing in.
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the patterns of what counts beside the sub path.
    pub fn include(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |patterns| &patterns.include)
    }

    /// Returns the patterns of what does not count.
    pub fn exclude(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |patterns| &patterns.exclude)
    }

    /// Whether a file at `path` counts, given whether it is beneath the sub path.
    pub(super) fn counts(&self, path: &Path, beneath_sub_path: bool) -> bool {
        let Some(filter) = &self.0 else { return beneath_sub_path };
        let matches = |patterns: &Option<Gitignore>| {
            let patterns = patterns.as_ref();
            patterns.is_some_and(|patterns| patterns.matched_path_or_any_parents(path, false).is_ignore())
        };
        (beneath_sub_path || matches(&filter.included)) && !matches(&filter.excluded)
    }
}

fn compiled(patterns: &[String]) -> Result<Option<Gitignore>, InvalidPathFilter> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        let invalid = |source| InvalidPathFilter {
            pattern: pattern.clone(),
            source,
        };
        builder.add_line(None, pattern).map_err(invalid)?;
    }
    let invalid = |source| InvalidPathFilter {
        pattern: patterns.join(" "),
        source,
    };
    builder.build().map(Some).map_err(invalid)
}

impl PartialEq for PathFilter {
    fn eq(&self, other: &Self) -> bool {
        (self.include(), self.exclude()) == (other.include(), other.exclude())
    }
}

impl Eq for PathFilter {}

impl fmt::Debug for PathFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathFilter")
            .field("include", &self.include())
            .field("exclude", &self.exclude())
            .finish()
    }
}

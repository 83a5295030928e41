//! A git source as it is asked for, and as it was found.

use super::path_filter::PathFilter;

/// A repository, a revision in it, and a directory of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSource {
    url: String,
    revision: String,
    sub_path: String,
    submodules: bool,
    paths: PathFilter,
}

impl GitSource {
    /// Names a repository and a branch, tag or commit.
    pub fn new(url: impl Into<String>, revision: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            revision: revision.into(),
            sub_path: String::new(),
            submodules: false,
            paths: PathFilter::default(),
        }
    }

    /// Narrows it to a directory.
    #[must_use]
    pub fn with_sub_path(mut self, sub_path: impl Into<String>) -> Self {
        self.sub_path = sub_path.into();
        self
    }

    /// Says which paths count when it is asked whether something has changed; fetched is everything.
    #[must_use]
    pub fn with_paths(mut self, paths: PathFilter) -> Self {
        self.paths = paths;
        self
    }

    /// Asks for its submodules, too.
    #[must_use]
    pub fn with_submodules(mut self) -> Self {
        self.submodules = true;
        self
    }

    /// Returns the url as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the revision as it was given.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns the sub path as it was given; empty for the whole repository.
    pub fn sub_path(&self) -> &str {
        &self.sub_path
    }

    /// Returns which paths count.
    pub fn paths(&self) -> &PathFilter {
        &self.paths
    }

    /// Returns whether submodules are asked for.
    pub fn submodules(&self) -> bool {
        self.submodules
    }
}

/// What a revision turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevisionKind {
    /// A branch, which may move.
    Branch,
    /// A tag, which should not move but may.
    Tag,
    /// A commit id, or text that matches nothing and is taken for one.
    Commit,
    /// A ref that is neither branch nor tag, or a revision that nobody has asked a server about.
    #[default]
    Unknown,
}

impl RevisionKind {
    /// Returns the word that resources use: `Branch`, `Tag`, `Commit` or `Unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "Branch",
            Self::Tag => "Tag",
            Self::Commit => "Commit",
            Self::Unknown => "Unknown",
        }
    }

    /// Returns whether the revision may mean something else tomorrow, and so is asked for again and again.
    pub fn is_polled(self) -> bool {
        matches!(self, Self::Branch | Self::Tag)
    }
}

/// A git source pinned to what it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedGit {
    /// The url as it was given.
    pub url: String,
    /// The object's id, 40 hex digits: the commit, or for an annotated tag the tag object. For a revision that
    /// matches nothing, the text as it was given.
    pub revision: String,
    /// What the revision was.
    pub kind: RevisionKind,
    /// The sub path as it was given.
    pub sub_path: String,
    /// The id of what is at the sub path, when that was asked for and exists. With a [`PathFilter`], the id of the tree
    /// that only holds what counts.
    pub tree: Option<String>,
    /// Whether submodules are asked for.
    pub initialize_submodules: bool,
    /// Which paths count for `tree`.
    pub paths: PathFilter,
}

impl ResolvedGit {
    /// Returns `source` as it is when no server has been asked: the revision as given, kind `Unknown`.
    pub fn unasked(source: &GitSource) -> Self {
        Self {
            url: source.url.clone(),
            revision: source.revision.clone(),
            kind: RevisionKind::Unknown,
            sub_path: source.sub_path.clone(),
            tree: None,
            initialize_submodules: source.submodules,
            paths: source.paths.clone(),
        }
    }
}

//! One commit, its files beneath a directory.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, OpenOptions};
use git2::{Oid, Repository, Tree};

use super::{
    git_dir, gitmodules,
    objects::{self, ReceiveError},
    resolve::{ResolveError, is_commit_id, resolve_git},
    source::{GitSource, ResolvedGit},
    transport::{Remote, TransportError, Wanted},
    url::{GitUrl, InvalidGitUrl},
};
use crate::{
    access::Access,
    limits::{LimitExceeded, Spent},
    sub_path::{InvalidSubPath, SubPath},
    tree::{Gitlink, TreeError, write_tree},
};

/// Why a commit could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The url is none.
    #[error(transparent)]
    Url(#[from] InvalidGitUrl),
    /// The sub path is none, or leaves the source.
    #[error(transparent)]
    SubPath(#[from] InvalidSubPath),
    /// The server gave no usable answer.
    #[error(transparent)]
    Transport(TransportError),
    /// As [`FetchError::Transport`], of an exchange that answered several questions.
    #[error(transparent)]
    Shared(std::sync::Arc<TransportError>),
    /// There is no such revision.
    #[error("revision {revision:?} does not exist in {url}: {answer}; check the branch, tag or commit")]
    NoSuchRevision {
        /// The repository.
        url: String,
        /// The revision.
        revision: String,
        /// What the server said.
        answer: String,
    },
    /// There is no such directory in the commit.
    #[error("{url} has no directory {sub_path:?} at {revision}; check the sub path")]
    NoSuchSubPath {
        /// The repository.
        url: String,
        /// The commit.
        revision: String,
        /// The sub path.
        sub_path: String,
    },
    /// The source is larger than allowed, it took too long, or somebody cancelled.
    #[error("{url} is not fetched")]
    TooLarge {
        /// The repository.
        url: String,
        /// Which bound was crossed.
        source: LimitExceeded,
    },
    /// What the server sent is no valid pack, or lacks objects.
    #[error("{url} sent objects that are not valid")]
    Objects {
        /// The repository.
        url: String,
        /// The cause.
        source: git2::Error,
    },
    /// A file could not be written, or must not be.
    #[error("cannot write the files of {url} to {}", dir.display())]
    Write {
        /// The repository.
        url: String,
        /// Where to.
        dir: PathBuf,
        /// The cause.
        source: TreeError,
    },
    /// The directory can't be used, or holds a repository already.
    #[error("cannot use {} for a checkout; it must be an empty directory", dir.display())]
    Target {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A submodule could not be fetched.
    #[error("cannot fetch submodule {path:?}")]
    Submodule {
        /// Its path in the repository.
        path: String,
        /// The cause.
        source: Box<FetchError>,
    },
    /// A submodule must not be fetched as it is described.
    #[error("submodule {path:?} {problem}; ask for the source without submodules, or change it there")]
    SubmoduleRefused {
        /// Its path in the repository.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl From<TransportError> for FetchError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Limit { url, source } => Self::TooLarge { url, source },
            error => Self::Transport(error),
        }
    }
}

impl FetchError {
    /// Returns whether the same fetch may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_retryable(),
            Self::Shared(error) => error.is_retryable(),
            Self::Submodule { source, .. } => source.is_retryable(),
            Self::TooLarge { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedGit {
    /// The commit whose files were written, 40 hex digits.
    pub commit: String,
    /// The object that was asked for: the commit, or the annotated tag that leads to it.
    pub revision: String,
    /// The tree of the sub path; `None` when a link leads to the sub path.
    pub tree: Option<String>,
    /// Bytes received.
    pub received: u64,
    /// Files that Git LFS keeps elsewhere, submodules included: they are pointers still.
    pub lfs_pointers: u64,
}

/// Submodules of submodules are followed this far.
const MAX_NESTING: usize = 10;

/// Fetches one commit without its history and writes its files into `dir`, which must exist and be empty.
///
/// The repository's objects stay in `dir/.git`, with a detached HEAD. Modes and links are kept. Nothing of the
/// repository is run, and no configuration of the machine or of the repository is read; nothing is written outside of
/// `dir`, and no directory is entered through a link. Files that Git LFS keeps elsewhere stay pointers.
///
/// A revision that is no commit id is resolved first. Where a server does not give out a commit by its id, its tip or
/// else its history is fetched. `log` gets a line for each submodule, and a warning where files stay pointers.
///
/// # Errors
/// As [`FetchError`] says. Files written before the failure stay.
///
/// # Deviation
/// A sub path that does not exist is an error; with the reference a later step of the build finds out.
pub fn fetch_git(
    source: &ResolvedGit,
    dir: &Path,
    access: &Access,
    log: &mut dyn FnMut(&str),
) -> Result<FetchedGit, FetchError> {
    let url: GitUrl = source.url.parse()?;
    let sub_path: SubPath = source.sub_path.parse()?;
    let access = &access.started();
    let revision = pinned(source, &url, access)?;
    let target = |source| FetchError::Target {
        dir: dir.to_owned(),
        source,
    };
    let root = Dir::open_ambient_dir(dir, cap_std::ambient_authority()).map_err(target)?;
    let mut checkout = Checkout {
        access: access.clone(),
        top: dir.to_owned(),
        spent: Spent::new(&access.limits),
        submodules: source.initialize_submodules,
        received: 0,
        lfs_pointers: 0,
        log,
    };
    let place = Place {
        root,
        dir: dir.to_owned(),
        git_dir: dir.join(".git"),
        nesting: 0,
    };
    let done = checkout.run(&url, &revision, place)?;
    let tree = sub_tree(&done, &sub_path);
    if tree.is_none() && sub_path.resolve_beneath(dir).is_err() {
        return Err(FetchError::NoSuchSubPath {
            url: url.to_string(),
            revision,
            sub_path: sub_path.to_string(),
        });
    }
    Ok(FetchedGit {
        commit: done.commit.to_string(),
        revision,
        tree: tree.map(|id| id.to_string()),
        received: checkout.received,
        lfs_pointers: checkout.lfs_pointers,
    })
}

/// The object id that the revision means now.
pub(super) fn pinned(source: &ResolvedGit, url: &GitUrl, access: &Access) -> Result<String, FetchError> {
    if is_commit_id(&source.revision) {
        return Ok(source.revision.clone());
    }
    let again = GitSource::new(&source.url, &source.revision);
    let resolved = resolve_git(&again, access).map_err(|error| match error {
        ResolveError::Url(error) => FetchError::Url(error),
        ResolveError::Transport(error) => error.into(),
        ResolveError::Shared(error) => FetchError::Shared(error),
    })?;
    match is_commit_id(&resolved.revision) {
        true => Ok(resolved.revision),
        false => Err(FetchError::NoSuchRevision {
            url: url.to_string(),
            revision: source.revision.clone(),
            answer: "no branch or tag has that name".to_owned(),
        }),
    }
}

struct Checkout<'a> {
    access: Access,
    /// The directory of the outermost repository.
    top: PathBuf,
    spent: Spent<'a>,
    submodules: bool,
    received: u64,
    lfs_pointers: u64,
    log: &'a mut dyn FnMut(&str),
}

/// Where a repository is checked out.
struct Place {
    root: Dir,
    /// The same directory, for people.
    dir: PathBuf,
    git_dir: PathBuf,
    nesting: usize,
}

struct Done {
    repository: Repository,
    commit: Oid,
    tree: Oid,
}

impl Checkout<'_> {
    fn run(&mut self, url: &GitUrl, revision: &str, place: Place) -> Result<Done, FetchError> {
        let objects_error = |source| FetchError::Objects {
            url: url.to_string(),
            source,
        };
        let target = |source| FetchError::Target {
            dir: place.dir.clone(),
            source,
        };
        git_dir::init(&place.git_dir, &url.as_given()).map_err(target)?;
        let mut remote = Remote::connect(url, &self.access)?;
        let limits = self.access.limits.clone();
        let received = objects::receive(&mut remote, &place.git_dir, revision, Wanted::Everything, None, &limits)
            .map_err(|error| receive_error(url, revision, &place.dir, error))?;
        drop(remote);
        self.received += received.bytes;
        self.spent.received().add(received.bytes);
        git_dir::mark_shallow(&place.git_dir, &received.shallow).map_err(target)?;
        let repository = objects::open(&place.git_dir).map_err(objects_error)?;
        let id = Oid::from_str(revision).map_err(objects_error)?;
        if repository.find_object(id, None).is_err() {
            return Err(FetchError::NoSuchRevision {
                url: url.to_string(),
                revision: revision.to_owned(),
                answer: "the server did not send it".to_owned(),
            });
        }
        let commit = objects::commit_of(&repository, id).map_err(objects_error)?.id();
        let tree = repository.find_commit(commit).and_then(|commit| commit.tree());
        let tree = tree.map_err(objects_error)?;
        git_dir::set_head(&place.git_dir, revision, &commit.to_string()).map_err(target)?;
        let written = write_tree(&repository, &tree, &place.root, &mut self.spent);
        let written = written.map_err(|error| write_error(url, &place.dir, error))?;
        // Behind the files, whose limits end a tree that is a bomb: the index would hold an entry a file.
        git_dir::write_index(&place.git_dir, &tree).map_err(objects_error)?;
        if let Some(first) = &written.pointer {
            self.lfs_pointers += written.pointers;
            let more = match written.pointers {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            (self.log)(&format!(
                "warning: {first}{more} of {url} is kept by Git LFS and stays a pointer file; commit what the build needs"
            ));
        }
        if self.submodules && !written.links.is_empty() {
            self.all_submodules(url, &repository, &tree, &written.links, &place)?;
        }
        let id = tree.id();
        drop(tree);
        Ok(Done {
            repository,
            commit,
            tree: id,
        })
    }

    fn all_submodules(
        &mut self,
        url: &GitUrl,
        repository: &Repository,
        tree: &Tree<'_>,
        links: &[Gitlink],
        place: &Place,
    ) -> Result<(), FetchError> {
        let blob = tree
            .get_name(".gitmodules")
            .and_then(|entry| repository.find_blob(entry.id()).ok());
        let text = blob
            .map(|blob| String::from_utf8_lossy(blob.content()).into_owned())
            .unwrap_or_default();
        let modules = gitmodules::parse(&text);
        for link in links {
            // As git does, a commit that the file says nothing about stays an empty directory.
            let Some(module) = modules.iter().find(|module| Path::new(&module.path) == link.path) else {
                continue;
            };
            self.submodule(url, module, link, place)?;
        }
        Ok(())
    }

    fn submodule(
        &mut self,
        parent: &GitUrl,
        module: &gitmodules::Module,
        link: &Gitlink,
        place: &Place,
    ) -> Result<(), FetchError> {
        let path = link.path.to_string_lossy().into_owned();
        let refused = |problem| FetchError::SubmoduleRefused {
            path: path.clone(),
            problem,
        };
        let failed = |source: FetchError| FetchError::Submodule {
            path: path.clone(),
            source: Box::new(source),
        };
        if place.nesting == MAX_NESTING {
            return Err(refused("is nested too deeply"));
        }
        let name = module
            .directory()
            .ok_or_else(|| refused("has a name that leads elsewhere"))?;
        let url = parent.join(&module.url).map_err(|error| failed(error.into()))?;
        if url.is_local() && !parent.is_local() {
            return Err(refused(
                "is a directory of the machine that builds, which is not allowed",
            ));
        }
        (self.log)(&format!("Updating submodule {url}"));
        let target = |source| {
            failed(FetchError::Target {
                dir: place.dir.join(&link.path),
                source,
            })
        };
        let inner_git_dir = place.git_dir.join("modules").join(name);
        if let Some(above) = inner_git_dir.parent() {
            std::fs::create_dir_all(above).map_err(target)?;
        }
        git_dir::add_submodule(&place.git_dir, &module.name, &url.as_given()).map_err(target)?;
        let root = place.root.open_dir(&link.path).map_err(target)?;
        let mut options = OpenOptions::new();
        let file = root.open_with(".git", options.write(true).create_new(true));
        let dir = place.dir.join(&link.path);
        let from_top = dir.strip_prefix(&self.top).unwrap_or(&link.path);
        let to_top = "../".repeat(from_top.components().count());
        let relative = inner_git_dir.strip_prefix(&self.top).unwrap_or(&inner_git_dir);
        let line = format!("gitdir: {to_top}{}\n", relative.display());
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(target)?;
        let inner = Place {
            root,
            dir,
            git_dir: inner_git_dir,
            nesting: place.nesting + 1,
        };
        self.run(&url, &link.commit.to_string(), inner).map_err(failed)?;
        Ok(())
    }
}

pub(super) fn receive_error(url: &GitUrl, revision: &str, dir: &Path, error: ReceiveError) -> FetchError {
    let url = url.to_string();
    match error {
        ReceiveError::Transport(error) => error.into(),
        ReceiveError::Missing(answer) => FetchError::NoSuchRevision {
            url,
            revision: revision.to_owned(),
            answer,
        },
        ReceiveError::Limit(source) => FetchError::TooLarge { url, source },
        ReceiveError::Objects(source) => FetchError::Objects { url, source },
        ReceiveError::Io(source) => FetchError::Target {
            dir: dir.to_owned(),
            source,
        },
    }
}

pub(super) fn write_error(url: &GitUrl, dir: &Path, error: TreeError) -> FetchError {
    let url = url.to_string();
    match error {
        TreeError::Limit(source) => FetchError::TooLarge { url, source },
        source => FetchError::Write {
            url,
            dir: dir.to_owned(),
            source,
        },
    }
}

/// The tree at the sub path.
fn sub_tree(done: &Done, sub_path: &SubPath) -> Option<Oid> {
    if sub_path.is_root() {
        return Some(done.tree);
    }
    let tree = done.repository.find_tree(done.tree).ok()?;
    let entry = tree.get_path(Path::new(sub_path.as_str())).ok()?;
    (entry.kind() == Some(git2::ObjectType::Tree)).then(|| entry.id())
}

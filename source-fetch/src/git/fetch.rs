//! One commit, its files beneath a directory.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use git2::{ObjectType, Oid, Repository, RepositoryInitOptions};
use registry_client::Http;

use super::{
    keychain::GitKeychain,
    protocol::read_pack,
    resolve::{ResolveError, is_commit_id, resolve_git},
    source::{GitSource, ResolvedGit},
    transport::{AGENT, Remote, TransportError},
    url::{GitUrl, InvalidGitUrl},
};
use crate::{
    limits::{LimitExceeded, Limits},
    sub_path::{InvalidSubPath, SubPath},
    tree::{TreeError, write_tree},
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
    Transport(#[from] TransportError),
    /// There is no such revision.
    #[error("revision \"{revision}\" does not exist in {url}: {answer}; check the branch, tag or commit")]
    NoSuchRevision {
        /// The repository.
        url: String,
        /// The revision.
        revision: String,
        /// What the server said.
        answer: String,
    },
    /// There is no such directory in the commit.
    #[error("{url} has no directory \"{sub_path}\" at {revision}; check the sub path")]
    NoSuchSubPath {
        /// The repository.
        url: String,
        /// The commit.
        revision: String,
        /// The sub path.
        sub_path: String,
    },
    /// The source is larger than allowed.
    #[error("{url} is too large")]
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
}

impl FetchError {
    /// Returns whether the same fetch may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_retryable())
    }
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedGit {
    /// The commit whose files were written, 40 hex digits.
    pub commit: String,
    /// The object that was asked for: the commit, or the annotated tag that leads to it.
    pub revision: String,
    /// The tree of the sub path.
    pub tree: String,
    /// Bytes received.
    pub received: u64,
}

/// Fetches one commit without its history and writes its files into `dir`, which must exist and be empty.
///
/// The repository's objects stay in `dir/.git`, with a detached HEAD. Modes and links are kept. Nothing of the
/// repository is run, and no configuration of the machine or of the repository is read; nothing is written outside of
/// `dir`, and no directory is entered through a link.
///
/// A revision that is no commit id is resolved first.
///
/// # Errors
/// As [`FetchError`] says. Files written before the failure stay.
pub fn fetch_git(
    source: &ResolvedGit,
    dir: &Path,
    keychain: &GitKeychain,
    http: &Http,
    limits: &Limits,
) -> Result<FetchedGit, FetchError> {
    let url: GitUrl = source.url.parse()?;
    let sub_path: SubPath = source.sub_path.parse()?;
    let mut revision = source.revision.clone();
    if !is_commit_id(&revision) {
        let again = GitSource::new(&source.url, &revision).with_sub_path(&source.sub_path);
        let resolved = resolve_git(&again, keychain, http).map_err(|error| match error {
            ResolveError::Url(error) => FetchError::Url(error),
            ResolveError::Transport(error) => FetchError::Transport(error),
        })?;
        if !is_commit_id(&resolved.revision) {
            return Err(no_such_revision(&url, &revision, "no branch or tag has that name"));
        }
        revision = resolved.revision;
    }
    let objects = |source| FetchError::Objects {
        url: url.to_string(),
        source,
    };
    let repository = init(dir).map_err(objects)?;
    let remote = Remote::connect(&url, keychain, http)?;
    let (received, shallow) = receive(&remote, &url, &repository, &revision, limits)?;
    mark_shallow(&repository, &shallow).map_err(|error| remote.protocol(error))?;

    let id = Oid::from_str(&revision).map_err(objects)?;
    let found = repository.find_object(id, None);
    let found = found.map_err(|_| no_such_revision(&url, &revision, "the server did not send it"))?;
    let commit = found.peel_to_commit().map_err(objects)?;
    let tree = commit.tree().map_err(objects)?;
    let wanted = match sub_path.is_root() {
        true => Some(tree.id()),
        false => tree
            .get_path(Path::new(sub_path.as_str()))
            .ok()
            .filter(|entry| entry.kind() == Some(ObjectType::Tree))
            .map(|entry| entry.id()),
    };
    let wanted = wanted.ok_or_else(|| FetchError::NoSuchSubPath {
        url: url.to_string(),
        revision: revision.clone(),
        sub_path: sub_path.to_string(),
    })?;
    write_tree(&repository, &tree, dir, limits).map_err(|error| match error {
        TreeError::Limit(source) => FetchError::TooLarge {
            url: url.to_string(),
            source,
        },
        source => FetchError::Write {
            url: url.to_string(),
            dir: dir.to_owned(),
            source,
        },
    })?;
    repository.set_head_detached(commit.id()).map_err(objects)?;
    // So that `git status` in the checkout compares with what was checked out.
    let mut index = repository.index().map_err(objects)?;
    index.read_tree(&tree).and_then(|()| index.write()).map_err(objects)?;
    finish(&repository).map_err(objects)?;
    Ok(FetchedGit {
        commit: commit.id().to_string(),
        revision,
        tree: wanted.to_string(),
        received,
    })
}

fn no_such_revision(url: &GitUrl, revision: &str, answer: &str) -> FetchError {
    FetchError::NoSuchRevision {
        url: url.to_string(),
        revision: revision.to_owned(),
        answer: answer.to_owned(),
    }
}

/// An empty repository in `dir/.git` that takes nothing from the machine: no template, so no hooks.
///
/// It is opened as a bare one: libgit2 refuses work trees that belong to another user, as the volume of a build does,
/// and no file is written through it anyway. [`finish`] turns it into the repository of the work tree.
fn init(dir: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options
        .external_template(false)
        .no_reinit(true)
        .bare(true)
        .initial_head("main");
    Repository::init_opts(dir.join(".git"), &options)
}

fn finish(repository: &Repository) -> Result<(), git2::Error> {
    repository.config()?.set_bool("core.bare", false)
}

fn receive(
    remote: &Remote<'_>,
    url: &GitUrl,
    repository: &Repository,
    revision: &str,
    limits: &Limits,
) -> Result<(u64, Vec<String>), FetchError> {
    let objects = |source| FetchError::Objects {
        url: url.to_string(),
        source,
    };
    let too_large = |source| FetchError::TooLarge {
        url: url.to_string(),
        source,
    };
    let odb = repository.odb().map_err(objects)?;
    let mut writer = odb.packwriter().map_err(objects)?;
    let mut answer = remote.ask(remote.capabilities.fetch(revision, false, AGENT))?;
    let (mut received, mut exceeded) = (0_u64, None);
    let read = read_pack(
        &mut answer,
        |piece| {
            received += piece.len() as u64;
            if received > limits.download {
                exceeded = Some(LimitExceeded::Download { limit: limits.download });
            } else if limits.cancel.load(std::sync::atomic::Ordering::Relaxed) {
                exceeded = Some(LimitExceeded::Cancelled);
            }
            if exceeded.is_some() {
                return Err(io::Error::other("a limit was crossed"));
            }
            writer.write_all(piece)
        },
        |_| (),
    );
    let shallow = match (read, exceeded) {
        (_, Some(exceeded)) => return Err(too_large(exceeded)),
        (Ok(shallow), None) => shallow,
        // `upload-pack: not our ref …` is how git says that there is no such object.
        (Err(error), None) if error.to_string().contains("not our ref") => {
            return Err(no_such_revision(url, revision, &error.to_string()));
        }
        (Err(error), None) => return Err(remote.protocol(error).into()),
    };
    writer.commit().map_err(objects)?;
    Ok((received, shallow))
}

/// Tells git where history was cut off, or it would look for the parents.
fn mark_shallow(repository: &Repository, commits: &[String]) -> io::Result<()> {
    if commits.is_empty() {
        return Ok(());
    }
    std::fs::write(repository.path().join("shallow"), commits.join("\n") + "\n")
}

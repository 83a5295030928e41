//! The trees of some commits of one repository, without their files, in a directory of this machine.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use git2::{ObjectType, Oid, Repository, Tree};

use super::{
    objects::{self, ReceiveError},
    path_filter::PathFilter,
    transport::{Remote, TransportError, Wanted},
};
use crate::{limits::Limits, sub_path::SubPath};

/// The trees of the last commits that somebody asked for, some kilobytes each.
///
/// What is in the directory can be removed at any time: it costs an exchange with the server to have it again.
pub(super) struct Mirror {
    dir: PathBuf,
    /// Whether it is for one answer only.
    is_passing: bool,
}

/// One way to ask for what is missing.
struct Rung {
    wanted: Wanted,
    /// A commit that need not be sent again.
    have: Option<String>,
    /// Whether files are kept, too, until the trees are known: the last resort, as it takes memory.
    with_files: bool,
}

/// Which part of a commit's trees is asked about.
pub(super) struct Question<'a> {
    pub(super) sub_path: &'a SubPath,
    pub(super) paths: &'a PathFilter,
    /// How deep the sub paths are that are asked about at this repository: one answer then serves all of them.
    pub(super) depth: usize,
}

/// The server of the repository: a connection that is there, and how to make another, as a refusal ends one.
pub(super) struct Server<'a> {
    pub(super) remote: Option<Remote>,
    pub(super) connect: &'a dyn Fn() -> Result<Remote, TransportError>,
}

impl Server<'_> {
    fn connected(&mut self) -> Result<Remote, TransportError> {
        self.remote.take().map_or_else(self.connect, Ok)
    }
}

/// What is known of a question without the server.
enum Known {
    /// The id of what is at the path; `None` when nothing is.
    Answer(Option<String>),
    /// A tree is missing here.
    Missing,
}

/// So many commits are kept.
const KEPT: usize = 8;
/// More packs than this are made into one.
const PACKS: usize = 8;
/// Directories deeper than this are no source.
const MAX_DEPTH: usize = 512;
/// Objects of one commit's trees that are kept at most.
const MAX_TREES: usize = 1_000_000;

impl Mirror {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, is_passing: false }
    }

    /// A mirror in a directory that is removed when it has answered.
    pub(super) fn passing(dir: PathBuf) -> Self {
        Self { dir, is_passing: true }
    }

    /// Answers from the mirror, or asks the server for the trees of `revision` first.
    ///
    /// Servers that can leave objects out are not all able to leave out the same ones: what one refuses is asked for
    /// differently. A server that can leave out nothing sends what has changed since the last commit that is here.
    pub(super) fn answer(
        &self,
        revision: &str,
        question: &Question<'_>,
        limits: &Limits,
        url: &str,
        server: &mut Server<'_>,
    ) -> Result<Option<String>, TransportError> {
        if let Known::Answer(answer) = self.known(revision, question) {
            return Ok(answer);
        }
        let failed = |source: io::Error| TransportError::Protocol {
            url: url.to_owned(),
            source,
        };
        let mut ladder = self.ladder(question);
        let mut refusal = None;
        while let Some(rung) = ladder.pop() {
            let mut remote = server.connected()?;
            if rung.wanted != Wanted::Everything && !remote.filters() {
                server.remote = Some(remote);
                continue;
            }
            match self.received(&mut remote, revision, &rung, limits) {
                Ok(is_all) => {
                    server.remote = Some(remote).filter(Remote::can_be_asked_again);
                    if is_all {
                        // There is nothing more to be had.
                        ladder.clear();
                    }
                }
                Err(ReceiveError::Missing(_)) => return Ok(None),
                Err(ReceiveError::Transport(error)) if !error.is_an_answer() => return Err(error),
                Err(ReceiveError::Transport(error)) => {
                    refusal = Some(error);
                    continue;
                }
                Err(ReceiveError::Limit(source)) => {
                    let url = url.to_owned();
                    return Err(TransportError::Limit { url, source });
                }
                // What was left out because it is here, as the server thinks, may be just what is damaged.
                Err(ReceiveError::Objects(_)) if rung.have.is_some() => continue,
                Err(ReceiveError::Objects(error)) => return Err(failed(io::Error::other(error))),
                Err(ReceiveError::Io(error)) => return Err(failed(error)),
            }
            refusal = None;
            let known = self.known(revision, question);
            if !self.is_passing {
                self.remember(revision, rung.wanted).map_err(failed)?;
            }
            if let Known::Answer(answer) = known {
                return Ok(answer);
            }
        }
        match refusal {
            Some(error) => Err(error),
            // The object is no commit, so that nothing is at any path.
            None => Ok(None),
        }
    }

    /// Asks for what is missing in one way; returns whether all that there is came.
    fn received(
        &self,
        remote: &mut Remote,
        revision: &str,
        rung: &Rung,
        limits: &Limits,
    ) -> Result<bool, ReceiveError> {
        let (wanted, have) = (rung.wanted, rung.have.as_deref());
        let is_all = if wanted == Wanted::Everything && !rung.with_files && remote.cuts_history(revision) {
            objects::receive_trees(remote, &self.dir, revision, have, limits)?
        } else {
            objects::receive(remote, &self.dir, revision, wanted, have, limits)?;
            true
        };
        Ok(is_all && wanted == Wanted::Everything && have.is_none())
    }

    /// What to ask for, the last first.
    fn ladder(&self, question: &Question<'_>) -> Vec<Rung> {
        let rung = |wanted, have| Rung {
            wanted,
            have,
            with_files: false,
        };
        let last = self.commits().pop();
        let mut ladder = vec![
            Rung {
                with_files: true,
                ..rung(Wanted::Everything, None)
            },
            rung(Wanted::Everything, None),
        ];
        if last.is_some() {
            ladder.push(rung(Wanted::Everything, last.clone()));
        }
        ladder.push(rung(Wanted::NoFiles, None));
        if question.paths.is_everything() {
            ladder.push(rung(Wanted::Trees(question.depth.max(1)), None));
        } else if last.is_some() {
            ladder.push(rung(Wanted::NoFiles, last));
        }
        ladder
    }

    fn known(&self, revision: &str, question: &Question<'_>) -> Known {
        let Ok(repository) = objects::open(&self.dir) else {
            return Known::Missing;
        };
        let id = Oid::from_str(revision).ok();
        let commit = id.and_then(|id| objects::commit_of(&repository, id).ok());
        let Some(tree_id) = commit.map(|commit| commit.tree_id()) else {
            return Known::Missing;
        };
        if question.paths.is_everything() {
            return at(&repository, tree_id, question.sub_path);
        }
        let Ok(tree) = repository.find_tree(tree_id) else {
            return Known::Missing;
        };
        let mut left = MAX_TREES;
        match filtered(&repository, &tree, question, &mut String::new(), 0, &mut left) {
            Ok(id) => Known::Answer(id.map(|id| id.to_string())),
            Err(_) => Known::Missing,
        }
    }

    /// The commits whose trees are all here, the newest last.
    fn commits(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("commits")).unwrap_or_default();
        let is_id = |line: &&str| line.len() == 40 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        text.lines().filter(is_id).map(str::to_owned).collect()
    }

    /// Keeps the trees of the last commits and nothing else.
    fn remember(&self, revision: &str, wanted: Wanted) -> io::Result<()> {
        let pack = self.dir.join("objects/pack");
        let packs = fs::read_dir(&pack)?.flatten();
        let packs = packs.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack"));
        let is_crowded = packs.count() > PACKS;
        let mut commits = self.commits();
        if !matches!(wanted, Wanted::Trees(_)) {
            let repository = objects::open(&self.dir).map_err(io::Error::other)?;
            let commit =
                Oid::from_str(revision).and_then(|id| Ok(objects::commit_of(&repository, id)?.id().to_string()));
            // What is no commit is kept for as long as nothing else comes.
            if let Ok(commit) = commit {
                commits.retain(|other| *other != commit);
                commits.push(commit);
                commits.drain(..commits.len().saturating_sub(KEPT));
                let temporary = self.dir.join("commits.new");
                fs::write(&temporary, commits.join("\n") + "\n")?;
                fs::rename(temporary, self.dir.join("commits"))?;
            }
        }
        if wanted == Wanted::Everything || is_crowded {
            self.shrink(&commits, revision).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Writes one pack with the trees of `commits` and of `revision`, and puts it in the place of all others.
    fn shrink(&self, commits: &[String], revision: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let repository = objects::open(&self.dir)?;
        let mut builder = repository.packbuilder()?;
        builder.set_threads(1);
        let mut seen = HashSet::new();
        for commit in commits.iter().map(String::as_str).chain([revision]) {
            let Ok(mut object) = repository.find_object(Oid::from_str(commit)?, None) else {
                continue;
            };
            while let Some(tag) = object.as_tag() {
                if seen.insert(object.id()) {
                    builder.insert_object(object.id(), None)?;
                }
                let Ok(target) = tag.target() else { break };
                object = target;
            }
            let Some(commit) = object.as_commit() else { continue };
            if seen.insert(commit.id()) {
                builder.insert_object(commit.id(), None)?;
            }
            let mut left = vec![commit.tree_id()];
            while let Some(id) = left.pop() {
                // A tree that is missing was left out by the server and is asked for when it matters.
                let Ok(tree) = repository.find_tree(id) else { continue };
                if seen.len() > MAX_TREES || !seen.insert(id) {
                    continue;
                }
                builder.insert_object(id, None)?;
                let trees = tree.iter().filter(|entry| entry.kind() == Some(ObjectType::Tree));
                left.extend(trees.map(|entry| entry.id()));
            }
        }
        let (new, old, objects) = (self.dir.join("new"), self.dir.join("old"), self.dir.join("objects"));
        for dir in [&new, &old] {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
        }
        fs::create_dir_all(new.join("pack"))?;
        builder.write(&new.join("pack"), 0o444)?;
        drop(builder);
        drop(repository);
        // A crash between these leaves a mirror of nothing, which is filled again.
        fs::rename(&objects, &old)?;
        fs::rename(&new, &objects)?;
        Ok(fs::remove_dir_all(old)?)
    }
}

/// What is at `sub_path`, as far as the trees on the way are here.
fn at(repository: &Repository, mut id: Oid, sub_path: &SubPath) -> Known {
    let mut kind = Some(ObjectType::Tree);
    for part in sub_path.parts() {
        if kind != Some(ObjectType::Tree) {
            return Known::Answer(None);
        }
        let Ok(tree) = repository.find_tree(id) else {
            return Known::Missing;
        };
        let Some(entry) = tree.get_name(part) else {
            return Known::Answer(None);
        };
        (id, kind) = (entry.id(), entry.kind());
    }
    Known::Answer(Some(id.to_string()))
}

/// The id of the tree that only holds what counts; `None` when nothing does.
fn filtered(
    repository: &Repository,
    tree: &Tree<'_>,
    question: &Question<'_>,
    path: &mut String,
    depth: usize,
    left: &mut usize,
) -> Result<Option<Oid>, git2::Error> {
    // Trees that repeat make billions of a kilobyte.
    if depth > MAX_DEPTH || *left == 0 {
        return Err(git2::Error::from_str("the tree is too large, or nested too deeply"));
    }
    *left -= 1;
    let mut bytes = Vec::new();
    for entry in tree {
        let length = path.len();
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&String::from_utf8_lossy(entry.name_bytes()));
        let id = if entry.kind() == Some(ObjectType::Tree) {
            let inner = repository.find_tree(entry.id())?;
            filtered(repository, &inner, question, path, depth + 1, left)?
        } else {
            let beneath = Path::new(path.as_str()).starts_with(question.sub_path.as_str());
            let counts = question.paths.counts(Path::new(path.as_str()), beneath);
            counts.then_some(entry.id())
        };
        path.truncate(length);
        if let Some(id) = id {
            bytes.extend_from_slice(format!("{:o} ", entry.filemode_raw()).as_bytes());
            bytes.extend_from_slice(entry.name_bytes());
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
    }
    match bytes.is_empty() {
        true => Ok(None),
        false => Oid::hash_object(ObjectType::Tree, &bytes).map(Some),
    }
}

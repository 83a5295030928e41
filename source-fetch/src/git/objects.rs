//! Objects that a server sent, in a directory of their own; no configuration and no refs belong to them.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use git2::{Commit, Indexer, ObjectType, Odb, Oid, Repository};

use super::{
    loose::Loose,
    pack_scan::PackScan,
    transport::{Remote, TransportError, Wanted},
};
use crate::{
    limits::{LimitExceeded, Limits},
    progress::Step,
};

/// Why objects could not be received.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    Transport(TransportError),
    /// The server says that there is no such object.
    Missing(String),
    Limit(LimitExceeded),
    Objects(git2::Error),
    Io(io::Error),
}

/// What was received.
pub(crate) struct Received {
    pub(crate) bytes: u64,
    pub(crate) shallow: Vec<String>,
}

/// Receives object `id` from `remote` into `objects/pack` beneath `git_dir`. What commit `have` holds need not be sent.
pub(crate) fn receive(
    remote: &mut Remote,
    git_dir: &Path,
    id: &str,
    wanted: Wanted,
    have: Option<&str>,
    limits: &Limits,
) -> Result<Received, ReceiveError> {
    let packs = git_dir.join("objects/pack");
    std::fs::create_dir_all(&packs).map_err(ReceiveError::Io)?;
    let mut tell = |progress: git2::Progress<'_>| {
        limits.progress.tell(Step::Objects {
            count: progress.received_objects() as u64,
            of: progress.total_objects() as u64,
        });
        limits.check().is_ok()
    };
    let mut indexer = Indexer::new(None, &packs, 0o444, false).map_err(ReceiveError::Objects)?;
    indexer.progress(&mut tell);
    let mut spent = Spent::new(limits);
    let sent = remote.fetch(id, wanted, have, limits, |piece| {
        spent.count(piece)?;
        indexer.write_all(piece)
    });
    let shallow = spent.sent(sent)?;
    indexer.commit().map_err(|error| match limits.check() {
        Ok(()) => ReceiveError::Objects(error),
        Err(exceeded) => ReceiveError::Limit(exceeded),
    })?;
    Ok(Received {
        bytes: spent.bytes,
        shallow,
    })
}

/// Receives object `id` as [`receive`] does, but keeps no files, and so takes no more memory than one directory needs.
///
/// Returns whether all trees that were sent are here, for all that is known.
pub(crate) fn receive_trees(
    remote: &mut Remote,
    git_dir: &Path,
    id: &str,
    have: Option<&str>,
    limits: &Limits,
) -> Result<bool, ReceiveError> {
    std::fs::create_dir_all(git_dir.join("objects/pack")).map_err(ReceiveError::Io)?;
    let mut scan = PackScan::new(Loose::open(git_dir).map_err(ReceiveError::Objects)?);
    let mut spent = Spent::new(limits);
    let sent = remote.fetch(id, Wanted::Everything, have, limits, |piece| {
        spent.count(piece)?;
        scan.allow(limits.most_unpacked(spent.bytes));
        let pushed = scan.push(piece);
        spent.grown(scan.inflated())?;
        pushed
    });
    spent.sent(sent)?;
    // What is wrong with the pack is the server's doing, as it is when libgit2 finds out.
    scan.finish()
        .map_err(|error| ReceiveError::Transport(remote.failed(error)))
}

struct Spent<'a> {
    limits: &'a Limits,
    bytes: u64,
    /// The first bytes, which say how many objects there will be.
    head: Vec<u8>,
    exceeded: Option<LimitExceeded>,
}

impl<'a> Spent<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            bytes: 0,
            head: Vec::new(),
            exceeded: None,
        }
    }

    /// Why nothing, or not everything, was sent.
    fn sent(&self, sent: Result<Vec<String>, TransportError>) -> Result<Vec<String>, ReceiveError> {
        match (sent, &self.exceeded) {
            (_, Some(exceeded)) => Err(ReceiveError::Limit(exceeded.clone())),
            (Ok(shallow), None) => Ok(shallow),
            // `upload-pack: not our ref …` is how git says that there is no such object.
            (Err(TransportError::Protocol { source, .. }), None) if source.to_string().contains("not our ref") => {
                Err(ReceiveError::Missing(source.to_string()))
            }
            (Err(TransportError::Limit { source, .. }), None) => Err(ReceiveError::Limit(source)),
            (Err(error), None) => Err(ReceiveError::Transport(error)),
        }
    }

    /// Looks at how much what was received has become.
    fn grown(&mut self, inflated: u64) -> io::Result<()> {
        match self.limits.check_ratio(inflated, self.bytes) {
            Ok(()) => Ok(()),
            Err(exceeded) => {
                self.exceeded = Some(exceeded);
                Err(io::Error::other("a limit was crossed"))
            }
        }
    }

    fn count(&mut self, piece: &[u8]) -> io::Result<()> {
        self.bytes += piece.len() as u64;
        self.limits.progress.tell(Step::Received {
            bytes: self.bytes,
            of: None,
        });
        if self.head.len() < 12 {
            self.head
                .extend_from_slice(&piece[..piece.len().min(12 - self.head.len())]);
        }
        let objects = self
            .head
            .get(8..12)
            .and_then(|count| count.try_into().ok())
            .map(u32::from_be_bytes);
        if self.bytes > self.limits.download {
            self.exceeded = Some(LimitExceeded::Download {
                limit: self.limits.download,
            });
        } else if objects.is_some_and(|count| u64::from(count) > self.limits.objects) {
            self.exceeded = Some(LimitExceeded::Objects {
                limit: self.limits.objects,
            });
        } else {
            self.exceeded = self.limits.check().err();
        }
        match self.exceeded {
            Some(_) => Err(io::Error::other("a limit was crossed")),
            None => Ok(()),
        }
    }
}

/// Opens the objects beneath `git_dir`, without any configuration.
pub(crate) fn open(git_dir: &Path) -> Result<Repository, git2::Error> {
    let objects: PathBuf = git_dir.join("objects");
    let odb = Odb::new()?;
    // A path that is no UTF-8 can't be given to the library.
    let path = objects
        .to_str()
        .ok_or_else(|| git2::Error::from_str("the target's path is not UTF-8"))?;
    odb.add_disk_alternate(path)?;
    Repository::from_odb(odb)
}

/// Tags of tags are followed this far.
const MAX_TAGS: usize = 10;

/// The commit that object `id` is or leads to.
pub(crate) fn commit_of(repository: &Repository, id: Oid) -> Result<Commit<'_>, git2::Error> {
    let mut object = repository.find_object(id, None)?;
    for _ in 0..MAX_TAGS {
        match object.as_tag() {
            Some(tag) => object = tag.target()?,
            None => break,
        }
    }
    match object.kind() {
        Some(ObjectType::Commit) => object.peel_to_commit(),
        _ => Err(git2::Error::from_str("it is neither a commit nor a tag of one")),
    }
}

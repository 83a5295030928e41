//! The files of a sub path, and nothing else.

use std::path::Path;

use cap_std::fs::Dir;
use git2::{ObjectType, Oid};

use super::{
    fetch::{FetchError, FetchedGit, pinned, receive_error, write_error},
    objects::{self, ReceiveError},
    source::ResolvedGit,
    transport::{Remote, Wanted},
    url::GitUrl,
};
use crate::{access::Access, limits::Spent, sub_path::SubPath, tree::write_tree};

/// Fetches what is at the sub path of one commit and writes it to the same place beneath `dir`, which must exist and
/// be empty. Nothing else of the repository is fetched where the server can leave it out.
///
/// There is no `.git` directory afterwards. Submodules stay empty directories, and links that lead out of the sub path
/// lead nowhere. Objects are kept in a directory of `scratch` meanwhile. Without a sub path it is the whole commit.
///
/// # Errors
/// As [`FetchError`] says. Files written before the failure stay.
///
/// # Deviation
/// The reference has no such thing: it always fetches everything.
pub fn fetch_git_sub_path(
    source: &ResolvedGit,
    dir: &Path,
    access: &Access,
    scratch: &Path,
) -> Result<FetchedGit, FetchError> {
    let url: GitUrl = source.url.parse()?;
    let sub_path: SubPath = source.sub_path.parse()?;
    let access = &access.started();
    let revision = pinned(source, &url, access)?;
    let target = |source| FetchError::Target {
        dir: dir.to_owned(),
        source,
    };
    let objects_error = |source| FetchError::Objects {
        url: url.to_string(),
        source,
    };
    let place = tempfile::Builder::new().prefix("objects-").tempdir_in(scratch);
    let place = place.map_err(target)?;
    let mut received = Receiver {
        url: &url,
        access,
        place: place.path(),
        dir,
        bytes: 0,
    };
    let depth = sub_path.parts().count();
    received.commit(&revision, depth)?;
    let repository = objects::open(place.path()).map_err(objects_error)?;
    let id = Oid::from_str(&revision).map_err(objects_error)?;
    let (commit, root) = objects::commit_of(&repository, id)
        .map(|commit| (commit.id(), commit.tree_id()))
        .map_err(objects_error)?;
    let missing = || FetchError::NoSuchSubPath {
        url: url.to_string(),
        revision: revision.clone(),
        sub_path: sub_path.to_string(),
    };
    let mut tree_id = root;
    for part in sub_path.parts() {
        let tree = repository.find_tree(tree_id).map_err(objects_error)?;
        let entry = tree
            .get_name(part)
            .filter(|entry| entry.kind() == Some(ObjectType::Tree));
        tree_id = entry.ok_or_else(missing)?.id();
    }
    drop(repository);
    received.tree(&tree_id.to_string())?;
    let repository = objects::open(place.path()).map_err(objects_error)?;
    let tree = repository.find_tree(tree_id).map_err(objects_error)?;
    let mut root = Dir::open_ambient_dir(dir, cap_std::ambient_authority()).map_err(target)?;
    for part in sub_path.parts() {
        root.create_dir(part).map_err(target)?;
        root = root.open_dir(part).map_err(target)?;
    }
    let mut spent = Spent::new(&access.limits);
    spent.received().add(received.bytes);
    let written = write_tree(&repository, &tree, &root, &mut spent).map_err(|error| write_error(&url, dir, error))?;
    Ok(FetchedGit {
        commit: commit.to_string(),
        revision,
        tree: Some(tree_id.to_string()),
        received: received.bytes,
        lfs_pointers: written.pointers,
    })
}

struct Receiver<'a> {
    url: &'a GitUrl,
    access: &'a Access,
    place: &'a Path,
    dir: &'a Path,
    bytes: u64,
}

impl Receiver<'_> {
    /// The commit with the trees down to `depth`, where the server can leave out the rest.
    fn commit(&mut self, revision: &str, depth: usize) -> Result<(), FetchError> {
        let mut remote = Remote::connect(self.url, self.access)?;
        let wanted = match depth > 0 && remote.filters() {
            true => vec![Wanted::Trees(depth), Wanted::NoFiles, Wanted::Everything],
            false => vec![Wanted::Everything],
        };
        let last = wanted.len() - 1;
        for (position, wanted) in wanted.into_iter().enumerate() {
            match self.receive(&mut remote, revision, wanted) {
                // What one server can't leave out another way may do; a refusal ends the conversation.
                Err(ReceiveError::Transport(error)) if position < last && error.is_an_answer() => {
                    remote = Remote::connect(self.url, self.access)?;
                }
                done => return done.map_err(|error| receive_error(self.url, revision, self.dir, error)),
            }
        }
        Ok(())
    }

    /// Everything in the tree, if it is not here.
    fn tree(&mut self, id: &str) -> Result<(), FetchError> {
        if self.is_complete(id) {
            return Ok(());
        }
        let mut remote = Remote::connect(self.url, self.access)?;
        let done = self.receive(&mut remote, id, Wanted::Everything);
        done.map_err(|error| receive_error(self.url, id, self.dir, error))
    }

    fn is_complete(&self, id: &str) -> bool {
        let Ok(repository) = objects::open(self.place) else {
            return false;
        };
        let tree = Oid::from_str(id).and_then(|id| repository.find_tree(id));
        let odb = repository.odb();
        let (Ok(tree), Ok(odb)) = (tree, odb) else { return false };
        // Either all of its files were sent or none.
        let mut is_complete = true;
        let walked = tree.walk(git2::TreeWalkMode::PreOrder, |_, entry| match entry.kind() {
            Some(ObjectType::Blob) => {
                is_complete = odb.exists(entry.id());
                git2::TreeWalkResult::Abort
            }
            _ => git2::TreeWalkResult::Ok,
        });
        // Stopping early is what the walk calls an error, too.
        let is_stopped = walked
            .as_ref()
            .is_err_and(|error| error.code() == git2::ErrorCode::User);
        is_complete && (walked.is_ok() || is_stopped)
    }

    fn receive(&mut self, remote: &mut Remote, id: &str, wanted: Wanted) -> Result<(), ReceiveError> {
        let received = objects::receive(remote, self.place, id, wanted, None, &self.access.limits)?;
        self.bytes += received.bytes;
        Ok(())
    }
}

//! The id of what is at a sub path, for as few bytes as the server lets us have it.

use std::path::Path;

use git2::Oid;

use super::{
    objects::{self, ReceiveError},
    transport::{Remote, TransportError, Wanted},
    url::GitUrl,
};
use crate::{access::Access, sub_path::SubPath};

/// Finds the id; `None` when the commit or the path does not exist.
///
/// Servers that can leave objects out are not all able to leave out the same ones: what one refuses is asked for
/// differently.
pub(super) fn find(
    url: &GitUrl,
    remote: Remote,
    revision: &str,
    sub_path: &SubPath,
    access: &Access,
    scratch: &Path,
) -> Result<Option<String>, TransportError> {
    let protocol = |error: std::io::Error| TransportError::Protocol {
        url: url.to_string(),
        source: error,
    };
    let mut ladder = vec![Wanted::Everything];
    if remote.filters() {
        ladder = vec![
            Wanted::Trees(sub_path.parts().count()),
            Wanted::NoFiles,
            Wanted::Everything,
        ];
    }
    let last = ladder.len() - 1;
    let mut remote = Some(remote);
    for (position, wanted) in ladder.into_iter().enumerate() {
        let mut connected = match remote.take() {
            Some(remote) => remote,
            // A refusal ends the conversation.
            None => Remote::connect(url, access)?,
        };
        let place = tempfile::Builder::new()
            .prefix("tree-")
            .tempdir_in(scratch)
            .map_err(protocol)?;
        match objects::receive(&mut connected, place.path(), revision, wanted, &access.limits) {
            Ok(_) => return Ok(id_at(place.path(), revision, sub_path)),
            Err(ReceiveError::Missing(_)) => return Ok(None),
            Err(ReceiveError::Transport(error)) if position == last => return Err(error),
            Err(ReceiveError::Transport(_)) => {}
            Err(ReceiveError::Limit(limit)) => return Err(protocol(std::io::Error::other(limit))),
            Err(ReceiveError::Objects(error)) => return Err(protocol(std::io::Error::other(error))),
            Err(ReceiveError::Io(error)) => return Err(protocol(error)),
        }
    }
    Ok(None)
}

fn id_at(git_dir: &Path, revision: &str, sub_path: &SubPath) -> Option<String> {
    let repository = objects::open(git_dir).ok()?;
    let commit = objects::commit_of(&repository, Oid::from_str(revision).ok()?).ok()?;
    let entry = commit.tree().ok()?.get_path(Path::new(sub_path.as_str())).ok()?;
    Some(entry.id().to_string())
}

//! From a revision to an object id: one listing of the refs that can match.

use std::{path::Path, sync::Arc};

use super::{
    mirror::{Mirror, Question, Server},
    protocol::ListedRef,
    source::{GitSource, ResolvedGit, RevisionKind},
    transport::{Remote, TransportError, protocol_error},
    url::{GitUrl, InvalidGitUrl},
};
use crate::{access::Access, limits::Limits, sub_path::SubPath};

/// Why a revision could not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The url is none.
    #[error(transparent)]
    Url(#[from] InvalidGitUrl),
    /// The server gave no usable answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// As [`ResolveError::Transport`], of an exchange that answered several questions.
    #[error(transparent)]
    Shared(Arc<TransportError>),
}

impl ResolveError {
    /// Returns whether the same question may be answered later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Url(_) => false,
            Self::Transport(error) => error.is_retryable(),
            Self::Shared(error) => error.is_retryable(),
        }
    }
}

/// Finds what `source` is now, with one listing of the refs that its revision can match.
///
/// A branch goes before a tag of the same name. A full ref name and `HEAD` work too. 40 hex digits are a commit, and
/// no server is asked. Text that matches nothing is returned as [`RevisionKind::Commit`], unverified: the fetch will
/// say that it is not there.
///
/// # Errors
/// [`ResolveError::Url`] when the url is none; [`ResolveError::Transport`] when the server gave no usable answer.
///
/// # Specification
/// kpack 0.17.2, "Git resolution by listing" (kpack.md §4.2).
///
/// # Deviation
/// Where a branch and a tag share a name the reference picks at random. `HEAD` and full names do not resolve there.
/// When the server can't be asked the reference has an `Unknown` source instead of an error.
pub fn resolve_git(source: &GitSource, access: &Access) -> Result<ResolvedGit, ResolveError> {
    let url: GitUrl = source.url().parse()?;
    if is_commit_id(source.revision()) {
        return Ok(resolved(source, source.revision(), RevisionKind::Commit));
    }
    let access = &access.started();
    let mut remote = Remote::connect(&url, access)?;
    Ok(listed(source, &mut remote, &access.limits)?)
}

/// As [`resolve_git`], and finds the id of what is at the sub path, or of the paths that count: as long as it stays the
/// same, no commit has changed anything there. For many sources a [`Resolver`](crate::Resolver) costs less.
///
/// Costs one more exchange, of some kilobytes where the server can leave objects out, of the commit's files elsewhere.
/// They are kept in a directory of `scratch` meanwhile. Without a sub path and patterns it is just
/// [`resolve_git`].
///
/// # Errors
/// As [`resolve_git`]. A sub path or commit that does not exist has no id, which is no error.
///
/// # Specification
/// kpack 0.17.2, "Git resolution by shallow clone" (kpack.md §4.4).
pub fn resolve_git_with_tree(source: &GitSource, access: &Access, scratch: &Path) -> Result<ResolvedGit, ResolveError> {
    let url: GitUrl = source.url().parse()?;
    let sub_path: SubPath = source.sub_path().parse().unwrap_or_default();
    if sub_path.is_root() && source.paths().is_everything() {
        return resolve_git(source, access);
    }
    let access = &access.started();
    let mut remote = Remote::connect(&url, access)?;
    let mut found = if is_commit_id(source.revision()) {
        resolved(source, source.revision(), RevisionKind::Commit)
    } else {
        listed(source, &mut remote, &access.limits)?
    };
    if is_commit_id(&found.revision) {
        let place = tempfile::Builder::new().prefix("tree-").tempdir_in(scratch);
        let place = place.map_err(|error| protocol_error(&url.to_string(), error))?;
        let question = Question {
            sub_path: &sub_path,
            paths: source.paths(),
            depth: sub_path.parts().count(),
        };
        let mut server = Server {
            remote: Some(remote),
            connect: &|| Remote::connect(&url, access),
        };
        let mirror = Mirror::passing(place.path().to_owned());
        found.tree = mirror.answer(
            &found.revision,
            &question,
            &access.limits,
            &url.to_string(),
            &mut server,
        )?;
    }
    Ok(found)
}

pub(super) fn resolved(source: &GitSource, revision: &str, kind: RevisionKind) -> ResolvedGit {
    ResolvedGit {
        url: source.url().to_owned(),
        revision: revision.to_owned(),
        kind,
        sub_path: source.sub_path().to_owned(),
        tree: None,
        initialize_submodules: source.submodules(),
        paths: source.paths().clone(),
    }
}

/// No ref has a longer name: file systems that hold refs don't.
const MAX_NAME: usize = 4096;

/// Whether the revision can be the name of a ref at all.
pub(super) fn is_name(revision: &str) -> bool {
    !revision.is_empty() && revision.len() <= MAX_NAME
}

fn listed(source: &GitSource, remote: &mut Remote, limits: &Limits) -> Result<ResolvedGit, TransportError> {
    if !is_name(source.revision()) {
        return Ok(resolved(source, source.revision(), RevisionKind::Commit));
    }
    let refs = remote.list(&candidates(source.revision()), limits)?;
    if let Some((id, kind)) = pick(&refs, source.revision()) {
        return Ok(resolved(source, id, kind));
    }
    // Nobody knows yet what the names of a repository without any ref will mean.
    let is_empty = refs.is_empty() && remote.list(&["refs/".to_owned()], limits)?.is_empty();
    let kind = if is_empty {
        RevisionKind::Unknown
    } else {
        RevisionKind::Commit
    };
    Ok(resolved(source, source.revision(), kind))
}

pub(crate) fn is_commit_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The full names that `revision` can mean, the first of them that exists counts.
pub(super) fn candidates(revision: &str) -> Vec<String> {
    let mut names = Vec::new();
    if revision == "HEAD" || revision.starts_with("refs/") {
        names.push(revision.to_owned());
    }
    let mut roots = vec!["refs/heads/", "refs/tags/", "refs/remotes/"];
    // What is in one of these has the rest of its name as a short name, and no other.
    if !["heads/", "tags/", "remotes/"]
        .iter()
        .any(|root| revision.starts_with(root))
    {
        roots.push("refs/");
    }
    names.extend(roots.into_iter().map(|root| format!("{root}{revision}")));
    names
}

/// The ref whose full or short name is `revision`.
pub(super) fn pick<'a>(refs: &'a [ListedRef], revision: &str) -> Option<(&'a str, RevisionKind)> {
    let kind_of = |name: &str| match name {
        name if name.starts_with("refs/heads/") => RevisionKind::Branch,
        name if name.starts_with("refs/tags/") => RevisionKind::Tag,
        "HEAD" => RevisionKind::Branch,
        _ => RevisionKind::Unknown,
    };
    candidates(revision).iter().find_map(|name| {
        let found = refs.iter().find(|listed| listed.name == *name)?;
        Some((found.id.as_str(), kind_of(&found.name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<ListedRef> {
        let id = |position: usize| format!("{position:040}");
        let entry = |(position, name): (usize, &&str)| ListedRef {
            name: (*name).to_owned(),
            id: id(position),
            peeled: None,
            target: None,
        };
        names.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn a_branch_goes_before_a_tag_of_the_same_name() {
        let refs = listed(&["refs/tags/v1", "refs/heads/v1", "refs/heads/v1/x"]);
        assert_eq!(pick(&refs, "v1"), Some((refs[1].id.as_str(), RevisionKind::Branch)));
        assert_eq!(
            pick(&refs, "refs/tags/v1"),
            Some((refs[0].id.as_str(), RevisionKind::Tag))
        );
    }

    #[test]
    fn a_ref_that_is_neither_has_an_unknown_kind() {
        let refs = listed(&["refs/pull/7/head"]);
        assert_eq!(
            pick(&refs, "pull/7/head"),
            Some((refs[0].id.as_str(), RevisionKind::Unknown))
        );
        assert_eq!(pick(&refs, "pull/7"), None);
    }
}

//! A repository of this machine, read where it is; nothing of it is run.

use std::{collections::HashSet, io};

use git2::{ObjectType, Oid, PackBuilder, Repository, RepositoryOpenFlags};

use super::{
    protocol::ListedRef,
    transport::{TransportError, Wanted},
    url::GitUrl,
};

pub(super) struct LocalRepository {
    url: String,
    repository: Repository,
}

impl LocalRepository {
    pub(super) fn open(url: &GitUrl) -> Result<Self, TransportError> {
        let path = url.decoded_path();
        let none: [&str; 0] = [];
        let repository = Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, none);
        let repository = repository.map_err(|source| match source.code() {
            git2::ErrorCode::NotFound => TransportError::NotFound { url: url.to_string() },
            _ => TransportError::Local {
                url: url.to_string(),
                source,
            },
        })?;
        Ok(Self {
            url: url.to_string(),
            repository,
        })
    }

    fn failed(&self, source: git2::Error) -> TransportError {
        TransportError::Local {
            url: self.url.clone(),
            source,
        }
    }

    pub(super) fn list(&self) -> Result<Vec<ListedRef>, TransportError> {
        let mut listed = Vec::new();
        if let Ok(head) = self.repository.find_reference("HEAD")
            && let Ok(resolved) = head.resolve()
            && let Some(id) = resolved.target()
        {
            listed.push(ListedRef {
                name: "HEAD".to_owned(),
                id: id.to_string(),
                peeled: None,
                target: head.symbolic_target().ok().flatten().map(str::to_owned),
            });
        }
        for reference in self.repository.references().map_err(|error| self.failed(error))? {
            let reference = reference.map_err(|error| self.failed(error))?;
            let target = reference.resolve().ok().and_then(|found| found.target());
            if let Some((id, name)) = target.zip(reference.name().ok()) {
                let peeled = reference.peel(ObjectType::Any).ok().map(|object| object.id());
                listed.push(ListedRef {
                    name: name.to_owned(),
                    id: id.to_string(),
                    peeled: peeled.filter(|peeled| *peeled != id).map(|peeled| peeled.to_string()),
                    target: None,
                });
            }
        }
        Ok(listed)
    }

    /// Packs object `id` with all that it leads to but history, and without files unless everything is wanted.
    pub(super) fn pack(
        &self,
        id: &str,
        wanted: Wanted,
        pack: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Vec<String>, TransportError> {
        let failed = |error| self.failed(error);
        let id = Oid::from_str(id).map_err(failed)?;
        let mut object = self
            .repository
            .find_object(id, None)
            .map_err(|_| TransportError::Protocol {
                url: self.url.clone(),
                source: io::Error::other(format!("not our ref {id}")),
            })?;
        let mut builder = self.repository.packbuilder().map_err(failed)?;
        while let Some(tag) = object.as_tag() {
            builder.insert_object(object.id(), None).map_err(failed)?;
            let target = tag.target().map_err(failed)?;
            object = target;
        }
        let mut has_parents = false;
        if let Some(commit) = object.as_commit() {
            builder.insert_object(commit.id(), None).map_err(failed)?;
            has_parents = commit.parent_count() > 0;
        }
        let tree = object.peel_to_tree().map_err(failed)?.id();
        match wanted {
            Wanted::Everything => builder.insert_tree(tree).map_err(failed)?,
            Wanted::Trees(_) | Wanted::NoFiles => self.insert_trees(&mut builder, tree).map_err(failed)?,
        }
        let mut stopped = None;
        let written = builder.foreach(|piece| match pack(piece) {
            Ok(()) => true,
            Err(error) => {
                stopped = Some(error);
                false
            }
        });
        if let Some(source) = stopped {
            return Err(TransportError::Protocol {
                url: self.url.clone(),
                source,
            });
        }
        written.map_err(failed)?;
        Ok(has_parents.then(|| object.id().to_string()).into_iter().collect())
    }

    fn insert_trees(&self, builder: &mut PackBuilder<'_>, root: Oid) -> Result<(), git2::Error> {
        let (mut seen, mut left) = (HashSet::from([root]), vec![root]);
        while let Some(id) = left.pop() {
            builder.insert_object(id, None)?;
            let tree = self.repository.find_tree(id)?;
            let trees = tree.iter().filter(|entry| entry.kind() == Some(ObjectType::Tree));
            left.extend(trees.map(|entry| entry.id()).filter(|id| seen.insert(*id)));
        }
        Ok(())
    }
}

//! A repository of this machine, read where it is; nothing of it is run.

use std::io;

use git2::{ObjectType, Oid, Repository, RepositoryOpenFlags};

use super::{protocol::ListedRef, transport::TransportError, url::GitUrl};

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

    /// Packs object `id`, and the commit that it leads to with all files.
    pub(super) fn pack(
        &self,
        id: &str,
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
        let commit = object.peel_to_commit().map_err(failed)?;
        builder.insert_commit(commit.id()).map_err(failed)?;
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
        let has_parents = commit.parent_count() > 0;
        Ok(has_parents.then(|| commit.id().to_string()).into_iter().collect())
    }
}

//! Objects in files of their own, as git keeps what is in no pack yet.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::ZlibEncoder};
use git2::{ObjectType, Oid, Repository};

use super::{objects, pack_scan::Keep};

/// Keeps objects beneath the `objects` of a directory.
pub(super) struct Loose {
    objects: PathBuf,
    repository: Repository,
}

impl Loose {
    pub(super) fn open(git_dir: &Path) -> Result<Self, git2::Error> {
        Ok(Self {
            objects: git_dir.join("objects"),
            repository: objects::open(git_dir)?,
        })
    }
}

impl Keep for Loose {
    fn keep(&mut self, kind: ObjectType, content: &[u8]) -> io::Result<Oid> {
        let id = Oid::hash_object(kind, content).map_err(io::Error::other)?;
        let name = id.to_string();
        let (dir, name) = name.split_at(2);
        let dir = self.objects.join(dir);
        if !dir.is_dir() {
            fs::create_dir(&dir)?;
        }
        // What is there under its name is whole, and an object that is there is the same one.
        let path = dir.join(name);
        if !path.exists() {
            let temporary = self.objects.join("new-object");
            let mut file = ZlibEncoder::new(io::BufWriter::new(fs::File::create(&temporary)?), Compression::fast());
            write!(file, "{} {}\0", kind.str(), content.len())?;
            file.write_all(content)?;
            file.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            fs::rename(temporary, path)?;
        }
        Ok(id)
    }

    fn has(&mut self, id: Oid) -> bool {
        self.content(id).is_ok_and(|(kind, _)| kind != ObjectType::Blob)
    }

    fn content(&mut self, id: Oid) -> io::Result<(ObjectType, Vec<u8>)> {
        let odb = self.repository.odb().map_err(io::Error::other)?;
        let object = odb.read(id).map_err(io::Error::other)?;
        Ok((object.kind(), object.data().to_owned()))
    }
}

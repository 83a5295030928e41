use std::io::Write;
use std::path::{Path, PathBuf};

use super::entries::{Entries, Outlining};
use super::tree::write_path;
use super::{LayerContent, LayerError, Tree};
use crate::outline::Outline;
use crate::tar::{EntryKind, Header, TarWriter};

/// A layer made of single entries and of file trees, in the order in which they are added.
///
/// Entries carry the time and the (missing) user names that every layer has; see
/// [`Header::new`]. Nothing is read before the layer is written.
///
/// # Examples
/// ```
/// use cnb_layers::{LayerBuilder, diff_id};
///
/// let layer = LayerBuilder::new()
///     .directory("/cnb", 0o755, 0, 0)
///     .file("/cnb/stack.toml", 0o644, 0, 0, "[run-image]\n  image = \"acme/run\"\n");
/// let (id, size) = diff_id(&layer)?;
/// assert_eq!(size, 5 * 512);
/// println!("{id}");
/// # Ok::<(), cnb_layers::LayerError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LayerBuilder {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    /// An entry with its content.
    Entry(Header, Vec<u8>),
    /// A regular file whose content (and size) is on disk.
    File(Header, PathBuf),
    /// A file tree.
    Tree(Tree),
    /// One thing on disk under a name, with the owner given.
    Path {
        disk: PathBuf,
        name: Vec<u8>,
        uid: i64,
        gid: i64,
    },
}

impl LayerBuilder {
    /// Returns a layer without entries: an archive of 1024 zero bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory. Its name is written as given.
    #[must_use]
    pub fn directory(self, name: impl Into<Vec<u8>>, mode: u32, uid: i64, gid: i64) -> Self {
        self.entry(
            Header::new(EntryKind::Directory, name).owned(mode, uid, gid),
            Vec::new(),
        )
    }

    /// Adds a regular file with this content.
    #[must_use]
    pub fn file(self, name: impl Into<Vec<u8>>, mode: u32, uid: i64, gid: i64, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Header::new(EntryKind::File, name).owned(mode, uid, gid), content.into())
    }

    /// Adds a regular file with the content of the file at `path` (symbolic links are followed).
    #[must_use]
    pub fn file_from(
        mut self,
        name: impl Into<Vec<u8>>,
        mode: u32,
        uid: i64,
        gid: i64,
        path: impl Into<PathBuf>,
    ) -> Self {
        let header = Header::new(EntryKind::File, name).owned(mode, uid, gid);
        self.parts.push(Part::File(header, path.into()));
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>, mode: u32, uid: i64, gid: i64) -> Self {
        let mut header = Header::new(EntryKind::Symlink, name).owned(mode, uid, gid);
        header.link = target.into();
        self.entry(header, Vec::new())
    }

    /// Adds any entry; the size in its header is set to that of `content`.
    #[must_use]
    pub fn entry(mut self, mut header: Header, content: Vec<u8>) -> Self {
        header.size = i64::try_from(content.len()).unwrap_or(i64::MAX);
        self.parts.push(Part::Entry(header, content));
        self
    }

    /// Adds a file tree, which is walked when the layer is written.
    #[must_use]
    pub fn tree(mut self, tree: Tree) -> Self {
        self.parts.push(Part::Tree(tree));
        self
    }

    pub(super) fn path(mut self, disk: PathBuf, name: Vec<u8>, uid: i64, gid: i64) -> Self {
        self.parts.push(Part::Path { disk, name, uid, gid });
        self
    }
}

impl LayerBuilder {
    /// Returns the outline of the archive, for which no file is read.
    pub(crate) fn outline(&self) -> Result<Outline, LayerError> {
        let mut archive = Outlining(TarWriter::new(Outline::default()));
        self.write(&mut archive)?;
        archive.0.finish().map_err(LayerError::Write)
    }

    fn write(&self, archive: &mut dyn Entries) -> Result<(), LayerError> {
        for part in &self.parts {
            match part {
                Part::Entry(header, content) => archive
                    .bytes(header, content)
                    .map_err(|error| LayerError::entry(Path::new(""), error))?,
                Part::File(header, path) => archive.followed(header, path)?,
                Part::Tree(tree) => tree.write(archive)?,
                Part::Path { disk, name, uid, gid } => {
                    write_path(archive, disk, name, *uid, *gid).map_err(|error| match error {
                        error @ LayerError::Read { .. } => LayerError::AddFile {
                            path: disk.clone(),
                            source: Box::new(error),
                        },
                        other => other,
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl LayerContent for LayerBuilder {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        let mut archive = TarWriter::new(out);
        self.write(&mut archive)?;
        archive.finish().map_err(LayerError::Write)?;
        Ok(())
    }
}

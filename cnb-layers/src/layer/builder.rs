use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{LayerContent, LayerError, Tree};
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

impl LayerContent for LayerBuilder {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        let mut archive = TarWriter::new(out);
        for part in &self.parts {
            match part {
                Part::Entry(header, content) => {
                    archive
                        .bytes(header, content)
                        .map_err(|error| LayerError::entry(Path::new(""), error))?;
                }
                Part::File(header, path) => {
                    let file = File::open(path).map_err(LayerError::open(path))?;
                    let size = file.metadata().map_err(LayerError::open(path))?.len();
                    let mut header = header.clone();
                    header.size = i64::try_from(size).unwrap_or(i64::MAX);
                    write_file(&mut archive, &header, path, file)?;
                }
                Part::Tree(tree) => tree.write(&mut archive)?,
                Part::Path { disk, name, uid, gid } => {
                    super::tree::write_path(&mut archive, disk, name, *uid, *gid).map_err(|error| match error {
                        error @ LayerError::Read { .. } => LayerError::AddFile {
                            path: disk.clone(),
                            source: Box::new(error),
                        },
                        other => other,
                    })?;
                }
            }
        }
        archive.finish().map_err(LayerError::Write)?;
        Ok(())
    }
}

/// Opens a file that was seen to be a regular one; never waits for a pipe that took its place since.
pub(super) fn open_regular(path: &Path) -> Result<File, LayerError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(LayerError::open(path))
}

/// Writes an entry with a file's content and says of an error whether it is the file's or the output's.
pub(super) fn write_file<W: Write>(
    archive: &mut TarWriter<W>,
    header: &Header,
    path: &Path,
    file: File,
) -> Result<(), LayerError> {
    let mut content = Watched { file, failed: false };
    archive.file(header, &mut content).map_err(|error| {
        if content.failed {
            LayerError::Read {
                action: "read",
                path: path.to_owned(),
                source: error,
            }
        } else {
            LayerError::entry(path, error)
        }
    })
}

/// Remembers whether reading failed.
struct Watched {
    file: File,
    failed: bool,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.file.read(buffer);
        self.failed |= result
            .as_ref()
            .is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        result
    }
}

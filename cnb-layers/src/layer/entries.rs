use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::LayerError;
use crate::outline::Outline;
use crate::tar::{Header, TarWriter};

/// Takes the entries of a layer.
pub(super) trait Entries {
    /// Takes an entry without content.
    fn entry(&mut self, header: &Header) -> io::Result<()>;

    /// Takes an entry with content that is in memory.
    fn bytes(&mut self, header: &Header, content: &[u8]) -> io::Result<()>;

    /// Takes the regular file at `path`, which was seen to be one, with this status.
    fn file(&mut self, header: &Header, path: &Path, status: &Metadata) -> Result<(), LayerError>;

    /// Takes the file at `path`, or where the link there leads to; the size in the header becomes its size.
    fn followed(&mut self, header: &Header, path: &Path) -> Result<(), LayerError>;
}

impl<W: Write> Entries for TarWriter<W> {
    fn entry(&mut self, header: &Header) -> io::Result<()> {
        self.entry(header)
    }

    fn bytes(&mut self, header: &Header, content: &[u8]) -> io::Result<()> {
        self.bytes(header, content)
    }

    fn file(&mut self, header: &Header, path: &Path, _: &Metadata) -> Result<(), LayerError> {
        // Never waits for a pipe that took its place since.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(LayerError::open(path))?;
        write_file(self, header, path, file)
    }

    fn followed(&mut self, header: &Header, path: &Path) -> Result<(), LayerError> {
        let file = File::open(path).map_err(LayerError::open(path))?;
        let status = file.metadata().map_err(LayerError::open(path))?;
        write_file(self, &sized(header, &status), path, file)
    }
}

/// Writes an entry with a file's content and says of an error whether it is the file's or the output's.
fn write_file<W: Write>(
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

fn sized(header: &Header, status: &Metadata) -> Header {
    let mut header = header.clone();
    header.size = i64::try_from(status.len()).unwrap_or(i64::MAX);
    header
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

/// Makes the outline of an archive: no file is opened.
pub(super) struct Outlining(pub(super) TarWriter<Outline>);

impl Entries for Outlining {
    fn entry(&mut self, header: &Header) -> io::Result<()> {
        self.0.entry(header)
    }

    fn bytes(&mut self, header: &Header, content: &[u8]) -> io::Result<()> {
        self.0.bytes(header, content)
    }

    fn file(&mut self, header: &Header, path: &Path, status: &Metadata) -> Result<(), LayerError> {
        let outlined = self.0.outline(header, |outline| outline.file(&status.into()));
        outlined.map_err(|error| LayerError::entry(path, error))
    }

    fn followed(&mut self, header: &Header, path: &Path) -> Result<(), LayerError> {
        let status = fs::metadata(path).map_err(LayerError::open(path))?;
        self.file(&sized(header, &status), path, &status)
    }
}

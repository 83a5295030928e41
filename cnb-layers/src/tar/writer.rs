use std::io::{self, Read, Write};

use super::{Header, encode};

/// Writes an archive.
///
/// Bytes are those of Go's `archive/tar`, form by form: so a layer made here has the diff id that the
/// reference gives it.
///
/// # Examples
/// ```
/// use cnb_layers::tar::{EntryKind, Header, TarWriter};
///
/// let mut archive = TarWriter::new(Vec::new());
/// archive.entry(&Header::new(EntryKind::Directory, "/layers/acme_bp").owned(0o755, 0, 0))?;
/// let bytes = archive.finish()?;
/// assert_eq!(bytes.len(), 3 * 512); // one header, and two blocks that end the archive
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TarWriter<W> {
    out: W,
    blocks: Vec<u8>,
    buffer: Box<[u8]>,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            blocks: Vec::with_capacity(4096),
            buffer: vec![0; 128 * 1024].into(),
        }
    }

    /// Writes an entry without content.
    ///
    /// # Errors
    /// With [`io::ErrorKind::InvalidInput`] (and [`InvalidHeader`](super::InvalidHeader) inside) when no
    /// form of tar can express the header; else what the output says.
    pub fn entry(&mut self, header: &Header) -> io::Result<()> {
        self.blocks.clear();
        encode::header(header, &mut self.blocks)
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        self.out.write_all(&self.blocks)
    }

    /// Writes an entry with the `header.size` bytes of `content`.
    ///
    /// # Errors
    /// As [`entry`](Self::entry). With [`io::ErrorKind::InvalidData`] when `content` ends before, or does
    /// not end after, `header.size` bytes: then the archive is of no use any more.
    pub fn file(&mut self, header: &Header, content: &mut dyn Read) -> io::Result<()> {
        self.entry(header)?;
        let size = u64::try_from(header.size).unwrap_or(0);
        let mut left = size;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 && left == 0 {
                break;
            }
            if count == 0 || count as u64 > left {
                let problem = if count == 0 { "shrank" } else { "grew" };
                let name = String::from_utf8_lossy(&header.name);
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{name} {problem} while it was read; it had {size} bytes: build again when nothing writes to it"
                    ),
                ));
            }
            self.out.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.pad(size)
    }

    /// Writes an entry with content that is in memory.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub fn bytes(&mut self, header: &Header, content: &[u8]) -> io::Result<()> {
        self.entry(header)?;
        self.out.write_all(content)?;
        self.pad(content.len() as u64)
    }

    /// Writes all of an entry but its `header.size` bytes of content, in whose place `content` is called.
    pub(crate) fn outline(&mut self, header: &Header, content: impl FnOnce(&mut W)) -> io::Result<()> {
        self.entry(header)?;
        content(&mut self.out);
        self.pad(u64::try_from(header.size).unwrap_or(0))
    }

    /// Ends the archive with two empty blocks and returns the output.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * encode::BLOCK])?;
        Ok(self.out)
    }

    /// Returns the output without ending the archive.
    pub fn into_unfinished(self) -> W {
        self.out
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % encode::BLOCK as u64).unwrap_or(0);
        if over == 0 {
            Ok(())
        } else {
            self.out.write_all(&[0; encode::BLOCK][over..])
        }
    }
}

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{LayerContent, LayerError};
use crate::tar::{TarError, TarReader, TarWriter};

/// An existing archive (plain or gzip) that becomes a layer as it is, byte for byte.
#[derive(Clone, Debug)]
pub struct CopiedTar(pub PathBuf);

impl LayerContent for CopiedTar {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        let mut tar = open(&self.0)?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match tar.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => out.write_all(&buffer[..count]).map_err(LayerError::Write)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(LayerError::Read {
                        action: "read",
                        path: self.0.clone(),
                        source,
                    });
                }
            }
        }
    }
}

/// An existing archive (plain or gzip) whose entries are written anew with the time of all layers and
/// without names of owners; all else, forms and records too, is kept. The reference does this to the
/// layers of image extensions.
#[derive(Clone, Debug)]
pub struct RewrittenTar(pub PathBuf);

impl LayerContent for RewrittenTar {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        let damaged = |source| LayerError::Archive {
            path: self.0.clone(),
            source,
        };
        let mut archive = TarWriter::new(out);
        let mut reader = TarReader::new(open(&self.0)?);
        while let Some(mut header) = reader.next().map_err(damaged)? {
            header.normalize();
            if header.kind == crate::tar::EntryKind::PaxGlobal {
                // The reference cannot write a global entry that has a time, and fails.
                return Err(LayerError::Header(crate::tar::InvalidHeader {
                    name: String::from_utf8_lossy(&header.name).into_owned(),
                    problem: "an archive with a global PAX entry cannot become a layer",
                }));
            }
            if header.kind.is_header_only() {
                header_only(&mut archive, &header)?;
                continue;
            }
            let mut content = Watched {
                reader: &mut reader,
                failure: None,
            };
            archive
                .file(&header, &mut content)
                .map_err(|error| match content.failure.take() {
                    Some(source) => damaged(TarError::Read(source)),
                    None => LayerError::entry(&self.0, error),
                })?;
        }
        archive.finish().map_err(LayerError::Write)?;
        Ok(())
    }
}

fn header_only<W: Write>(archive: &mut TarWriter<W>, header: &crate::tar::Header) -> Result<(), LayerError> {
    archive
        .entry(header)
        .map_err(|error| LayerError::entry(Path::new(""), error))
}

struct Watched<'a, R> {
    reader: &'a mut TarReader<R>,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failure = Some(error);
            }
            kind.into()
        })
    }
}

fn open(path: &Path) -> Result<Box<dyn Read + Send>, LayerError> {
    let file = File::open(path).map_err(LayerError::open(path))?;
    decompressed(Box::new(file)).map_err(LayerError::open(path))
}

/// Returns the tar in a layer's blob: looks at the first bytes, not at a media type.
///
/// # Errors
/// When the bytes cannot be read, or are zstd.
pub(crate) fn decompressed(mut blob: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    blob.by_ref().take(4).read_to_end(&mut start)?;
    let is_gzip = start.starts_with(&[0x1f, 0x8b]);
    if start == [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the layer is compressed with zstd, which is not supported: push the image with gzip layers",
        ));
    }
    let whole: Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>> = Cursor::new(start).chain(blob);
    if !is_gzip {
        return Ok(Box::new(whole));
    }
    Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(
        128 * 1024,
        whole,
    ))))
}

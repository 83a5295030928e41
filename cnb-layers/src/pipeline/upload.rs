use std::io::{self, Write};

use registry_auth::{Digest, Repository};

use super::{Compressed, Compression, Slots, compress_layer};
use crate::{BlobWriter, Descriptor, ImageError, ImageTarget, Layer, LayerContent, LayerError};

/// Blobs up to this size are kept until they are complete, and not sent when they are there already.
pub(super) const SMALL: usize = 1024 * 1024;

/// A layer is made again so often when the place it goes to breaks off.
const ATTEMPTS: usize = 3;

/// Why a layer could not be made or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The layer could not be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The layer could not be stored.
    #[error(transparent)]
    Store(#[from] ImageError),
    /// There is no tag to write the image to.
    #[error("an image needs at least one tag to be written to")]
    NoTag,
}

/// Makes a layer's blob and stores it on the way, in one pass and in bounded memory.
///
/// A blob that turns out small is sent only if the repository does not have it; a larger one is sent
/// while it is being made. Nothing of it is kept, so when the connection breaks, the layer is made again. To send nothing of a layer that an image has already, compare its
/// [`diff_id`](crate::diff_id) first.
///
/// # Errors
/// When the layer cannot be made, or `target` fails. Then nothing of it remains there.
pub fn upload_layer(
    target: &dyn ImageTarget,
    repository: &Repository,
    content: &dyn LayerContent,
    media_type: &str,
    compression: Compression,
) -> Result<(Layer, Compressed), UploadError> {
    upload_layer_in(&Slots::new(1), target, repository, content, media_type, compression)
}

/// As [`upload_layer`], with a slot taken while the layer is made and needs memory.
///
/// While the target stores what it got, which may take as long as its disk does, another layer may be made.
pub(crate) fn upload_layer_in(
    slots: &Slots,
    target: &dyn ImageTarget,
    repository: &Repository,
    content: &dyn LayerContent,
    media_type: &str,
    compression: Compression,
) -> Result<(Layer, Compressed), UploadError> {
    let mut attempt = 1;
    loop {
        match upload_once(slots, target, repository, content, media_type, compression) {
            Err(error) if attempt < ATTEMPTS && error.is_retryable() => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn upload_once(
    slots: &Slots,
    target: &dyn ImageTarget,
    repository: &Repository,
    content: &dyn LayerContent,
    media_type: &str,
    compression: Compression,
) -> Result<(Layer, Compressed), UploadError> {
    let slot = slots.take();
    let mut sink = Sink {
        target,
        repository,
        buffer: Vec::new(),
        blob: None,
        failure: None,
    };
    let made = compress_layer(content, compression, &mut sink);
    if let Some(error) = sink.failure {
        return Err(error.into());
    }
    let made = match made {
        // What failed was where the layer goes.
        Err(LayerError::Write(error)) => {
            return Err(match error.downcast::<ImageError>() {
                Ok(error) => error.into(),
                Err(error) => LayerError::Write(error).into(),
            });
        }
        made => made?,
    };
    match sink.blob {
        Some(blob) => {
            drop(slot);
            blob.finish(&made.digest)?;
        }
        None => push_small(target, repository, &made.digest, &sink.buffer)?,
    }
    let descriptor = Descriptor::new(media_type, made.digest.clone(), made.size);
    Ok((
        Layer {
            diff_id: made.diff_id.clone(),
            descriptor,
        },
        made,
    ))
}

impl UploadError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}

fn push_small(
    target: &dyn ImageTarget,
    repository: &Repository,
    digest: &Digest,
    bytes: &[u8],
) -> Result<(), ImageError> {
    target.push_blob(repository, digest, bytes.len() as u64, &mut || {
        Ok(Box::new(io::Cursor::new(bytes.to_vec())))
    })
}

struct Sink<'a> {
    target: &'a dyn ImageTarget,
    repository: &'a Repository,
    buffer: Vec<u8>,
    blob: Option<Box<dyn BlobWriter>>,
    failure: Option<ImageError>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(blob) = &mut self.blob {
            return blob.write(bytes);
        }
        if self.buffer.len() + bytes.len() <= SMALL {
            self.buffer.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        match self.target.start_blob(self.repository) {
            Ok(mut blob) => {
                blob.write_all(&std::mem::take(&mut self.buffer))?;
                let count = blob.write(bytes)?;
                self.blob = Some(blob);
                Ok(count)
            }
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("the upload could not be started"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.as_mut().map_or(Ok(()), Write::flush)
    }
}

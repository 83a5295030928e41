use std::io::{self, Read};

use registry_auth::{Digest, Reference};
use sha2::{Digest as _, Sha256};

use crate::layer::decompressed;
use crate::tar::{TarError, TarReader};
use crate::{DiffId, Image, ImageError, ImageSource, media_type};

/// A law that an image breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// The manifest is not of schema version 2.
    #[error("schemaVersion is {found}, not 2")]
    SchemaVersion {
        /// What it is.
        found: i64,
    },
    /// The manifest names another media type than it is stored under.
    #[error("the manifest is stored as {stored} and says it is {stated}")]
    MediaType {
        /// The store's.
        stored: String,
        /// The manifest's.
        stated: String,
    },
    /// The manifest states another size of the config than it has.
    #[error("the config has {actual} bytes, the manifest says {stated}")]
    ConfigSize {
        /// The manifest's.
        stated: u64,
        /// The real one.
        actual: u64,
    },
    /// Config and manifest have different numbers of layers.
    #[error("the manifest has {manifest} layers, the config {config}")]
    LayerCount {
        /// The manifest's.
        manifest: usize,
        /// The config's.
        config: usize,
    },
    /// The history has another number of layers.
    #[error("the history accounts for {history} layers of {layers}")]
    HistoryCount {
        /// The history's.
        history: usize,
        /// The real number.
        layers: usize,
    },
    /// `rootfs.type` is not `layers`.
    #[error("rootfs.type is {found:?}, not \"layers\"")]
    RootFsType {
        /// What it is.
        found: String,
    },
    /// A layer's blob is missing, cannot be read, or is not what its descriptor says.
    #[error("layer {number} ({digest}) cannot be read")]
    LayerBlob {
        /// Which layer, from 0.
        number: usize,
        /// Its blob.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// A layer's blob could not be opened.
    #[error("layer {number} cannot be opened")]
    LayerMissing {
        /// Which layer, from 0.
        number: usize,
        /// The cause.
        source: ImageError,
    },
    /// A layer's tar has another diff id than the config says.
    #[error("layer {number} has diff id {actual}, the config says {stated}")]
    DiffId {
        /// Which layer, from 0.
        number: usize,
        /// The config's.
        stated: DiffId,
        /// The real one.
        actual: DiffId,
    },
    /// A layer is no readable tar.
    #[error("layer {number} is not a tar archive")]
    Tar {
        /// Which layer, from 0.
        number: usize,
        /// The cause.
        source: TarError,
    },
}

/// Checks all that must be true of an image: what its documents say of each other, and every layer's
/// digest, size, diff id and archive. Reads every layer. Empty means that the image is sound.
///
/// Layers that a registry need not hold (foreign ones) are not read.
pub fn validate(source: &dyn ImageSource, reference: &Reference, image: &Image) -> Vec<ImageFault> {
    let mut faults = validate_documents(image);
    for (number, layer) in image.layers().into_iter().enumerate() {
        if media_type::is_foreign_layer(&layer.descriptor.media_type) {
            continue;
        }
        let blob = match source.layer(reference, &layer.descriptor) {
            Ok(blob) => blob,
            Err(source) => {
                faults.push(ImageFault::LayerMissing { number, source });
                continue;
            }
        };
        let unreadable = |source| ImageFault::LayerBlob {
            number,
            digest: layer.descriptor.digest.clone(),
            source,
        };
        match read_tar(blob) {
            Err(source) => faults.push(unreadable(source)),
            Ok((actual, tar)) => {
                if actual != layer.diff_id {
                    faults.push(ImageFault::DiffId {
                        number,
                        stated: layer.diff_id,
                        actual,
                    });
                }
                if let Err(source) = tar {
                    faults.push(ImageFault::Tar { number, source });
                }
            }
        }
    }
    faults
}

/// Checks what an image's documents say of each other, without reading a layer.
pub fn validate_documents(image: &Image) -> Vec<ImageFault> {
    let (manifest, config) = (image.manifest(), image.config());
    let mut faults = Vec::new();
    let mut check = |sound: bool, fault: ImageFault| {
        if !sound {
            faults.push(fault);
        }
    };
    check(
        manifest.schema_version == 2,
        ImageFault::SchemaVersion {
            found: manifest.schema_version,
        },
    );
    check(
        manifest.media_type.is_empty() || manifest.media_type == image.media_type(),
        ImageFault::MediaType {
            stored: image.media_type().to_owned(),
            stated: manifest.media_type.clone(),
        },
    );
    let actual = image.config_json().len() as u64;
    check(
        manifest.config.size == actual,
        ImageFault::ConfigSize {
            stated: manifest.config.size,
            actual,
        },
    );
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    check(
        layers == diff_ids,
        ImageFault::LayerCount {
            manifest: layers,
            config: diff_ids,
        },
    );
    let history = config.history.iter().filter(|entry| !entry.empty_layer).count();
    check(
        config.history.is_empty() || history == layers,
        ImageFault::HistoryCount { history, layers },
    );
    check(
        config.rootfs.kind == "layers",
        ImageFault::RootFsType {
            found: config.rootfs.kind.clone(),
        },
    );
    faults
}

/// Reads a blob to its end: the diff id of its tar, and whether the tar is one.
fn read_tar(blob: Box<dyn Read + Send>) -> io::Result<(DiffId, Result<(), TarError>)> {
    let mut tar = TarReader::new(HashingReader::new(decompressed(blob)?));
    let read = loop {
        match tar.next() {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let diff_id = tar.into_inner().finish()?;
    Ok((diff_id, read))
}

/// Passes bytes on and hashes them.
pub(crate) struct HashingReader<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    /// Reads to the end and returns the SHA-256 of everything as a diff id.
    pub(crate) fn finish(mut self) -> io::Result<DiffId> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(DiffId::from_sha256_bytes(self.hash.finalize().into()))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

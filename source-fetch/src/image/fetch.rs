//! An image's layers, unpacked beneath a directory.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use registry_auth::{Digest, InvalidReference, Reference};
use registry_client::{Client, RegistryError};

use super::document::SourceImage;
use crate::{
    archive::{self, ArchiveError, ArchiveKind},
    beneath::Beneath,
    limits::{LimitExceeded, Limits, Received},
};

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedImage {
    /// The image's repository, without tag and digest.
    pub repository: String,
    /// The digest of the image's manifest; for an index, of the one for linux on amd64.
    pub digest: Digest,
}

/// Why an image could not be used as a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageSourceError {
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The registry gave no usable answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no such image.
    #[error("source image {image} does not exist; check the name and the tag")]
    NotFound {
        /// The image.
        image: String,
    },
    /// The index has no image for the platform.
    #[error("source image {image} has no variant for linux/amd64")]
    NoPlatform {
        /// The image.
        image: String,
    },
    /// A document of the image is not valid.
    #[error("source image {image} can't be understood")]
    Document {
        /// The image.
        image: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The label says that the image holds one archive, and it has several layers or none.
    #[error("expected image to have exactly one layer")]
    Layers,
    /// The label says that the image holds one archive, and its layer holds several files or none.
    #[error("expected layer to have exactly one file")]
    Files,
    /// A layer could not be read to its end, or its digest is wrong.
    #[error("layer {layer} of source image {image} can't be read")]
    Layer {
        /// The image.
        image: String,
        /// The layer.
        layer: Digest,
        /// The cause.
        source: io::Error,
    },
    /// It took too long, or somebody cancelled.
    #[error("source image {image} is not fetched")]
    Limit {
        /// The image.
        image: String,
        /// Which bound was crossed.
        source: LimitExceeded,
    },
    /// The target could not be opened.
    #[error("cannot open the directory to unpack into")]
    Target(#[source] io::Error),
    /// A layer or archive could not be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl ImageSourceError {
    /// Returns whether the same fetch may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_retryable(),
            Self::Limit { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
}

/// Pulls `image` and unpacks its layers, one over the other, into `dir`, which must exist.
///
/// An image with the label `source.contenttype.kpack.io` (`zip`, `jar`, `war`, `tar` or `tar.gz`) holds one archive
/// instead: that is unpacked.
///
/// # Errors
/// As [`ImageSourceError`] says. Files written before the failure stay.
///
/// # Specification
/// kpack 0.17.2, "Registry source fetch" (kpack.md §4.8): whiteouts and links of layers mean nothing.
pub fn fetch_image(
    image: &str,
    dir: &Path,
    client: &Client,
    limits: &Limits,
) -> Result<FetchedImage, ImageSourceError> {
    let reference = Reference::parse(image)?;
    let limits = &limits.started(client.http());
    // What failed because the time was over failed for that reason.
    fetched(&reference, dir, client, limits).map_err(|error| match limits.check() {
        Ok(()) => error,
        Err(source) => ImageSourceError::Limit {
            image: image.to_owned(),
            source,
        },
    })
}

fn fetched(
    reference: &Reference,
    dir: &Path,
    client: &Client,
    limits: &Limits,
) -> Result<FetchedImage, ImageSourceError> {
    let found = SourceImage::read(reference, &limits.client(client))?;
    let mut into = Beneath::open(dir, limits).map_err(ImageSourceError::Target)?;
    let kind = match found.kind.as_str() {
        "zip" | "jar" | "war" => Some((ArchiveKind::Zip, "zip")),
        "tar" => Some((ArchiveKind::Tar, "tar")),
        "tar.gz" => Some((ArchiveKind::TarGz, "tar.gz")),
        _ => None,
    };
    if let Some((kind, expected)) = kind {
        let [layer] = found.layers.as_slice() else {
            return Err(ImageSourceError::Layers);
        };
        let (mut file, name) = only_file(reference, layer, dir, client, limits)?;
        if ArchiveKind::of(&mut file)? != Some(kind) {
            return Err(ArchiveError::OtherKind { name, expected }.into());
        }
        archive::unpack_as(kind, &mut file, &mut into, 0)?;
    } else {
        for layer in &found.layers {
            unpack_layer(reference, layer, &mut into, &limits.client(client))?;
        }
    }
    into.finish().map_err(ArchiveError::from)?;
    Ok(FetchedImage {
        repository: reference.repository().to_string(),
        digest: found.digest,
    })
}

fn unpack_layer(
    reference: &Reference,
    layer: &Digest,
    into: &mut Beneath<'_>,
    client: &Client,
) -> Result<(), ImageSourceError> {
    let failed = |source| ImageSourceError::Layer {
        image: reference.to_string(),
        layer: layer.clone(),
        source,
    };
    let blob = client.blob(reference.repository(), layer)?;
    let received = into.received();
    let mut blob = BufReader::new(Counted { blob, received });
    // Media types of layers lie often enough; bytes don't.
    let is_gzip = blob.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    if is_gzip {
        archive::unpack_tar(&mut MultiGzDecoder::new(&mut blob), into, 0)?;
    } else {
        archive::unpack_tar(&mut blob, into, 0)?;
    }
    // The digest is checked at the end of the blob, which is behind the end of the archive.
    io::copy(&mut blob, &mut io::sink()).map_err(failed)?;
    Ok(())
}

/// What is received is counted.
struct Counted<R> {
    blob: R,
    received: Received,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.received.add(count as u64);
        Ok(count)
    }
}

/// The file that is all that a layer holds, and its name.
fn only_file(
    reference: &Reference,
    layer: &Digest,
    dir: &Path,
    client: &Client,
    limits: &Limits,
) -> Result<(File, String), ImageSourceError> {
    let place = tempfile::Builder::new().prefix(".source-").tempdir_in(dir);
    let place = place.map_err(ImageSourceError::Target)?;
    let mut into = Beneath::open(place.path(), limits).map_err(ImageSourceError::Target)?;
    unpack_layer(reference, layer, &mut into, &limits.client(client))?;
    let mut entries = std::fs::read_dir(place.path()).map_err(ImageSourceError::Target)?;
    let (Some(entry), None) = (entries.next(), entries.next()) else {
        return Err(ImageSourceError::Files);
    };
    let entry = entry.map_err(ImageSourceError::Target)?;
    let name = entry
        .file_name()
        .to_string_lossy()
        .replace(|c: char| c.is_control(), "?");
    if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
        let expected = "single-file";
        return Err(ArchiveError::OtherKind { name, expected }.into());
    }
    let file = File::open(entry.path()).map_err(ImageSourceError::Target)?;
    Ok((file, name))
}

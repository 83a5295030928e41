//! Where images come from and go to.

mod error;
mod layout;
mod layouts;
mod memory;
mod registry;
mod registry_blob;
mod verify;

pub use error::ImageError;
pub use layout::LayoutStore;
pub(crate) use layout::REF_NAME;
pub use layouts::LayoutImages;
pub use memory::{MemoryStore, StoreEvent};
pub use registry::RegistryStore;
pub(crate) use verify::{Document, Verified, read_limited, resolve};

use std::io::{Read, Write};

use registry_auth::{Digest, Reference, Repository};

use crate::{Descriptor, Image, Platform, digest_of};

/// Opens a blob's bytes from the start, each time it is called.
pub type OpenBlob<'a> = dyn FnMut() -> std::io::Result<Box<dyn Read + Send>> + 'a;

/// A place that images are read from.
///
/// A combination of sources (by host name, say) is a source as well. Implementations are
/// [`RegistryStore`], [`LayoutStore`] and [`MemoryStore`].
pub trait ImageSource: Send + Sync {
    /// Returns the image at `reference`, or `None` when there is no such manifest.
    ///
    /// From an index, the first image for `platform` is taken; its own digest is the image's digest.
    ///
    /// # Errors
    /// When the place cannot be reached, refuses, or holds something that is no image.
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError>;

    /// Opens a layer's blob, exactly as stored (mostly compressed). `reference` is that of its image.
    ///
    /// Reading fails at the end, with [`std::io::ErrorKind::InvalidData`], when the bytes were not those
    /// the digest promises: whoever read to the end without an error has the right bytes.
    ///
    /// # Errors
    /// When there is no such blob or it cannot be opened.
    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError>;

    /// Opens a layer's blob for somebody who checks the [diff id](crate::DiffId) of what it holds: the digest of the blob need
    /// not be checked as well. Where that saves nothing, this is [`layer`](Self::layer).
    ///
    /// # Errors
    /// As those of [`layer`](Self::layer).
    fn layer_to_check(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        self.layer(reference, layer)
    }

    /// Returns the repository from which a target with the same registry host may mount this image's
    /// blobs, or `None` when there is no such thing here.
    fn mountable(&self, reference: &Reference) -> Option<Repository> {
        let _ = reference;
        None
    }
}

/// A place that images are written to.
///
/// Order is the caller's duty: blobs first, then the manifest, so that a tag never names an image of
/// which something is missing. [`copy_image`](crate::copy_image) and [`push_image`](crate::push_image) do that.
pub trait ImageTarget: Send + Sync {
    /// Returns whether the repository holds this blob.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses.
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError>;

    /// Returns whether the repository holds this blob, as far as that is known without asking a server: because an
    /// image there was read that has it, or because it was written there. `false` may mean either.
    ///
    /// Who relies on it and is refused a manifest for a missing blob must ask again; by then it is forgotten.
    fn is_known(&self, repository: &Repository, digest: &Digest) -> bool {
        let _ = (repository, digest);
        false
    }

    /// Makes a blob of another repository of the same registry part of `to`, without its bytes passing by.
    /// `false` when that is not possible here; then the blob has to be sent.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses.
    fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        let _ = (from, to, digest);
        Ok(false)
    }

    /// Starts writing a blob whose digest is not known yet.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses.
    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError>;

    /// Writes a blob that is known and can be read again, unless it is there already.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses, or the bytes are not those of `digest`.
    fn push_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut OpenBlob<'_>,
    ) -> Result<(), ImageError> {
        let _ = size;
        if self.has_blob(repository, digest)? {
            return Ok(());
        }
        let mut blob = self.start_blob(repository)?;
        let written = open().and_then(|mut bytes| std::io::copy(&mut bytes, &mut blob));
        written.map_err(|source| ImageError::Blob {
            digest: digest.clone(),
            source,
        })?;
        blob.finish(digest)
    }

    /// Puts a manifest under a tag or digest and returns its digest.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses.
    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError>;

    /// Returns the digest of the manifest at `reference`, `None` when there is none.
    ///
    /// # Errors
    /// When the place cannot be reached or refuses.
    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError>;
}

/// A blob being written. Dropped without [`finish`](Self::finish), nothing remains of it.
pub trait BlobWriter: Write + Send {
    /// Completes the blob.
    ///
    /// # Errors
    /// When the bytes are not those of `digest`, or the place cannot be reached or refuses.
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), ImageError>;
}

/// Writes config, manifest and tags of an image whose layers are in `repository` already.
///
/// The config goes first, then the manifest under each tag in turn; a tag that holds it already is left
/// alone. All `tags` must be in `repository`.
///
/// # Errors
/// The first error stops; tags written before it stay written.
pub fn push_image(
    target: &dyn ImageTarget,
    image: &Image,
    repository: &Repository,
    tags: &[Reference],
) -> Result<Digest, ImageError> {
    push_config(target, image, repository)?;
    for tag in tags {
        if target.manifest_digest(tag)?.as_ref() != Some(image.digest()) {
            target.put_manifest(tag, image.media_type(), image.manifest_json())?;
        }
    }
    debug_assert_eq!(image.digest(), &digest_of(image.manifest_json()));
    Ok(image.digest().clone())
}

/// Makes the repository hold an image's config.
pub(crate) fn push_config(target: &dyn ImageTarget, image: &Image, repository: &Repository) -> Result<(), ImageError> {
    if target.is_known(repository, image.config_digest()) {
        return Ok(());
    }
    let config = image.config_json();
    target.push_blob(repository, image.config_digest(), config.len() as u64, &mut || {
        Ok(Box::new(std::io::Cursor::new(config.to_vec())))
    })
}

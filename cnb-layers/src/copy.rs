use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::thread;

use registry_auth::{Digest, Reference, Repository};

use crate::{Descriptor, Image, ImageError, ImageSource, ImageTarget, Layer, Platform, media_type, push_image};

/// Blobs that are copied at the same time.
const PARALLEL: usize = 4;

/// Something that happened to a blob while an image was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyEvent {
    /// The target had it.
    Present(Digest),
    /// The target took it over from another of its repositories.
    Mounted(Digest),
    /// Its bytes were sent.
    Sent {
        /// Which blob.
        digest: Digest,
        /// How many bytes, compressed.
        size: u64,
    },
}

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// There is no such image.
    #[error("{reference} does not exist")]
    NotFound {
        /// The image.
        reference: String,
    },
    /// No place to copy to was given, or places in several repositories.
    #[error("an image is copied to one or more tags of one repository, but got {tags:?}")]
    Tags {
        /// The tags given.
        tags: Vec<String>,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] ImageError),
}

/// Copies the `linux/amd64` image at `reference` to `tags`, byte for byte, so with the same digest.
///
/// Blobs that the target has are not sent; within one registry they are mounted. Tags are written last.
///
/// # Errors
/// When there is no such image, or reading or writing fails. Blobs copied so far stay, so that a second
/// try goes on from there; no tag names an incomplete image.
pub fn copy_image(
    from: &dyn ImageSource,
    reference: &Reference,
    to: &dyn ImageTarget,
    tags: &[Reference],
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<Digest, CopyError> {
    let image = from
        .image(reference, &Platform::linux_amd64())?
        .ok_or_else(|| CopyError::NotFound {
            reference: reference.to_string(),
        })?;
    copy_resolved_image(from, reference, &image, to, tags, progress)
}

/// Copies an image that was read already. As [`copy_image`], for any platform.
///
/// # Errors
/// As [`copy_image`].
pub fn copy_resolved_image(
    from: &dyn ImageSource,
    reference: &Reference,
    image: &Image,
    to: &dyn ImageTarget,
    tags: &[Reference],
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<Digest, CopyError> {
    let repository = tags.first().map(Reference::repository);
    let Some(repository) = repository.filter(|first| tags.iter().all(|tag| tag.repository() == *first)) else {
        return Err(CopyError::Tags {
            tags: tags.iter().map(ToString::to_string).collect(),
        });
    };
    copy_blobs(from, reference, &image.manifest().layers, to, repository, progress)?;
    // The config is in memory; where it cannot be mounted, it is sent with the manifest.
    let config = &image.manifest().config.digest;
    if !to.is_known(repository, config) && mount(from, reference, config, to, repository)? {
        progress(CopyEvent::Mounted(config.clone()));
    }
    Ok(push_image(to, image, repository, tags)?)
}

/// Makes the target's repository hold the blobs of `layers`, several at a time.
///
/// # Errors
/// The first failure; blobs copied before it stay.
pub fn copy_layers(
    from: &dyn ImageSource,
    reference: &Reference,
    layers: &[Layer],
    to: &dyn ImageTarget,
    repository: &Repository,
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<(), ImageError> {
    let blobs = layers.iter().map(|layer| Wanted {
        from,
        reference,
        blob: &layer.descriptor,
    });
    copy_wanted(blobs, to, repository, progress)
}

fn copy_blobs(
    from: &dyn ImageSource,
    reference: &Reference,
    layers: &[Descriptor],
    to: &dyn ImageTarget,
    repository: &Repository,
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<(), ImageError> {
    let blobs = layers.iter().map(|blob| Wanted { from, reference, blob });
    copy_wanted(blobs, to, repository, progress)
}

/// A blob that is wanted, and where it is.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) from: &'a dyn ImageSource,
    pub(crate) reference: &'a Reference,
    pub(crate) blob: &'a Descriptor,
}

/// Makes the target's repository hold blobs of any number of images, several at a time. Of a blob that is wanted twice
/// the first place counts.
///
/// # Errors
/// The first failure; blobs copied before it stay.
pub(crate) fn copy_wanted<'a>(
    wanted: impl Iterator<Item = Wanted<'a>>,
    to: &dyn ImageTarget,
    repository: &Repository,
    progress: &(dyn Fn(CopyEvent) + Sync),
) -> Result<(), ImageError> {
    let mut seen = BTreeSet::new();
    let waiting: Vec<Wanted<'_>> = wanted
        .filter(|wanted| !media_type::is_foreign_layer(&wanted.blob.media_type) && seen.insert(&wanted.blob.digest))
        .collect();
    let threads = waiting.len().min(PARALLEL);
    let (queue, failure) = (Mutex::new(waiting.into_iter()), Mutex::new(None));
    let work = || {
        loop {
            if failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return;
            }
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(Wanted { from, reference, blob }) = next else {
                return;
            };
            match copy_blob(from, reference, blob, to, repository) {
                Ok(event) => progress(event),
                Err(error) => {
                    failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    failure
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

fn copy_blob(
    from: &dyn ImageSource,
    reference: &Reference,
    layer: &Descriptor,
    to: &dyn ImageTarget,
    repository: &Repository,
) -> Result<CopyEvent, ImageError> {
    let digest = &layer.digest;
    if to.is_known(repository, digest) {
        return Ok(CopyEvent::Present(digest.clone()));
    }
    // Where the blob is there already, a mount tells that as well: one request instead of two.
    if mount(from, reference, digest, to, repository)? {
        return Ok(CopyEvent::Mounted(digest.clone()));
    }
    if to.has_blob(repository, digest)? {
        return Ok(CopyEvent::Present(digest.clone()));
    }
    to.push_blob(repository, digest, layer.size, &mut || {
        from.layer(reference, layer).map_err(std::io::Error::other)
    })?;
    Ok(CopyEvent::Sent {
        digest: digest.clone(),
        size: layer.size,
    })
}

/// Takes a blob over from another repository of the same registry; `false` where that is not possible.
fn mount(
    from: &dyn ImageSource,
    reference: &Reference,
    digest: &Digest,
    to: &dyn ImageTarget,
    repository: &Repository,
) -> Result<bool, ImageError> {
    match from.mountable(reference) {
        Some(other) if other.registry() == repository.registry() && other != *repository => {
            to.mount_blob(&other, repository, digest)
        }
        _ => Ok(false),
    }
}

//! A cache in a registry.

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use registry_auth::Reference;
use registry_client::Operation;

use super::{Cache, CacheError, CachedLayer};
use crate::layer::decompressed;
use crate::metadata::{CacheMetadata, labels};
use crate::phase::{Log, LogExt as _, with_causes};
use crate::save::{Placed, place_all};
use crate::{
    Compression, Descriptor, DiffId, Digest, History, Image, ImageDraft, ImageError, ImageFormat, ImageSource,
    ImageTarget, Layer, LayerBuilder, LayerContent as _, Platform, Timestamp, media_type, push_image, upload_layer,
};

/// A cache as an image in a registry: its layers are the cached layers, a label describes them.
pub struct CacheImage<'a> {
    source: &'a dyn ImageSource,
    target: &'a dyn ImageTarget,
    compression: Compression,
    reference: Reference,
    original: Option<Image>,
    state: CacheImageState,
    layers: Mutex<Vec<Placed>>,
    done: AtomicBool,
    old: Option<(Box<DeleteImage<'a>>, &'a dyn Log)>,
}

/// Deletes an image, named by its digest.
pub type DeleteImage<'a> = dyn Fn(&Reference) -> Result<(), ImageError> + Send + Sync + 'a;

/// What became of a cache image when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheImageState {
    /// It is there and whole.
    Found,
    /// There is none.
    Missing,
    /// It lacks a layer, so it is not used.
    Corrupt,
}

impl<'a> CacheImage<'a> {
    /// Opens the cache image, which need not exist. One that the registry does not show to whoever asks is as good as
    /// none: writing it will fail in its turn.
    ///
    /// # Errors
    /// When the registry cannot be reached, or refuses without a registry's own words.
    pub fn open(
        reference: &Reference,
        source: &'a dyn ImageSource,
        target: &'a dyn ImageTarget,
        compression: Compression,
    ) -> Result<Self, ImageError> {
        let (original, state) = match source.image(reference, &Platform::linux_amd64()) {
            Err(ImageError::Invalid { .. } | ImageError::NoBlob { .. } | ImageError::WrongDigest { .. }) => {
                (None, CacheImageState::Corrupt)
            }
            Err(error) if shows_nothing(&error) => (None, CacheImageState::Missing),
            Err(error) => return Err(error),
            Ok(None) => (None, CacheImageState::Missing),
            Ok(Some(image)) if is_whole(&image, reference, target)? => (Some(image), CacheImageState::Found),
            Ok(Some(_)) => (None, CacheImageState::Corrupt),
        };
        Ok(Self {
            source,
            target,
            compression,
            reference: reference.clone(),
            original,
            state,
            layers: Mutex::default(),
            done: AtomicBool::new(false),
            old: None,
        })
    }

    /// Deletes the old image once another one has its name, as platforms before API 0.13 expect. That it cannot be
    /// deleted is a warning.
    #[must_use]
    pub fn deleting_old(mut self, delete: Box<DeleteImage<'a>>, log: &'a dyn Log) -> Self {
        self.old = Some((delete, log));
        self
    }

    fn delete_old(&self, new: &Digest) {
        let (Some(original), Some((delete, log))) = (&self.original, &self.old) else {
            return;
        };
        if original.digest() == new {
            return;
        }
        if let Err(error) = delete(&self.reference.with_digest(original.digest())) {
            log.warn(format_args!("Unable to delete cache image: {}", with_causes(&error)));
        }
    }

    fn known(&self, diff_id: &DiffId) -> Result<Layer, CacheError> {
        let found = self.original.as_ref().and_then(|image| image.layer(diff_id));
        found.ok_or_else(|| CacheError::NoLayer(diff_id.to_string()))
    }

    fn push(&self, layer: Layer, from: Reference) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if layers.iter().all(|known| known.layer.diff_id != layer.diff_id) {
            layers.push(Placed { layer, from });
        }
    }

    fn has(&self, diff_id: &DiffId) -> bool {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.iter().any(|known| known.layer.diff_id == *diff_id)
    }

    fn writable(&self) -> Result<(), CacheError> {
        if self.done.load(Ordering::SeqCst) {
            Err(CacheError::Committed)
        } else {
            Ok(())
        }
    }
}

/// Returns whether the repository has all blobs of an image.
pub(crate) fn is_whole(image: &Image, reference: &Reference, target: &dyn ImageTarget) -> Result<bool, ImageError> {
    for layer in image.layers() {
        if !target.has_blob(reference.repository(), &layer.descriptor.digest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether a registry says, with error codes of its own, that there is no manifest for whoever asks.
fn shows_nothing(error: &ImageError) -> bool {
    let ImageError::Registry(error) = error else {
        return false;
    };
    let is_manifest = matches!(error.operation(), Operation::ReadManifest(_) | Operation::Connect);
    is_manifest && matches!(error.status(), Some(401 | 404)) && !error.errors().is_empty()
}

fn tar_of(diff_id: &DiffId, blob: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, CacheError> {
    decompressed(blob).map_err(|source| CacheError::Layer {
        diff_id: diff_id.clone(),
        source,
    })
}

impl Cache for CacheImage<'_> {
    fn notice(&self) -> Option<String> {
        match self.state {
            CacheImageState::Found => None,
            CacheImageState::Missing => Some("Layer cache not found".to_owned()),
            CacheImageState::Corrupt => {
                let name = self.reference.as_given();
                Some(format!("Ignoring cache image {name:?} because it was corrupt"))
            }
        }
    }

    fn metadata(&self) -> Result<CacheMetadata, CacheError> {
        let label = self
            .original
            .as_ref()
            .and_then(|image| image.label(labels::CACHE_METADATA));
        Ok(label
            .and_then(|text| CacheMetadata::from_json(text).ok())
            .unwrap_or_default())
    }

    fn layer(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, CacheError> {
        let layer = self.known(diff_id)?;
        tar_of(diff_id, self.source.layer(&self.reference, &layer.descriptor)?)
    }

    fn layer_to_check(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, CacheError> {
        let layer = self.known(diff_id)?;
        tar_of(diff_id, self.source.layer_to_check(&self.reference, &layer.descriptor)?)
    }

    fn keep(&self, diff_id: &DiffId) -> Result<(), CacheError> {
        self.writable()?;
        self.push(self.known(diff_id)?, self.reference.clone());
        Ok(())
    }

    fn add(&self, layer: &CachedLayer<'_>) -> Result<(), CacheError> {
        self.writable()?;
        if self.has(layer.diff_id) {
            return Ok(());
        }
        let repository = self.reference.repository();
        if let Some((from, placed)) = layer.placed {
            let mut placed = placed.clone();
            placed.descriptor = Descriptor::new(
                media_type::OCI_LAYER_GZIP,
                placed.descriptor.digest.clone(),
                placed.descriptor.size,
            );
            self.push(placed, from.clone());
            return Ok(());
        }
        let (made, _) = upload_layer(
            self.target,
            repository,
            layer.content,
            media_type::OCI_LAYER_GZIP,
            self.compression,
        )?;
        if made.diff_id != *layer.diff_id {
            return Err(CacheError::WrongBytes {
                expected: layer.diff_id.clone(),
                found: made.diff_id,
            });
        }
        self.push(made, self.reference.clone());
        Ok(())
    }

    fn commit(&self, metadata: &CacheMetadata) -> Result<(), CacheError> {
        self.writable()?;
        let label = metadata.to_json()?;
        self.done.store(true, Ordering::SeqCst);
        let repository = self.reference.repository();
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if layers.is_empty() {
            layers.push(Placed {
                layer: self.empty_layer()?,
                from: self.reference.clone(),
            });
        }
        place_all(&layers, repository, self.source, self.target)?;
        let mut draft = ImageDraft::empty(ImageFormat::Oci);
        for placed in layers {
            let history = History {
                created: Timestamp::reproducible(),
                ..History::default()
            };
            draft.push_layer(placed.layer, history);
        }
        let config = draft.config_mut();
        config.created = Timestamp::reproducible();
        "linux".clone_into(&mut config.os);
        draft.set_label(labels::CACHE_METADATA, label);
        let tags = std::slice::from_ref(&self.reference);
        let new = push_image(self.target, &draft.finish(), repository, tags)?;
        self.delete_old(&new);
        Ok(())
    }
}

impl CacheImage<'_> {
    /// Stores the layer of a cache without layers: an archive without entries, not compressed.
    fn empty_layer(&self) -> Result<Layer, CacheError> {
        let mut tar = Vec::new();
        LayerBuilder::new().write_tar(&mut tar)?;
        let diff_id = DiffId::of(&tar);
        let digest = diff_id.digest_of_uncompressed_blob().clone();
        let size = tar.len() as u64;
        self.target
            .push_blob(self.reference.repository(), &digest, size, &mut || {
                Ok(Box::new(std::io::Cursor::new(tar.clone())))
            })?;
        Ok(Layer {
            diff_id,
            descriptor: Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size),
        })
    }
}

//! A target that keeps no layers.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::io::{self, Read, Write};

use cnb_layers::{
    BlobWriter, Descriptor, Digest, Image, ImageError, ImageSource, ImageTarget, MemoryStore, OpenBlob, Platform,
    Reference, Repository,
};

/// Takes layers and forgets them; keeps documents.
pub struct Discard(pub MemoryStore);

impl ImageSource for Discard {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        self.0.image(reference, platform)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        self.0.layer(reference, layer)
    }
}

impl ImageTarget for Discard {
    fn has_blob(&self, _: &Repository, _: &Digest) -> Result<bool, ImageError> {
        Ok(true)
    }

    fn start_blob(&self, _: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        Ok(Box::new(Forgotten))
    }

    fn push_blob(
        &self,
        to: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut OpenBlob<'_>,
    ) -> Result<(), ImageError> {
        self.0.push_blob(to, digest, size, open)
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        let _ = (reference, media_type);
        Ok(cnb_layers::digest_of(json))
    }

    fn manifest_digest(&self, _: &Reference) -> Result<Option<Digest>, ImageError> {
        Ok(None)
    }
}

struct Forgotten;

impl Write for Forgotten {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for Forgotten {
    fn finish(self: Box<Self>, _: &Digest) -> Result<(), ImageError> {
        Ok(())
    }
}

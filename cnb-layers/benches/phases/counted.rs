//! Counting requests, and targets that keep nothing.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cnb_layers::{
    BlobWriter, Descriptor, Digest, Image, ImageError, ImageSource, ImageTarget, MemoryStore, OpenBlob, Platform,
    Reference, RegistryStore, Repository,
};
use http::{Request, Response};
use registry_auth::AnonymousKeychain;
use registry_client::{AnswerBody, Body, Client, Http, HttpError, HttpPolicy, Transport};

/// Passes requests on and counts them.
struct Counting {
    inner: Http,
    count: Arc<AtomicU64>,
}

impl Transport for Counting {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        if std::env::var_os("SHOW_REQUESTS").is_some() {
            eprintln!("{} {}", request.method(), request.uri());
        }
        self.inner.send(request)
    }
}

/// Makes a store of registries, spoken to over plain http, whose requests are counted.
pub(crate) fn registries(hosts: &[&str]) -> (RegistryStore, Arc<AtomicU64>) {
    let policy = HttpPolicy {
        plain_http_hosts: hosts.iter().map(ToString::to_string).collect(),
        ..HttpPolicy::default()
    };
    let count = Arc::new(AtomicU64::new(0));
    let inner = Http::new(&policy).expect("the policy is sound");
    let counting = Counting {
        inner,
        count: count.clone(),
    };
    let http = Http::with_transport(&policy, Arc::new(counting));
    let client = Client::with_http(http, Arc::new(AnonymousKeychain));
    (RegistryStore::new(client), count)
}

/// Takes layers and forgets them; keeps documents.
pub(crate) struct Discard(pub(crate) MemoryStore);

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

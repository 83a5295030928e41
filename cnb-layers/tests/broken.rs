//! Exports that are broken off: by a registry, by the one who asked for them.

#[path = "support/build.rs"]
mod build;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use build::{Build, reference, run_image};
use cnb_layers::export::ExportError;
use cnb_layers::phase::NoLog;
use cnb_layers::{
    BlobWriter, Compression, Digest, ImageError, ImageSource as _, ImageTarget, MemoryStore, Platform, Reference,
    RegistryStore, Repository, StoreEvent, validate,
};
use registry_auth::AnonymousKeychain;
use registry_client::{Client, HttpPolicy, RetryPolicy};
use test_support::Registry;

/// A wire to a registry that can be cut.
struct Wire {
    host: String,
    /// How many bytes pass until it is cut, each time; when none is left, it is whole.
    cuts: Arc<Mutex<Vec<usize>>>,
}

impl Wire {
    fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let host = listener.local_addr().expect("it has an address").to_string();
        let cuts: Arc<Mutex<Vec<usize>>> = Arc::default();
        let shared = cuts.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (target, cuts) = (target.clone(), shared.clone());
                thread::spawn(move || pass(&client, &TcpStream::connect(target)?, &cuts));
            }
        });
        Self { host, cuts }
    }

    /// Cuts it after so many bytes, each time one more is sent.
    fn cut(&self, after: usize, times: usize) {
        *self.cuts.lock().unwrap_or_else(PoisonError::into_inner) = vec![after; times];
    }

    fn cuts_left(&self) -> usize {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Passes bytes on in both directions, until one side ends or the wire is cut. Short requests always get through.
fn pass(client: &TcpStream, server: &TcpStream, cuts: &Mutex<Vec<usize>>) -> io::Result<()> {
    const SHORT: usize = 64 << 10;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*server, &mut &*client);
            let _ = client.shutdown(Shutdown::Both);
        });
        let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
        while let Ok(count @ 1..) = (&*client).read(&mut buffer) {
            passed += count;
            let mut cuts = cuts.lock().unwrap_or_else(PoisonError::into_inner);
            if cuts.last().is_some_and(|after| passed > SHORT + after) {
                cuts.pop();
                break;
            }
            drop(cuts);
            if (&*server).write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Bytes that do not shrink.
fn noise(mut seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend(seed.to_le_bytes());
    }
    bytes
}

fn store() -> RegistryStore {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    RegistryStore::new(Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is sound"))
}

fn tag(name: &str) -> Digest {
    let (store, name) = (store(), reference(name));
    let image = store.image(&name, &Platform::linux_amd64()).expect("it is readable");
    let image = image.expect("it is there");
    let faults = validate(&store, &name, &image);
    assert!(faults.is_empty(), "{faults:?}");
    image.digest().clone()
}

fn export(build: &Build) -> Result<(), ExportError> {
    let store = store();
    let analyzed = build.analyze(&store, &store, store.client(), &NoLog);
    build.open(&analyzed, &store, &store, &NoLog)?.run(&NoLog).map(|_| ())
}

#[test]
fn an_upload_that_breaks_off_is_made_again_and_one_that_always_does_is_an_error_and_the_tag_stays() {
    let dir = tempfile::tempdir().expect("there is room");
    let registry = Registry::start().expect("docker-registry starts");
    let wire = Wire::to(registry.host());
    let app = format!("{}/acme/app:latest", wire.host);
    let base = format!("{}/run/base:1", wire.host);
    let build = Build::new(dir.path(), "acme/bp", &app, &base);
    build.write_app();
    for layer in ["a", "b"] {
        build.write_layer_toml(layer, "launch = true");
    }
    let fill = |seed| {
        for (number, layer) in (0..).zip(["a", "b"]) {
            build.write(&format!("layers/acme_bp/{layer}/data"), noise(seed + number, 3 << 20));
        }
    };
    fill(1);
    let pushed = run_image("one").push(&store(), &[reference(&base)], Compression::default());
    pushed.expect("the base image is pushed");
    export(&build).expect("nothing is in the way");
    let old = tag(&app);
    for point in [0, 2 << 20] {
        fill(100 + u64::try_from(point).expect("it is small"));
        wire.cut(point, usize::from(u8::MAX));
        let error = export(&build).expect_err("no upload gets through");
        assert!(matches!(error, ExportError::Save(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&app) && text.contains(&format!("{}/acme/app", wire.host)),
            "{text}"
        );
        wire.cut(0, 0);
        assert_eq!(tag(&app), old);
    }
    wire.cut(1 << 20, 2);
    export(&build).expect("what broke off is made again");
    assert_eq!(wire.cuts_left(), 0);
    assert_ne!(tag(&app), old);
}

/// Sets a flag when so many bytes of layers have come by.
struct Pulling {
    store: MemoryStore,
    seen: Arc<AtomicUsize>,
    at: usize,
    flag: Arc<AtomicBool>,
}

struct PullingBlob {
    inner: Box<dyn BlobWriter>,
    seen: Arc<AtomicUsize>,
    at: usize,
    flag: Arc<AtomicBool>,
}

impl Write for PullingBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        if self.seen.fetch_add(count, Ordering::Relaxed) + count >= self.at {
            self.flag.store(true, Ordering::Relaxed);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl BlobWriter for PullingBlob {
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), ImageError> {
        self.inner.finish(digest)
    }
}

impl ImageTarget for Pulling {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        self.store.has_blob(repository, digest)
    }

    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        Ok(Box::new(PullingBlob {
            inner: self.store.start_blob(repository)?,
            seen: self.seen.clone(),
            at: self.at,
            flag: self.flag.clone(),
        }))
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        self.store.put_manifest(reference, media_type, json)
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        self.store.manifest_digest(reference)
    }
}

#[test]
fn a_cancelled_export_ends_in_the_middle_of_a_layer_and_leaves_no_tag() {
    const LAYER: usize = 16 << 20;
    let dir = tempfile::tempdir().expect("there is room");
    let (app, run) = ("registry.example/acme/app:latest", "registry.example/acme/run:1");
    let build = Build::new(dir.path(), "acme/bp", app, run);
    build.write_app();
    for (seed, layer) in (1..).zip(["a", "b", "c"]) {
        build.write_layer_toml(layer, "launch = true");
        build.write(&format!("layers/acme_bp/{layer}/data"), noise(seed, LAYER));
    }
    let store = MemoryStore::new();
    let pushed = run_image("one").push(&store, &[reference(run)], Compression::default());
    pushed.expect("memory takes all");
    let flag = Arc::new(AtomicBool::new(false));
    let pulling = Pulling {
        store: store.clone(),
        seen: Arc::default(),
        at: 2 << 20,
        flag: flag.clone(),
    };
    let analyzed = build.analyze(&store, &store, &store, &NoLog);
    store.take_events();
    let export = build
        .open(&analyzed, &store, &pulling, &NoLog)
        .expect("the images are there");
    let error = export.with_cancel(&flag).run(&NoLog).expect_err("it is cancelled");
    assert!(matches!(error, ExportError::Cancelled), "{error}");
    let seen = pulling.seen.load(Ordering::Relaxed);
    assert!((2 << 20..LAYER).contains(&seen), "{seen} bytes had come by");
    let written = store.take_events();
    let is_blob = |event: &&StoreEvent| matches!(event, StoreEvent::BlobWritten { .. });
    assert_eq!(written.iter().filter(is_blob).count(), 0, "{written:?}");
    let image = store.image(&reference(app), &build.platform).expect("it is readable");
    assert!(image.is_none());
    // The same again, and nobody cancels.
    let never = AtomicBool::new(false);
    let export = build
        .open(&analyzed, &store, &store, &NoLog)
        .expect("the images are there");
    export.with_cancel(&never).run(&NoLog).expect("it can be exported");
}

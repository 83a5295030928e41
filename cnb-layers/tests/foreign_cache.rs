//! A registry that gives other bytes than a cache image names.

#[path = "support/build.rs"]
mod build;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use build::{Build, reference, run_image};
use cnb_layers::cache::CacheImage;
use cnb_layers::export::export_cache;
use cnb_layers::metadata::Analyzed;
use cnb_layers::phase::{LogLevel, MemoryLog, NoLog};
use cnb_layers::{
    Compression, Descriptor, ImageSource as _, LayerBuilder, LayerContent as _, Platform, Reference, RegistryStore,
};
use flate2::GzBuilder;
use registry_auth::AnonymousKeychain;
use registry_client::{Client, HttpPolicy};
use test_support::Registry;

/// A build whose only cached layer is in a cache image.
struct World {
    dir: tempfile::TempDir,
    build: Build,
    registry: Registry,
    store: RegistryStore,
    cache: Reference,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let registry = Registry::start().expect("docker-registry starts");
        let host = registry.host();
        let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("the policy is sound");
        let build = Build::new(
            dir.path(),
            "acme/bp",
            &format!("{host}/acme/app:latest"),
            &format!("{host}/run/base:1"),
        );
        let world = Self {
            dir,
            build,
            registry,
            store: RegistryStore::new(client),
            cache: reference(&format!("{host}/acme/cache:latest")),
        };
        let base = reference(&world.build.run_image);
        let pushed = run_image("one").push(&world.store, &[base], Compression::default());
        pushed.expect("the base image is pushed");
        world.build.write_app();
        world.build.write_layer_toml("downloads", "cache = true");
        // It does not shrink, so that there is room for other bytes in a blob of the same size.
        let noise = (0..40_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]);
        world
            .build
            .write("layers/acme_bp/downloads/archive", noise.collect::<Vec<u8>>());
        let analyzed = world.analyze();
        let export = world.build.open(&analyzed, &world.store, &world.store, &NoLog);
        let export = export.expect("the images are there");
        export.run(&NoLog).expect("it can be exported");
        export_cache(&export, &world.open(), &NoLog).expect("the cache can be written");
        fs::remove_dir_all(world.build.disk("layers")).expect("it is there");
        world
    }

    fn analyze(&self) -> Analyzed {
        self.build
            .analyze(&self.store, &self.store, self.store.client(), &NoLog)
    }

    fn open(&self) -> CacheImage<'_> {
        CacheImage::open(&self.cache, &self.store, &self.store, Compression::default()).expect("it can be reached")
    }

    /// The blob of the cached layer, as the image names it.
    fn layer(&self) -> Descriptor {
        let image = self.store.image(&self.cache, &Platform::linux_amd64());
        let image = image.expect("it can be reached").expect("it is there");
        image.layers()[0].descriptor.clone()
    }

    /// Where the registry keeps that blob.
    fn file(&self) -> PathBuf {
        let hex = self.layer().digest.hex().to_owned();
        let blobs = self.registry.data().join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Restores and returns the warnings.
    fn restore(&self) -> Vec<String> {
        let log = MemoryLog::default();
        self.build.restore(self.dir.path(), &self.analyze(), &self.open(), &log);
        let warnings = log.lines().into_iter().filter(|(level, _)| *level == LogLevel::Warn);
        warnings.map(|(_, line)| line).collect()
    }
}

/// Another layer in a blob of `size` bytes.
fn other_layer(size: u64) -> Vec<u8> {
    let mut tar = Vec::new();
    LayerBuilder::new()
        .file("layers/acme_bp/downloads/archive", 0o755, 1000, 1000, "evil\n")
        .write_tar(&mut tar)
        .expect("memory takes all");
    let blob = |padding: usize| {
        let mut gzip = GzBuilder::new()
            .extra(vec![0; padding])
            .write(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).expect("memory takes all");
        gzip.finish().expect("memory takes all")
    };
    let missing = size - blob(0).len() as u64;
    blob(usize::try_from(missing).expect("it is small"))
}

#[test]
fn a_layer_of_a_cache_image_comes_back() {
    let world = World::new();
    assert_eq!(world.restore(), [""; 0]);
    assert!(world.build.disk("layers/acme_bp/downloads/archive").is_file());
}

#[test]
fn a_blob_that_holds_another_layer_is_a_miss_and_nothing_of_it_stays() {
    let world = World::new();
    let layer = world.layer();
    fs::write(world.file(), other_layer(layer.size)).expect("there is room");
    let warnings = world.restore();
    assert!(
        warnings.len() == 1
            && warnings[0].starts_with(
                "Skipping restore for layer acme/bp:downloads: expected layer contents to have SHA 'sha256:"
            ),
        "{warnings:?}"
    );
    assert!(!world.build.disk("layers/acme_bp/downloads").exists());
}

#[test]
fn a_blob_of_another_size_is_a_miss() {
    let world = World::new();
    fs::write(world.file(), other_layer(world.layer().size + 1)).expect("there is room");
    let warnings = world.restore();
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("Skipping restore for layer acme/bp:downloads: "),
        "{warnings:?}"
    );
    assert!(!world.build.disk("layers/acme_bp/downloads").exists());
}

#[test]
fn only_who_checks_the_diff_id_gets_other_bytes_without_an_error() {
    let world = World::new();
    let layer = world.layer();
    let other = other_layer(layer.size);
    fs::write(world.file(), &other).expect("there is room");
    let mut blob = world.store.layer(&world.cache, &layer).expect("it is there");
    blob.read_to_end(&mut Vec::new()).expect_err("the digest is another");
    let mut bytes = Vec::new();
    let mut blob = world.store.layer_to_check(&world.cache, &layer).expect("it is there");
    blob.read_to_end(&mut bytes).expect("nobody checks it here");
    assert_eq!(bytes, other);
}

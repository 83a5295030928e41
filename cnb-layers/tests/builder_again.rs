//! A builder of 40 buildpacks is made again with one of them changed: what is sent, and how often a server is asked.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cnb_layers::builder::{
    BuilderInputs, BuildpackLayerSource, LifecycleInfo, Located, StackInfo, assemble_builder, read_buildpackages,
    write_buildpackage,
};
use cnb_layers::{
    BaseImage, BlobWriter, Compression, CopyEvent, Digest, ImageError, ImageSource, ImageTarget, LayerBuilder,
    MemoryStore, Platform, Reference, Repository,
};
use cnb_order::{ApiLists, LifecycleApis};

const BUILDPACKS: usize = 40;

fn reference(text: &str) -> Reference {
    Reference::parse(text).expect("a reference")
}

/// A place that counts how often it is asked, and knows what it has, as a registry's store does that read the earlier
/// builder.
struct Counting<'a>(&'a MemoryStore, AtomicUsize);

impl Counting<'_> {
    fn count(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl ImageTarget for Counting<'_> {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        self.count();
        self.0.has_blob(repository, digest)
    }
    fn is_known(&self, repository: &Repository, digest: &Digest) -> bool {
        self.0.has_blob(repository, digest).unwrap_or(false)
    }
    fn mount_blob(&self, from: &Repository, to: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        self.count();
        self.0.mount_blob(from, to, digest)
    }
    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        self.count();
        self.0.start_blob(repository)
    }
    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        self.count();
        self.0.put_manifest(reference, media_type, json)
    }
    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        self.count();
        self.0.manifest_digest(reference)
    }
}

/// 64 kB that do not compress, another for each buildpack and version.
fn buildpack(dir: &Path, number: usize, version: &str, store: &MemoryStore) -> Reference {
    fs::create_dir_all(dir.join("bin")).expect("a directory");
    let descriptor = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"acme/p{number}\"\nversion = \"{version}\"\n[[stacks]]\nid = \"*\"\n"
    );
    fs::write(dir.join("buildpack.toml"), descriptor).expect("a file");
    let mut state = number as u64 * 1000 + version.len() as u64 + u64::from(version.as_bytes()[0]);
    let noise: Vec<u8> = (0..64 * 1024)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect();
    fs::write(dir.join("bin/build"), noise).expect("a file");
    fs::write(dir.join("bin/detect"), "#!/bin/sh\n").expect("a file");
    let tag = reference(&format!("packages.example/acme/p{number}:{version}"));
    write_buildpackage(dir, &[], store, std::slice::from_ref(&tag), Compression::default()).expect("a package");
    tag
}

#[test]
fn one_changed_buildpack_of_forty_is_all_that_is_sent_beside_small_files() {
    let (there, here) = (MemoryStore::new(), MemoryStore::new());
    let dir = tempfile::tempdir().expect("a directory");
    let platform = Platform::linux_amd64();
    let base = |tag: &str, content: &str| {
        let image = BaseImage::new(platform.clone())
            .layer("files", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, content))
            .push(&there, &[reference(tag)], Compression::default())
            .expect("an image");
        Located {
            source: &there as &dyn ImageSource,
            reference: reference(tag),
            image,
        }
    };
    let lists = |version: &str| ApiLists {
        deprecated: None,
        supported: Some(vec![version.to_owned()]),
    };
    let make = |versions: &[&str]| {
        let buildpacks = versions.iter().enumerate().map(|(number, version)| {
            let folder = dir.path().join(format!("{number}-{version}"));
            let tag = buildpack(&folder, number, version, &there);
            let image = there.image(&tag, &platform).expect("asked").expect("there");
            BuildpackLayerSource {
                buildpack: read_buildpackages(&image, &tag.to_string())
                    .expect("a package")
                    .remove(0),
                source: &there as &dyn ImageSource,
                reference: tag,
            }
        });
        let inputs = BuilderInputs {
            build_image: base("packages.example/st/build:1", "build"),
            run_image: "here.example/run@sha256:0".to_owned(),
            lifecycle_image: base("packages.example/lifecycle:1", "lifecycle"),
            lifecycle_name: "lifecycle".to_owned(),
            lifecycle: LifecycleInfo {
                version: "0.20.12".to_owned(),
                apis: LifecycleApis {
                    buildpack: lists("0.10"),
                    platform: lists("0.8"),
                },
                ..LifecycleInfo::default()
            },
            stack: StackInfo {
                id: "acme".to_owned(),
                ..StackInfo::default()
            },
            buildpacks: buildpacks.collect(),
            order: Vec::new(),
            labels: BTreeMap::new(),
            created_by_version: "test".to_owned(),
        };
        let target = Counting(&here, AtomicUsize::new(0));
        let sent = Mutex::new(Vec::new());
        let note = |event: CopyEvent| {
            if let CopyEvent::Sent { size, .. } = event {
                sent.lock().expect("no panic").push(size);
            }
        };
        let tags = [reference("here.example/team/builder:one")];
        assemble_builder(&inputs, &target, &tags, Compression::default(), &note).expect("a builder");
        (sent.into_inner().expect("no panic"), target.1.into_inner())
    };
    let (first, asked_first) = make(&["1.0.0"; BUILDPACKS]);
    let mut versions = ["1.0.0"; BUILDPACKS];
    versions[17] = "2.0.0";
    let (again, asked_again) = make(&versions);
    let (same, asked_same) = make(&versions);

    let sum = |sizes: &[u64]| sizes.iter().sum::<u64>();
    writeln!(
        std::io::stdout(),
        "builder of {BUILDPACKS} buildpacks: first {} layers, {} bytes, {asked_first} requests; one changed {} layer, {} \
         bytes, {asked_again} requests; nothing changed {} bytes, {asked_same} requests",
        first.len(),
        sum(&first),
        again.len(),
        sum(&again),
        sum(&same),
    )
    .expect("standard output");
    assert_eq!(first.len(), BUILDPACKS + 2);
    assert_eq!(again.len(), 1);
    assert!(sum(&again) < sum(&first) / 35, "{again:?}");
    assert!(same.is_empty());
    assert!(
        asked_again < 20 && asked_same <= asked_again,
        "{asked_again} {asked_same}"
    );
}

//! A builder of 40 buildpacks in a real registry, made again with one of them changed: what is sent, and how often
//! registries are asked. The buildpackages are in another registry, or in another repository of the same.
//!
//! `cargo bench -p cnb-layers --bench builder`

#[allow(dead_code, reason = "the other bench counts what it throws away, too")]
#[path = "phases/counted.rs"]
mod counted;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cnb_layers::builder::{
    BuilderInputs, BuildpackLayerSource, LifecycleInfo, Located, StackInfo, assemble_builder, read_buildpackages,
    write_buildpackage,
};
use cnb_layers::{BaseImage, Compression, CopyEvent, ImageSource, LayerBuilder, Platform, Reference, RegistryStore};
use cnb_order::{ApiLists, LifecycleApis};
use criterion::Criterion;
use test_support::Registry;

const BUILDPACKS: usize = 40;
/// Of the file in each buildpack, which does not shrink.
const SIZE: usize = 256 * 1024;

struct World {
    /// Of the builder.
    registry: Registry,
    /// Of the buildpackages and what else it is made of; may be the same.
    packages: String,
    _other: Option<Registry>,
    dir: tempfile::TempDir,
}

/// What one making of the builder took.
struct Made {
    layers: usize,
    bytes: u64,
    requests: u64,
    time: Duration,
}

impl World {
    fn new(other: Option<Registry>) -> Self {
        let registry = Registry::start().expect("docker-registry starts");
        let world = Self {
            packages: other.as_ref().map_or_else(|| registry.host(), Registry::host),
            registry,
            _other: other,
            dir: tempfile::tempdir().expect("there is room"),
        };
        let (store, _) = world.process();
        for (name, text) in [("build", "build image"), ("lifecycle", "lifecycle")] {
            BaseImage::new(Platform::linux_amd64())
                .layer("files", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, text))
                .push(&store, &[world.stored(name)], Compression::default())
                .expect("an image");
        }
        for (number, version) in (0..BUILDPACKS).map(|number| (number, "1.0.0")).chain([(17, "2.0.0")]) {
            let folder = world.dir.path().join(format!("{number}-{version}"));
            write_files(&folder, number, version);
            let tag = world.package(number, version);
            write_buildpackage(&folder, &[], &store, &[tag], Compression::default()).expect("a package");
        }
        world
    }

    /// What a new process knows of the registries: nothing.
    fn process(&self) -> (RegistryStore, Arc<AtomicU64>) {
        counted::registries(&[&self.registry.host(), &self.packages])
    }

    /// How much is in the builder's registry.
    fn size(&self) -> u64 {
        size_of(&self.registry.data().join("docker/registry/v2/blobs"))
    }

    fn stored(&self, tag: &str) -> Reference {
        reference(&format!("{}/team/kpack-repo:{tag}", self.packages))
    }

    fn package(&self, number: usize, version: &str) -> Reference {
        self.stored(&format!("p{number}-{version}"))
    }

    fn builder(&self) -> Reference {
        reference(&format!("{}/team/builder:one", self.registry.host()))
    }

    /// Makes the builder; `changed` has another version of one buildpack. Before, only when asked to, the builder that is
    /// there is read by who does not know it yet.
    fn make(&self, store: &RegistryStore, requests: &AtomicU64, changed: bool, read: bool) -> Made {
        let platform = Platform::linux_amd64();
        let image = |tag: &Reference| store.image(tag, &platform).expect("asked").expect("there");
        let located = |tag: Reference| Located {
            source: store as &dyn ImageSource,
            image: image(&tag),
            reference: tag,
        };
        let buildpacks = (0..BUILDPACKS).map(|number| {
            let tag = self.package(number, if changed && number == 17 { "2.0.0" } else { "1.0.0" });
            let mut found = read_buildpackages(&image(&tag), &tag.to_string()).expect("a package");
            BuildpackLayerSource {
                buildpack: found.remove(0),
                source: store,
                reference: tag,
            }
        });
        let inputs = BuilderInputs {
            build_image: located(self.stored("build")),
            run_image: "run.example/run@sha256:0".to_owned(),
            lifecycle_image: located(self.stored("lifecycle")),
            lifecycle_name: "lifecycle".to_owned(),
            lifecycle: lifecycle(),
            stack: StackInfo {
                id: "acme".to_owned(),
                ..StackInfo::default()
            },
            buildpacks: buildpacks.collect(),
            order: Vec::new(),
            labels: BTreeMap::new(),
            created_by_version: "bench".to_owned(),
        };
        let sent = AtomicUsize::new(0);
        let note = |event: CopyEvent| {
            if let CopyEvent::Sent { .. } = event {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        };
        let size = self.size();
        let (before, begin) = (requests.load(Ordering::Relaxed), Instant::now());
        if read {
            black_box(image(&self.builder()));
        }
        assemble_builder(&inputs, store, &[self.builder()], Compression::default(), &note).expect("a builder");
        Made {
            time: begin.elapsed(),
            requests: requests.load(Ordering::Relaxed) - before,
            layers: sent.into_inner(),
            bytes: self.size() - size,
        }
    }
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).expect("a reference")
}

fn lifecycle() -> LifecycleInfo {
    let lists = |version: &str| ApiLists {
        deprecated: None,
        supported: Some(vec![version.to_owned()]),
    };
    LifecycleInfo {
        version: "0.20.12".to_owned(),
        apis: LifecycleApis {
            buildpack: lists("0.10"),
            platform: lists("0.8"),
        },
        ..LifecycleInfo::default()
    }
}

fn write_files(dir: &Path, number: usize, version: &str) {
    let descriptor = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"acme/p{number}\"\nversion = \"{version}\"\n[[stacks]]\nid = \"*\"\n"
    );
    let mut state = number as u64 * 1000 + u64::from(version.as_bytes()[0]);
    let noise: Vec<u8> = (0..SIZE)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect();
    let write = |path: &str, content: &[u8]| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("there is room");
        fs::write(path, content).expect("there is room");
    };
    write("buildpack.toml", descriptor.as_bytes());
    write("bin/build", &noise);
    write("bin/detect", b"#!/bin/sh\n");
}

/// All bytes of the files in a directory and beneath; 0 when it isn't there.
fn size_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn table(place: &str, world: &World) {
    let (one, ones) = world.process();
    let (other, others) = world.process();
    let rows = [
        ("first", world.make(&one, &ones, false, false)),
        ("one changed, same process", world.make(&one, &ones, true, false)),
        ("nothing changed, same process", world.make(&one, &ones, true, false)),
        ("nothing changed, new process", world.make(&other, &others, true, true)),
    ];
    let mut out = std::io::stdout().lock();
    let kib = SIZE / 1024;
    writeln!(
        out,
        "builder of {BUILDPACKS} buildpacks of {kib} KiB, which are in {place}:"
    )
    .expect("standard output");
    for (what, made) in rows {
        let Made {
            layers,
            bytes,
            requests,
            time,
        } = made;
        writeln!(
            out,
            "  {what:30} {layers:2} layers pushed, {bytes:8} bytes of blobs new, {requests:3} requests, {time:.1?}"
        )
        .expect("standard output");
    }
}

fn main() {
    let near = World::new(None);
    let far = World::new(Some(Registry::start().expect("docker-registry starts")));
    table("another repository of its registry", &near);
    table("another registry", &far);
    let (world, (one, ones)) = (&near, near.process());
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut changed = false;
    criterion.bench_function("a builder of 40 buildpacks, one changed", |bencher| {
        bencher.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    changed = !changed;
                    world.make(&one, &ones, changed, false).time
                })
                .sum()
        });
    });
    criterion.final_summary();
}

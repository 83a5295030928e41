//! Several layers at once: what an export does, says and refuses is the same as with one after the other.

#[path = "support/build.rs"]
mod build;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use build::{Build, reference, run_image};
use cnb_layers::cache::VolumeCache;
use cnb_layers::export::export_cache;
use cnb_layers::metadata::Analyzed;
use cnb_layers::phase::{LogLevel, MemoryLog, NoLog};
use cnb_layers::{
    BlobWriter, Compression, Digest, ImageError, ImageSource as _, ImageTarget, Layer, MemoryStore, OpenBlob,
    Reference, Repository,
};

const APP: &str = "registry.example/acme/app:latest";
const RUN: &str = "registry.example/acme/run:1";

/// What happens to the blobs that an export makes: they are counted, kept waiting, and refused.
#[derive(Default)]
struct Gate {
    store: MemoryStore,
    /// Those of the run image are copied, not made.
    copied: Vec<Digest>,
    refused: Vec<Digest>,
    /// A blob that waits until another has been refused or stored.
    waits: BTreeMap<Digest, Digest>,
    /// So many have to be on their way before the first goes on.
    together: usize,
    state: Mutex<State>,
    changed: Condvar,
    streams: Arc<Streams>,
}

/// Blobs that are sent while they are made. None is stored before so many have begun.
#[derive(Default)]
struct Streams {
    together: usize,
    begun: Mutex<usize>,
    changed: Condvar,
}

struct Stream {
    blob: Box<dyn BlobWriter>,
    streams: Arc<Streams>,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

impl BlobWriter for Stream {
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), ImageError> {
        let Streams {
            together,
            begun,
            changed,
        } = &*self.streams;
        let limit = Duration::from_secs(60);
        let begun = begun.lock().expect("no test has failed");
        let (begun, waited) = changed
            .wait_timeout_while(begun, limit, |begun| *begun < *together)
            .expect("no test has failed");
        assert!(!waited.timed_out(), "{} of {together} layers have begun", *begun);
        drop(begun);
        self.blob.finish(digest)
    }
}

#[derive(Default)]
struct State {
    started: usize,
    under_way: usize,
    most: usize,
    done: Vec<Digest>,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no test has failed"));
        self.changed.notify_all();
    }

    /// Waits, but not for ever: a test that would hang fails.
    fn wait(&self, is_so: impl Fn(&State) -> bool) {
        let state = self.state.lock().expect("no test has failed");
        let limit = Duration::from_secs(60);
        let (_state, waited) = self
            .changed
            .wait_timeout_while(state, limit, |state| !is_so(state))
            .expect("no test has failed");
        assert!(!waited.timed_out(), "what is waited for does not happen");
    }
}

impl ImageTarget for Gate {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        self.store.has_blob(repository, digest)
    }

    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        *self.streams.begun.lock().expect("no test has failed") += 1;
        self.streams.changed.notify_all();
        Ok(Box::new(Stream {
            blob: self.store.start_blob(repository)?,
            streams: self.streams.clone(),
        }))
    }

    fn push_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut OpenBlob<'_>,
    ) -> Result<(), ImageError> {
        if self.copied.contains(digest) {
            return self.store.push_blob(repository, digest, size, open);
        }
        self.change(|state| {
            state.started += 1;
            state.under_way += 1;
            state.most = state.most.max(state.under_way);
        });
        self.wait(|state| state.started >= self.together);
        if let Some(other) = self.waits.get(digest) {
            self.wait(|state| state.done.contains(other));
        }
        let outcome = if self.refused.contains(digest) {
            Err(ImageError::Blob {
                digest: digest.clone(),
                source: io::Error::other("the gate is closed"),
            })
        } else {
            self.store.push_blob(repository, digest, size, open)
        };
        self.change(|state| {
            state.under_way -= 1;
            state.done.push(digest.clone());
        });
        outcome
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        self.store.put_manifest(reference, media_type, json)
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        self.store.manifest_digest(reference)
    }
}

/// Six layers of a buildpack, an application of two slices, and one layer too many without contents if asked for.
fn built(root: &std::path::Path, one_at_a_time: bool) -> Build {
    let mut build = Build::new(root, "acme/node", APP, RUN);
    build.write_app();
    for layer in ["a", "b", "c", "d", "e", "f"] {
        build.write_layer_toml(layer, "launch = true");
        build.write(&format!("layers/acme_node/{layer}/{layer}"), layer.repeat(4000));
    }
    build.write("workspace/static/page.html", "<p>\n");
    build.write(
        "layers/config/metadata.toml",
        "[[processes]]\ntype = \"web\"\ncommand = [\"run\"]\n[[slices]]\npaths = [\"static/*\"]\n",
    );
    build.compression = Compression {
        threads: if one_at_a_time { 1 } else { 4 },
        memory: if one_at_a_time { 0 } else { 1 << 30 },
        ..Compression::default()
    };
    build
}

fn gate() -> Gate {
    let store = MemoryStore::new();
    let base = run_image("one");
    let pushed = base.push(&store, &[reference(RUN)], Compression::default());
    let layers = pushed.expect("memory takes all").layers();
    Gate {
        copied: layers.into_iter().map(|layer| layer.descriptor.digest).collect(),
        store,
        ..Gate::default()
    }
}

fn analyzed(build: &Build, gate: &Gate) -> Analyzed {
    build.analyze(&gate.store, &gate.store, &gate.store, &NoLog)
}

type Lines = Vec<(LogLevel, String)>;
type Made = (Digest, Vec<Layer>);

/// Exports, and returns the image's digest and layers or what the error says, and what was logged.
fn export(build: &Build, gate: &Gate) -> (Result<Made, String>, Lines) {
    let (analyzed, log) = (analyzed(build, gate), MemoryLog::default());
    let export = build
        .open(&analyzed, &gate.store, gate, &log)
        .expect("the images are there");
    let outcome = export.run(&log).map_err(|error| error.to_string()).map(|_| {
        let image = gate.store.image(&reference(APP), &build.platform);
        let image = image.expect("it is readable").expect("it is there");
        (image.digest().clone(), image.layers())
    });
    (outcome, log.lines())
}

#[test]
fn a_layer_is_made_while_others_are_on_their_way() {
    let dir = tempfile::tempdir().expect("there is room");
    let build = built(dir.path(), false);
    let gate = Gate { together: 3, ..gate() };
    export(&build, &gate).0.expect("it can be exported");
    let most = gate.state.lock().expect("no test has failed").most;
    assert!((3..=4).contains(&most), "{most} were on their way at once");
}

#[test]
fn a_budget_for_one_layer_makes_one_at_a_time() {
    let dir = tempfile::tempdir().expect("there is room");
    let mut build = built(dir.path(), false);
    build.compression.memory = build.compression.memory_of_layer() * 2 - 1;
    assert_eq!(build.compression.layers_at_once(), 1);
    let gate = gate();
    export(&build, &gate).0.expect("it can be exported");
    assert_eq!(gate.state.lock().expect("no test has failed").most, 1);
}

#[test]
fn while_a_layer_is_stored_the_next_is_made_also_with_a_budget_for_one() {
    let dir = tempfile::tempdir().expect("there is room");
    let build = built(dir.path(), true);
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    for layer in ["a", "d"] {
        // What does not shrink, and more than is kept until it is complete.
        let content: Vec<u8> = (0..2 << 20).map(|_| noise()).collect();
        build.write(&format!("layers/acme_node/{layer}/{layer}"), content);
    }
    let streams = Arc::new(Streams {
        together: 2,
        ..Streams::default()
    });
    let gate = Gate { streams, ..gate() };
    export(&build, &gate).0.expect("it can be exported");
    assert_eq!(*gate.streams.begun.lock().expect("no test has failed"), 2);
}

#[test]
fn image_and_log_are_the_same_for_any_number_at_once() {
    let dir = tempfile::tempdir().expect("there is room");
    let (alone, together) = (built(dir.path(), true), built(dir.path(), false));
    let (mut gates, mut images) = (Vec::new(), Vec::new());
    for build in [&alone, &together] {
        let gate = gate();
        let (image, log) = export(build, &gate);
        images.push((image.expect("it can be exported"), log));
        gates.push(gate);
    }
    assert!(images[0].1.len() > 60, "{:?}", images[0].1);
    assert_eq!(images[0], images[1]);
    // Once more: some layers have changed, the others are used again.
    alone.write("layers/acme_node/c/c", "changed");
    alone.write("workspace/static/page.html", "<br>\n");
    let again = [export(&alone, &gates[0]), export(&together, &gates[1])];
    let says = |text: &str| again[0].1.iter().any(|(_, line)| line == text);
    assert!(
        says("Reusing layer 'acme/node:b'") && says("Adding layer 'acme/node:c'") && says("Reused 1/2 app layer(s)")
    );
    assert_eq!(again[0], again[1]);
}

#[test]
fn of_several_layers_that_fail_the_first_counts_though_a_later_one_failed_before_it() {
    let dir = tempfile::tempdir().expect("there is room");
    let (alone, together) = (built(dir.path(), true), built(dir.path(), false));
    let (image, _) = export(&alone, &gate());
    let (_, layers) = image.expect("it can be exported");
    // The run image has two layers; then come those of the buildpack, b and d among them.
    let [b, d] = [3, 5].map(|number| layers[number].descriptor.digest.clone());
    let outcomes = [&alone, &together].map(|build| {
        let waits = BTreeMap::from([(b.clone(), d.clone())]);
        let gate = Gate {
            refused: vec![b.clone(), d.clone()],
            waits: if build.compression.threads > 1 {
                waits
            } else {
                BTreeMap::new()
            },
            ..gate()
        };
        let outcome = export(build, &gate);
        let tag = gate
            .store
            .image(&reference(APP), &build.platform)
            .expect("it is readable");
        assert!(tag.is_none(), "a failed export has no tag");
        outcome
    });
    let (Err(error), log) = &outcomes[1] else {
        panic!("two of its layers are refused");
    };
    assert!(error.contains(b.as_str()) && !error.contains(d.as_str()), "{error}");
    assert_eq!(
        log.last().map(|(_, line)| line.as_str()),
        Some("Processing launch layer: /layers/acme_node/b")
    );
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_layer_that_cannot_be_planned_fails_after_those_before_it_are_made_and_logged() {
    let dir = tempfile::tempdir().expect("there is room");
    let (alone, together) = (built(dir.path(), true), built(dir.path(), false));
    alone.write_layer_toml("dd", "launch = true\ncache = true");
    let outcomes = [&alone, &together].map(|build| {
        let gate = gate();
        let outcome = export(build, &gate);
        (outcome, gate.state.into_inner().expect("no test has failed").done.len())
    });
    let ((error, log), stored) = &outcomes[1];
    assert_eq!(
        error.as_ref().err().map(String::as_str),
        Some("layer 'acme/node:dd' is cache=true but has no contents")
    );
    assert_eq!(
        log.last().map(|(_, line)| line.as_str()),
        Some("Processing launch layer: /layers/acme_node/dd")
    );
    assert_eq!(*stored, 4);
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_cache_is_filled_while_layers_are_still_being_made_and_is_the_same_as_one_filled_after() {
    let dir = tempfile::tempdir().expect("there is room");
    let build = built(dir.path(), true);
    for layer in ["a", "c", "f"] {
        build.write_layer_toml(layer, "launch = true\ncache = true");
    }
    build.write_layer_toml("z", "cache = true");
    build.write("layers/acme_node/z/z", "only cached");
    let mut caches = Vec::new();
    for beside in [false, true] {
        let gate = gate();
        let analyzed = analyzed(&build, &gate);
        let (log, cache_log) = (MemoryLog::default(), MemoryLog::default());
        let cache_dir = dir.path().join(format!("cache-{beside}"));
        std::fs::create_dir(&cache_dir).expect("there is room");
        let cache = VolumeCache::open(&cache_dir).expect("it is a directory");
        let export = build
            .open(&analyzed, &gate.store, &gate, &log)
            .expect("the images are there");
        let fill = || export_cache(&export, &cache, &cache_log).expect("there is room");
        let report = if beside {
            export.run_beside(fill, &log).0
        } else {
            let report = export.run(&log);
            fill();
            report
        };
        let names = std::fs::read_dir(cache_dir.join("committed")).expect("it is there");
        let names: BTreeSet<_> = names.map(|entry| entry.expect("it is readable").file_name()).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        let digest = report.expect("it can be exported").digest;
        caches.push((digest, log.lines(), cache_log.lines(), names));
    }
    assert_eq!(caches[0], caches[1]);
}

#[test]
fn a_cache_is_filled_though_the_export_beside_it_fails() {
    let dir = tempfile::tempdir().expect("there is room");
    let build = built(dir.path(), false);
    build.write_layer_toml("z", "cache = true");
    build.write("layers/acme_node/z/z", "only cached");
    std::fs::remove_file(build.disk("layers/config/metadata.toml")).expect("it is there");
    let gate = gate();
    let analyzed = analyzed(&build, &gate);
    std::fs::create_dir(build.disk("cache")).expect("there is room");
    let cache = VolumeCache::open(&build.disk("cache")).expect("it is a directory");
    let export = build
        .open(&analyzed, &gate.store, &gate, &NoLog)
        .expect("the images are there");
    let (report, cached) = export.run_beside(|| export_cache(&export, &cache, &NoLog), &NoLog);
    assert!(report.is_err());
    cached.expect("there is room");
    assert_eq!(
        std::fs::read_dir(build.disk("cache/committed"))
            .expect("it is there")
            .count(),
        2
    );
}

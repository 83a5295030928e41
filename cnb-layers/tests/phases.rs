//! A build, a rebuild and a rebase, from analyze to the saved image, in memory.

#[path = "support/build.rs"]
mod build;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use build::{Build, reference};
use cnb_layers::cache::{Cache, CacheImage, VolumeCache};
use cnb_layers::export::{ExportError, export_cache};
use cnb_layers::metadata::{Analyzed, LifecycleMetadata, Report, labels};
use cnb_layers::phase::{LogLevel, MemoryLog};
use cnb_layers::rebase::{RebaseError, RebaseInputs, rebase};
use cnb_layers::{
    BaseImage, Compression, DiffId, Image, ImageSource, LayerBuilder, LayoutStore, MemoryStore, Parents, Platform,
    StoreEvent, diff_id, directory_layer, validate,
};
use proptest::prelude::*;

const APP: &str = "registry.example/acme/app:latest";

struct World {
    dir: tempfile::TempDir,
    build: Build,
    store: MemoryStore,
    log: MemoryLog,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let mut build = Build::new(dir.path(), "acme/node", APP, "registry.example/acme/run:1");
        build.names.push("registry.example/acme/app:v1".to_owned());
        let world = Self {
            dir,
            build,
            store: MemoryStore::new(),
            log: MemoryLog::default(),
        };
        world.push_base("registry.example/acme/run:1", "one");
        world.build.write_app();
        fs::create_dir_all(world.disk("cache")).expect("there is room");
        world
    }

    fn push_base(&self, name: &str, motd: &str) {
        BaseImage::new(Platform::linux_amd64())
            .layer("motd", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, motd))
            .env("PATH", "/usr/bin")
            .label(labels::DISTRO_NAME, "ubuntu")
            .label("io.buildpacks.base.homepage", motd)
            .push(&self.store, &[reference(name)], Compression::default())
            .expect("memory takes all");
    }

    fn disk(&self, path: &str) -> std::path::PathBuf {
        self.build.disk(path)
    }

    /// Leaves what a buildpack would leave: a launch layer, a cached launch layer and a build-time cache.
    fn build(&self, runtime: &str) {
        for (layer, flags, content) in [
            ("runtime", "launch", runtime),
            ("modules", "launch = true\ncache", "modules\n"),
            ("downloads", "cache", "zip\n"),
        ] {
            self.build
                .write_layer_toml(layer, &format!("{flags} = true\n[metadata]\nn = 1"));
            self.build
                .write(&format!("layers/acme_node/{layer}/bin/{layer}"), content);
        }
        self.build.write_app();
        self.build
            .write("layers/acme_node/store.toml", "[metadata]\nseen = 2\n");
    }

    fn forget(&self) {
        fs::remove_dir_all(self.disk("layers")).expect("it is there");
    }

    fn analyze(&self) -> Analyzed {
        self.build.analyze(&self.store, &self.store, &self.store, &self.log)
    }

    fn restore(&self, analyzed: &Analyzed, cache: &dyn Cache) {
        self.build.restore(self.dir.path(), analyzed, cache, &self.log);
    }

    fn export(&self, analyzed: &Analyzed, cache: Option<&dyn Cache>) -> Result<Report, ExportError> {
        let export = self.build.open(analyzed, &self.store, &self.store, &self.log)?;
        let export = export.with_extended_run_image(&self.disk("layers/extended/run"))?;
        let report = export.run(&self.log)?;
        if let Some(cache) = cache {
            export_cache(&export, cache, &self.log).expect("the cache can be written");
        }
        let faults = validate(&self.store, &reference(APP), &self.image());
        assert!(faults.is_empty(), "{faults:?}");
        Ok(report)
    }

    fn rebase(&self, run_image: Option<&str>, force: bool) -> Result<Report, RebaseError> {
        let inputs = RebaseInputs {
            api: self.build.api,
            app: APP,
            names: &self.build.names,
            run_image,
            force,
            platform: &self.build.platform,
            wait: &|_| (),
        };
        rebase(&inputs, &self.store, &self.store, &self.store, &self.log)
    }

    fn volume(&self) -> VolumeCache {
        VolumeCache::open(&self.disk("cache")).expect("it is a directory")
    }

    fn image(&self) -> Image {
        self.store
            .image(&reference(APP), &self.build.platform)
            .expect("it is readable")
            .expect("it is there")
    }

    fn sent(&self) -> usize {
        let events = self.store.take_events();
        events
            .iter()
            .filter(|event| matches!(event, StoreEvent::BlobWritten { .. }))
            .count()
    }

    fn logged(&self, text: &str) -> bool {
        self.log.lines().iter().any(|(_, line)| line == text)
    }
}

#[test]
fn a_rebuild_without_changes_gives_the_same_image_and_sends_nothing() {
    let world = World::new();
    world.build("node 18\n");
    let first = world.export(&world.analyze(), None).expect("it can be exported");
    assert_eq!(first.tags, world.build.names);
    assert!(world.logged("Adding layer 'acme/node:runtime'") && world.logged("Setting default process type 'web'"));
    world.sent();
    let second = world.export(&world.analyze(), None).expect("it can be exported");
    assert_eq!(second.digest, first.digest);
    assert_eq!(world.sent(), 0);
    assert!(world.logged("Reusing layer 'acme/node:runtime'") && world.logged("Reused 1/1 app layer(s)"));
}

#[test]
fn a_change_in_one_layer_sends_that_layer_and_the_config_only() {
    let world = World::new();
    world.build("node 18\n");
    world.export(&world.analyze(), None).expect("it can be exported");
    world.sent();
    world.build("node 20\n");
    world.export(&world.analyze(), None).expect("it can be exported");
    assert_eq!(world.sent(), 2);
}

#[test]
fn layers_come_back_from_either_cache_and_are_used_again() {
    for image in [false, true] {
        let world = World::new();
        let name = reference("registry.example/acme/cache:latest");
        let open = || -> Box<dyn Cache + '_> {
            if image {
                let opened = CacheImage::open(&name, &world.store, &world.store, Compression::default());
                Box::new(opened.expect("memory can be reached"))
            } else {
                Box::new(world.volume())
            }
        };
        world.build("node 18\n");
        let first = world
            .export(&world.analyze(), Some(&*open()))
            .expect("it can be exported");
        world.forget();
        let analyzed = world.analyze();
        world.restore(&analyzed, &*open());
        let read = |path: &str| fs::read_to_string(world.disk(path)).ok();
        assert_eq!(
            read("layers/acme_node/downloads/bin/downloads").as_deref(),
            Some("zip\n")
        );
        assert_eq!(
            read("layers/acme_node/modules/bin/modules").as_deref(),
            Some("modules\n")
        );
        assert_eq!(
            read("layers/acme_node/runtime.toml").as_deref(),
            Some("[metadata]\n  n = 1.0\n")
        );
        assert_eq!(
            read("layers/acme_node/runtime/bin/runtime"),
            None,
            "launch layers stay in the image"
        );
        assert_eq!(
            read("layers/acme_node/store.toml").as_deref(),
            Some("[metadata]\n  seen = 2.0\n")
        );

        world.build("node 18\n");
        let second = world
            .export(&world.analyze(), Some(&*open()))
            .expect("it can be exported");
        assert_eq!(second.digest, first.digest);
        assert!(world.logged("Reusing cache layer 'acme/node:downloads'"));
    }
}

#[test]
fn a_damaged_cache_is_a_miss_with_a_warning() {
    let world = World::new();
    world.build("node 18\n");
    world
        .export(&world.analyze(), Some(&world.volume()))
        .expect("it can be exported");
    world.forget();
    for entry in fs::read_dir(world.disk("cache/committed")).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            fs::write(path, "garbage").expect("there is room");
        }
    }
    world.restore(&world.analyze(), &world.volume());
    assert!(!world.disk("layers/acme_node/downloads").exists());
    assert!(world.disk("layers/acme_node/downloads.toml").exists());
    let warnings = world
        .log
        .lines()
        .into_iter()
        .filter(|(level, _)| *level == LogLevel::Warn);
    assert!(
        warnings
            .into_iter()
            .any(|(_, line)| line.starts_with("Skipping restore for layer acme/node:downloads: "))
    );
}

#[test]
fn a_launch_layer_without_contents_is_taken_from_the_previous_image_or_refused() {
    let world = World::new();
    world.build("node 18\n");
    fs::remove_dir_all(world.disk("layers/acme_node/runtime")).expect("it is there");
    let error = world.export(&world.analyze(), None).expect_err("nobody has the layer");
    assert_eq!(
        error.to_string(),
        "cannot reuse 'acme/node:runtime', previous image has no metadata for layer 'acme/node:runtime'"
    );
    world.build("node 18\n");
    let first = world.export(&world.analyze(), None).expect("it can be exported");
    fs::remove_dir_all(world.disk("layers/acme_node/runtime")).expect("it is there");
    assert_eq!(
        world.export(&world.analyze(), None).expect("the image has it").digest,
        first.digest
    );
}

// row 11.3/E44
#[test]
fn layers_and_settings_of_image_extensions_come_between_run_image_and_buildpacks() {
    let world = World::new();
    world.build("node 18\n");
    let base = reference("registry.example/acme/run:1");
    let run = world
        .store
        .image(&base, &world.build.platform)
        .expect("it is readable")
        .expect("it is there");
    // What the extender leaves: the run image and one layer more, of which only the latter has a blob.
    let place = world.disk("layers/extended/run/sha256:0");
    let layout = LayoutStore::create(&place).expect("there is room");
    let extended = BaseImage::new(Platform::linux_amd64())
        .layer("motd", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, "one"))
        .layer(
            "RUN apt-get install curl",
            LayerBuilder::new().file("usr/bin/curl", 0o755, 0, 0, "curl"),
        )
        .env("PATH", "/usr/bin:/opt/bin")
        .user("1234:1234")
        .label(labels::DISTRO_NAME, "ubuntu")
        .push(&layout, &[base], Compression::default())
        .expect("there is room");
    let below = &extended.layers()[0];
    assert_eq!(Some(&below.diff_id), run.top_layer());
    fs::remove_file(place.join("blobs/sha256").join(below.descriptor.digest.hex())).expect("it is there");

    let mut analyzed = world.analyze();
    world.export(&analyzed, None).expect("it can be exported");
    let added = |image: &Image| {
        let history: Vec<_> = image
            .config()
            .history
            .iter()
            .map(|entry| entry.created_by.clone())
            .collect();
        assert_eq!(history[1], "RUN apt-get install curl", "{history:?}");
        image.config().config.env("PATH").map(str::to_owned)
    };
    let path = added(&world.image());
    assert_eq!(path.as_deref(), Some("/cnb/process:/cnb/lifecycle:/usr/bin"));

    analyzed.run_image.as_mut().expect("there is one").extend = true;
    world.export(&analyzed, None).expect("it can be exported");
    let path = added(&world.image());
    assert_eq!(path.as_deref(), Some("/cnb/process:/cnb/lifecycle:/usr/bin:/opt/bin"));
    assert_eq!(world.image().config().config.user, "1234:1234");

    fs::create_dir(world.disk("layers/extended/run/another")).expect("there is room");
    let error = world.export(&analyzed, None).expect_err("there are two");
    assert!(error.to_string().contains("there are 2 images and not one"), "{error}");
}

#[test]
fn a_layer_whose_name_is_no_utf_8_is_a_layer() {
    let world = World::new();
    world.build("node 18\n");
    let odd = std::ffi::OsStr::from_bytes(b"x\xff");
    let layer = world.disk("layers/acme_node").join(odd);
    fs::create_dir(&layer).expect("there is room");
    fs::write(layer.join("file"), "content").expect("there is room");
    let toml = [odd.as_bytes(), b".toml"].concat();
    let toml = world.disk("layers/acme_node").join(std::ffi::OsStr::from_bytes(&toml));
    fs::write(toml, "[types]\nlaunch = true\ncache = true\n").expect("there is room");
    world
        .export(&world.analyze(), Some(&world.volume()))
        .expect("it can be exported");
    let image = world.image();
    let label = image.label(labels::LIFECYCLE_METADATA).expect("it has one");
    let metadata = LifecycleMetadata::from_label(label).expect("it is well formed");
    let known = metadata.buildpack("acme/node").expect("it took part");
    let sha = known.layers["x\u{fffd}"].sha.clone();
    assert!(image.config().rootfs.diff_ids.iter().any(|id| id.as_str() == sha));
    assert!(
        world
            .volume()
            .metadata()
            .expect("it is readable")
            .layer("acme/node", "x\u{fffd}")
            .is_some()
    );
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let world = World::new();
    world.build("node 18\n");
    let failure = || {
        let error = world.export(&world.analyze(), None).expect_err("it cannot be used");
        cnb_layers::phase::with_causes(&error)
    };
    let store = world.disk("layers/acme_node/store.toml");
    let of_store = "reading layers for buildpack 'acme/node': failed decoding store.toml for buildpack \"acme/node\"";
    fs::write(&store, b"# \xff\n").expect("there is room");
    assert_eq!(failure(), format!("{of_store}: toml: line 1: invalid UTF-8 byte: 0xff"));
    fs::remove_file(&store).expect("it is there");
    fs::create_dir(&store).expect("there is room");
    assert_eq!(
        failure(),
        format!("{of_store}: read /layers/acme_node/store.toml: is a directory")
    );
    fs::remove_dir(&store).expect("it is there");
    let metadata = world.disk("layers/config/metadata.toml");
    let of_metadata = "read build metadata: failed to read build metadata file";
    fs::write(&metadata, b"# \xff\n").expect("there is room");
    assert_eq!(
        failure(),
        format!("{of_metadata}: toml: line 1: invalid UTF-8 byte: 0xff")
    );
    fs::remove_file(&metadata).expect("it is there");
    fs::create_dir(&metadata).expect("there is room");
    assert_eq!(
        failure(),
        format!("{of_metadata}: read /layers/config/metadata.toml: is a directory")
    );
}

#[test]
fn a_rebase_there_and_back_keeps_the_application_and_sends_configs_only() {
    let world = World::new();
    world.build("node 18\n");
    world.export(&world.analyze(), None).expect("it can be exported");
    let built = world.image();
    world.rebase(None, false).expect("its own base fits");
    let on_one = world.image();
    world.push_base("registry.example/acme/run:1", "two");
    world.sent();
    world.rebase(None, false).expect("a new version of the base fits");
    let on_two = world.image();
    assert_eq!(world.sent(), 1);
    assert_eq!(on_two.layers()[1..], built.layers()[1..]);
    assert_ne!(on_two.layers()[0], built.layers()[0]);
    assert_eq!(on_two.label("io.buildpacks.base.homepage"), Some("two"));
    let metadata = LifecycleMetadata::from_label(on_two.label(labels::LIFECYCLE_METADATA).expect("it has one"));
    assert_eq!(
        Some(metadata.expect("it is well formed").run_image.top_layer),
        on_two.top_layer_of_base()
    );
    assert!(validate(&world.store, &reference(APP), &on_two).is_empty());
    world.push_base("registry.example/acme/run:1", "one");
    world.rebase(None, false).expect("the old version fits");
    assert_eq!(world.image().digest(), on_one.digest());
}

#[test]
fn a_base_that_the_image_does_not_know_needs_force() {
    let world = World::new();
    world.build("node 18\n");
    world.export(&world.analyze(), None).expect("it can be exported");
    world.push_base("registry.example/other/run:1", "other");
    let before = world.image();
    let error = world
        .rebase(Some("registry.example/other/run:1"), false)
        .expect_err("it is not known");
    assert!(matches!(error, RebaseError::UnknownBase { .. }), "{error}");
    assert_eq!(world.image().digest(), before.digest());
    world
        .rebase(Some("registry.example/other/run:1"), true)
        .expect("force overrides that");
    assert_ne!(world.image().digest(), before.digest());
}

/// Layers by name: flags (build, launch, cache) and files.
type AnyLayers = BTreeMap<String, ((bool, bool, bool), BTreeMap<String, Vec<u8>>)>;

/// What a buildpack may leave: some layers with their flags (build, launch, cache) and files.
fn any_layers() -> impl Strategy<Value = AnyLayers> {
    let files = proptest::collection::btree_map(
        "[a-c]{1,2}(/[d-f.]x{0,2})?",
        proptest::collection::vec(any::<u8>(), 0..600),
        0..4,
    );
    proptest::collection::btree_map("[g-k]{1,3}( z)?", (any::<(bool, bool, bool)>(), files), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_build_is_reused_by_the_next_and_rebased_there_and_back(layers in any_layers(), app in any_layers()) {
        let world = World::new();
        let leave = || {
            world.build.write("layers/config/metadata.toml", "[[processes]]\ntype = \"web\"\ncommand = [\"a\"]\n");
            for (name, ((build, launch, cache), files)) in &layers {
                let flags = format!("[types]\nbuild = {build}\nlaunch = {launch}\ncache = {cache}\n[metadata]\nn = 1\n");
                world.build.write(&format!("layers/acme_node/{name}.toml"), &flags);
                let dir = world.disk(&format!("layers/acme_node/{name}"));
                fs::create_dir_all(&dir).expect("there is room");
                for (file, content) in files {
                    let path = dir.join(file);
                    // A file may be in the way of a directory, and the other way round.
                    if fs::create_dir_all(path.parent().expect("it is in a directory")).is_ok() {
                        let _ = fs::write(path, content);
                    }
                }
            }
        };
        for (name, (_, files)) in &app {
            for (file, content) in files {
                world.build.write(&format!("workspace/{name}/{}", file.replace('/', "-")), content);
            }
        }
        leave();
        let first = world.export(&world.analyze(), Some(&world.volume())).expect("it can be exported");
        let whole = diff_ids_on_disk(&world, &layers);

        // Unchanged, nothing is sent.
        world.sent();
        let second = world.export(&world.analyze(), Some(&world.volume())).expect("it can be exported");
        prop_assert_eq!(&second.digest, &first.digest);
        prop_assert_eq!(world.sent(), 0);

        // What the cache has comes back as it was, and the next build is the same image.
        world.forget();
        let analyzed = world.analyze();
        world.restore(&analyzed, &world.volume());
        for (name, diff_id) in diff_ids_on_disk(&world, &layers) {
            prop_assert_eq!(Some(&diff_id), whole.get(&name));
        }
        for (name, ((build, launch, cache), _)) in &layers {
            let is_back = world.disk(&format!("layers/acme_node/{name}")).is_dir();
            prop_assert_eq!(is_back, *cache, "{} {} {} {}", name, build, launch, cache);
        }
        leave();
        let third = world.export(&analyzed, Some(&world.volume())).expect("it can be exported");
        prop_assert_eq!(&third.digest, &first.digest);
        prop_assert_eq!(world.sent(), 0);

        // There and back.
        world.rebase(None, false).expect("its own base fits");
        let on_one = world.image();
        world.push_base("registry.example/acme/run:1", "two");
        world.rebase(None, false).expect("a new version of the base fits");
        let on_two = world.image();
        prop_assert_ne!(on_two.digest(), on_one.digest());
        prop_assert!(validate(&world.store, &reference(APP), &on_two).is_empty());
        world.push_base("registry.example/acme/run:1", "one");
        world.rebase(None, false).expect("the old version fits");
        let back = world.image();
        prop_assert_eq!(back.digest(), on_one.digest());
    }
}

fn diff_ids_on_disk<T>(world: &World, layers: &BTreeMap<String, T>) -> BTreeMap<String, DiffId> {
    let owners = Parents::Given(&|_| (0o755, 1000, 1000));
    let there = layers
        .keys()
        .filter(|name| world.disk(&format!("layers/acme_node/{name}")).is_dir());
    there
        .map(|name| {
            let path = format!("/layers/acme_node/{name}");
            let layer = directory_layer(world.dir.path(), Path::new(&path), &owners, 1000, 1000).expect("it is there");
            (name.clone(), diff_id(&layer).expect("it can be read").0)
        })
        .collect()
}

/// The first layer of these images is all of their base.
trait TopLayerOfBase {
    fn top_layer_of_base(&self) -> Option<String>;
}

impl TopLayerOfBase for Image {
    fn top_layer_of_base(&self) -> Option<String> {
        Some(self.layers().first()?.diff_id.to_string())
    }
}

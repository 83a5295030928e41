//! Layers that an export need not read, because nobody has changed them since they were restored.

#[path = "support/build.rs"]
mod build;

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use build::{Build, reference, run_image};
use cnb_layers::cache::VolumeCache;
use cnb_layers::export::export_cache;
use cnb_layers::metadata::Analyzed;
use cnb_layers::phase::NoLog;
use cnb_layers::{AllowAll, Compression, Digest, ImageSource as _, MemoryStore, Platform, Seals};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// A build with a layer that is in the image and in the cache, and one that is in the cache alone.
struct World {
    dir: tempfile::TempDir,
    build: Build,
    store: MemoryStore,
}

const LAYER: &str = "layers/acme_bp/modules";
const FILES: [&str; 5] = [
    "modules/a",
    "modules/b",
    "modules/sub/c",
    "modules/sub/empty",
    "downloads/archive",
];

impl World {
    /// The build has been exported once.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let base = "reg.example/run/base:1";
        let build = Build::new(dir.path(), "acme/bp", "reg.example/acme/app:latest", base);
        let world = Self {
            dir,
            build,
            store: MemoryStore::new(),
        };
        let pushed = run_image("one").push(&world.store, &[reference(base)], Compression::default());
        pushed.expect("the base image is pushed");
        world.build.write_app();
        world.write_types();
        world.build.write("layers/acme_bp/downloads/archive", "modules");
        for (name, text) in [("a", "aaaa"), ("b", "bbbb"), ("sub/c", "cccc"), ("sub/empty", "")] {
            world.build.write(&format!("{LAYER}/{name}"), text);
        }
        symlink("sub/c", world.build.disk(LAYER).join("link")).expect("there is room");
        fs::create_dir(world.build.disk("cache")).expect("there is room");
        world.export(&world.analyze(), None);
        world
    }

    fn analyze(&self) -> Analyzed {
        self.build.analyze(&self.store, &self.store, &AllowAll, &NoLog)
    }

    /// Exports image and cache, and returns the digest of the image.
    fn export(&self, analyzed: &Analyzed, seals: Option<&Seals>) -> Digest {
        let export = self.build.open(analyzed, &self.store, &self.store, &NoLog);
        let mut export = export.expect("the images are there");
        if let Some(seals) = seals {
            export = export.with_seals(seals);
        }
        export.run(&NoLog).expect("it can be exported");
        export_cache(&export, &self.cache(), &NoLog).expect("the cache can be written");
        let image = self
            .store
            .image(&reference(&self.build.names[0]), &Platform::linux_amd64());
        image.expect("it is readable").expect("it is there").digest().clone()
    }

    fn cache(&self) -> VolumeCache {
        VolumeCache::open(&self.build.disk("cache")).expect("it is a directory")
    }

    /// Restores the layers, as a build that begins does.
    fn restore(&self) -> (Analyzed, Seals) {
        let dir = self.build.disk("layers/acme_bp");
        fs::remove_dir_all(dir).expect("it is there");
        let (analyzed, seals) = (self.analyze(), Seals::new());
        let cache = self.cache();
        self.build
            .restore_sealed(self.dir.path(), &analyzed, &cache, Some(&seals), &NoLog);
        self.write_types();
        (analyzed, seals)
    }

    /// What the buildpack says in each build.
    fn write_types(&self) {
        self.build.write_layer_toml("modules", "launch = true\ncache = true");
        self.build.write_layer_toml("downloads", "cache = true");
    }

    /// Returns how often files of the layers are opened while `work` runs.
    fn opened(&self, work: impl FnOnce()) -> usize {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("there are watches");
        for name in FILES {
            let path = self.build.disk("layers/acme_bp").join(name);
            inotify::add_watch(&watch, path, WatchFlags::OPEN).expect("there are watches");
        }
        work();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(watch, &mut buffer);
        let mut opened = 0;
        loop {
            match events.next() {
                Ok(event) => {
                    assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW), "too many");
                    opened += 1;
                }
                Err(Errno::AGAIN) => return opened,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn files_of_restored_layers_that_nobody_has_changed_are_not_opened() {
    let world = World::new();
    let before = world.export(&world.analyze(), None);
    let (analyzed, seals) = world.restore();
    let opened = world.opened(|| assert_eq!(world.export(&analyzed, Some(&seals)), before));
    assert_eq!(opened, 0);
    let opened = world.opened(|| assert_eq!(world.export(&analyzed, None), before));
    assert_eq!(opened, FILES.len(), "one layer for the image, one for the cache");
}

/// Sets the content of a file, and its modification time to what it was.
fn write_secretly(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).open(path).expect("it is there");
    let times = file
        .metadata()
        .and_then(|status| status.modified())
        .expect("it has one");
    file.seek(SeekFrom::Start(0)).expect("it is a file");
    file.write_all(text.as_bytes()).expect("there is room");
    file.set_times(FileTimes::new().set_modified(times))
        .expect("it is ours");
}

/// Puts another file in the place of one, with the same modification time.
fn replace_secretly(path: &Path, text: &str) {
    let times = fs::metadata(path)
        .and_then(|status| status.modified())
        .expect("it has one");
    let new = path.with_extension("new");
    fs::write(&new, text).expect("there is room");
    File::options()
        .write(true)
        .open(&new)
        .and_then(|file| file.set_times(FileTimes::new().set_modified(times)))
        .expect("it is ours");
    fs::set_permissions(&new, fs::metadata(path).expect("it is there").permissions()).expect("it is ours");
    fs::rename(&new, path).expect("it is a file");
}

type Change = fn(&Path);

/// What a build may do to a layer, each in a way that shows as little as possible.
const CHANGES: [(&str, Change); 17] = [
    ("a file is written, its time put back", |layer| {
        write_secretly(&layer.join("a"), "AAAA");
    }),
    ("a file is replaced, its time put back", |layer| {
        replace_secretly(&layer.join("a"), "AAAA");
    }),
    ("a file grows", |layer| {
        fs::write(layer.join("sub/empty"), "x").expect("there is room");
    }),
    ("a file shrinks", |layer| {
        fs::write(layer.join("sub/c"), "").expect("there is room");
    }),
    ("two files of one size change places", |layer| {
        fs::rename(layer.join("a"), layer.join("x")).expect("it is there");
        fs::rename(layer.join("b"), layer.join("a")).expect("it is there");
        fs::rename(layer.join("x"), layer.join("b")).expect("it is there");
    }),
    ("a file becomes another name of another", |layer| {
        fs::remove_file(layer.join("b")).expect("it is there");
        fs::hard_link(layer.join("a"), layer.join("b")).expect("it is there");
    }),
    ("a file becomes executable", |layer| {
        fs::set_permissions(layer.join("a"), Permissions::from_mode(0o755)).expect("it is ours");
    }),
    ("a directory becomes private", |layer| {
        fs::set_permissions(layer.join("sub"), Permissions::from_mode(0o700)).expect("it is ours");
    }),
    ("the layer itself becomes private", |layer| {
        fs::set_permissions(layer, Permissions::from_mode(0o700)).expect("it is ours");
    }),
    ("a file is removed", |layer| {
        fs::remove_file(layer.join("sub/empty")).expect("it is there");
    }),
    ("a file is added", |layer| {
        fs::write(layer.join("sub/new"), "").expect("there is room");
    }),
    ("a directory is added", |layer| {
        fs::create_dir(layer.join("new")).expect("there is room");
    }),
    ("a file is renamed", |layer| {
        fs::rename(layer.join("a"), layer.join("a2")).expect("it is there");
    }),
    ("a link leads elsewhere", |layer| {
        fs::remove_file(layer.join("link")).expect("it is there");
        symlink("sub/d", layer.join("link")).expect("there is room");
    }),
    ("a file becomes a directory", |layer| {
        fs::remove_file(layer.join("sub/empty")).expect("it is there");
        fs::create_dir(layer.join("sub/empty")).expect("there is room");
    }),
    ("a file becomes a link to its content elsewhere", |layer| {
        fs::rename(layer.join("a"), layer.with_extension("a")).expect("it is there");
        symlink(layer.with_extension("a"), layer.join("a")).expect("there is room");
    }),
    ("another directory takes the place of the layer", |layer| {
        fs::rename(layer, layer.with_extension("away")).expect("it is there");
        fs::create_dir(layer).expect("there is room");
        fs::write(layer.join("a"), "AAAA").expect("there is room");
    }),
];

#[test]
fn every_change_is_noticed() {
    for (what, change) in CHANGES {
        let world = World::new();
        let (analyzed, seals) = world.restore();
        change(&world.build.disk(LAYER));
        let sealed = world.export(&analyzed, Some(&seals));
        let read = world.export(&analyzed, None);
        assert_eq!(sealed, read, "{what}");
        // The cache was filled with the same.
        let (restored, _) = world.restore();
        assert_eq!(world.export(&restored, None), read, "{what}");
    }
}

#[test]
fn a_change_right_after_the_layer_was_restored_is_noticed() {
    for _ in 0..40 {
        let world = World::new();
        let before = world.export(&world.analyze(), None);
        let (analyzed, seals) = world.restore();
        write_secretly(&world.build.disk(LAYER).join("b"), "BBBB");
        assert_ne!(world.export(&analyzed, Some(&seals)), before);
    }
}

#[test]
fn what_was_changed_and_changed_back_gives_the_image_of_before() {
    let world = World::new();
    let before = world.export(&world.analyze(), None);
    let (analyzed, seals) = world.restore();
    let file = world.build.disk(LAYER).join("a");
    write_secretly(&file, "AAAA");
    write_secretly(&file, "aaaa");
    assert_eq!(world.export(&analyzed, Some(&seals)), before);
}

#[test]
fn a_layer_made_anew_in_the_place_of_the_restored_one_is_read() {
    let world = World::new();
    let before = world.export(&world.analyze(), None);
    let (analyzed, seals) = world.restore();
    let layer = world.build.disk(LAYER);
    let away = layer.with_extension("away");
    fs::rename(&layer, &away).expect("it is there");
    fs::create_dir_all(layer.join("sub")).expect("there is room");
    for (name, text) in [("a", "aaaa"), ("b", "bbbb"), ("sub/c", "cccc"), ("sub/empty", "")] {
        fs::write(layer.join(name), text).expect("there is room");
    }
    symlink("sub/c", layer.join("link")).expect("there is room");
    fs::remove_dir_all(away).expect("it is there");
    let opened = world.opened(|| assert_eq!(world.export(&analyzed, Some(&seals)), before));
    assert_eq!(opened, 4, "the other layer is as it was");
}

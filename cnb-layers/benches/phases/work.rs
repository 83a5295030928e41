//! What is measured.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cnb_layers::cache::{CacheImage, VolumeCache};
use cnb_layers::phase::{NoLog, PlatformApi};
use cnb_layers::rebase::{NewBase, RebaseJob, rebase_many};
use cnb_layers::{Image, ImageSource, LayoutStore, MemoryStore, Platform, Reference, RegistryStore, Seals};

use crate::counted::registries;
use crate::data::Set;
use crate::discard::Discard;
use crate::measure::Done;
use crate::straight;
use crate::world::{World, compression, push_base, threads};

/// Arguments of a measurement: what, data set, root of its files, registry, a number that makes names new.
struct Given {
    world: World,
    host: String,
    number: String,
}

type Work = Box<dyn FnOnce() -> Done>;

/// Prepares what is to be measured; the value that comes back does it.
pub(crate) fn prepare(arguments: &[String]) -> Work {
    let [what, set, root, host, number] = arguments else {
        panic!("five arguments are needed")
    };
    let given = Given {
        world: World::new(Path::new(root), Set::of_name(set)),
        host: host.clone(),
        number: number.clone(),
    };
    match what.as_str() {
        "export-null" => given.export_null(),
        "export-spool" => given.export_spool(),
        "export-registry" => given.export_registry(false),
        "export-cache-image" => given.export_registry(true),
        "export-again" => given.export_again(),
        "fill-volume" => given.fill_volume(),
        "restore-volume" => given.restore_volume(),
        "export-sealed" => given.export_sealed(),
        "restore-image" => given.restore_image(),
        "rebase" => given.rebase(),
        "straight-null" => given.straight(|dir, _, _| {
            let (_, _, tar, blob) = straight::layer(dir, "layer", io::sink());
            (tar, blob)
        }),
        "straight-spool" => given.straight(|dir, spool, _| {
            let (_, tar, blob) = straight::spool(dir, "layer", spool);
            (tar, blob)
        }),
        "straight-registry" => given.straight_registry(1),
        "straight-cache-image" => given.straight_registry(2),
        "straight-again" => given.straight(|dir, _, _| (straight::hash(dir, "layer"), 0)),
        "straight-restore-volume" => given.straight_restore_volume(),
        "straight-restore-image" => given.straight_restore_image(),
        other => panic!("{other} is not known"),
    }
}

impl Given {
    fn app(&self) -> String {
        format!("{}/acme/{}-{}:latest", self.host, self.world.set.name(), self.number)
    }

    fn cache(&self) -> Reference {
        let name = format!(
            "{}/acme/{}-{}-cache:latest",
            self.host,
            self.world.set.name(),
            self.number
        );
        Reference::parse(&name).expect("it is a name")
    }

    fn base(&self) -> String {
        format!("{}/run/base:1", self.host)
    }

    fn fresh(&self, name: &str) -> PathBuf {
        let dir = self.world.root.join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("there is room");
        dir
    }

    fn export_null(self) -> Work {
        let target = Discard(MemoryStore::new());
        push_base(&target.0, "reg.example/run/base:1", "one");
        Box::new(move || {
            let (app, base) = ("reg.example/acme/app:latest", "reg.example/run/base:1");
            let analyzed = self.world.analyze(app, base, &target, &target, None);
            self.world.export(app, &analyzed, &target, &target, None, None);
            Done {
                bytes: self.bytes(),
                ..Done::default()
            }
        })
    }

    fn export_spool(self) -> Work {
        let store = LayoutStore::create(self.fresh("layout")).expect("there is room");
        push_base(&store, "reg.example/run/base:1", "one");
        Box::new(move || {
            let (app, base) = ("reg.example/acme/app:latest", "reg.example/run/base:1");
            let analyzed = self.world.analyze(app, base, &store, &store, None);
            self.world.export(app, &analyzed, &store, &store, None, None);
            Done {
                bytes: self.bytes(),
                blobs: blobs(&image(&store, app)),
                ..Done::default()
            }
        })
    }

    fn export_registry(self, with_cache: bool) -> Work {
        let (store, count) = registries(&[&self.host]);
        let analyzed = self.analyze(&store);
        Box::new(move || {
            let before = count.load(Ordering::Relaxed);
            if with_cache {
                let cache = CacheImage::open(&self.cache(), &store, &store, compression()).expect("it can be reached");
                self.world
                    .export(&self.app(), &analyzed, &store, &store, Some(&cache), None);
            } else {
                self.world.export(&self.app(), &analyzed, &store, &store, None, None);
            }
            let requests = count.load(Ordering::Relaxed) - before;
            Done {
                requests,
                bytes: self.bytes(),
                blobs: blobs(&image(&store, &self.app())),
            }
        })
    }

    fn analyze(&self, store: &RegistryStore) -> cnb_layers::metadata::Analyzed {
        let access = Some(store.client() as &dyn cnb_layers::RegistryAccess);
        self.world.analyze(&self.app(), &self.base(), store, store, access)
    }

    fn export_again(self) -> Work {
        let (store, count) = registries(&[&self.host]);
        let analyzed = self.analyze(&store);
        Box::new(move || {
            let before = count.load(Ordering::Relaxed);
            self.world.export(&self.app(), &analyzed, &store, &store, None, None);
            Done {
                requests: count.load(Ordering::Relaxed) - before,
                bytes: self.bytes(),
                blobs: 0,
            }
        })
    }

    fn fill_volume(self) -> Work {
        let dir = self.fresh("cache");
        let (store, _) = registries(&[&self.host]);
        Box::new(move || {
            let cache = VolumeCache::open(&dir).expect("it is a directory");
            let analyzed = self.analyze(&store);
            self.world
                .export(&self.app(), &analyzed, &store, &store, Some(&cache), None);
            Done {
                bytes: self.bytes(),
                ..Done::default()
            }
        })
    }

    fn restore_volume(self) -> Work {
        let to = self.fresh("restored");
        fs::create_dir_all(to.join("layers")).expect("there is room");
        let (store, _) = registries(&[&self.host]);
        let analyzed = self.analyze(&store);
        Box::new(move || {
            let cache = VolumeCache::open(&self.world.root.join("cache")).expect("it is a directory");
            self.world.restore(&to, &analyzed, &cache, None);
            Done {
                bytes: self.bytes(),
                ..Done::default()
            }
        })
    }

    /// Exports what has just been restored, with the seals of the layers.
    fn export_sealed(self) -> Work {
        let to = self.fresh("restored");
        let (store, count) = registries(&[&self.host]);
        let (analyzed, seals) = (self.analyze(&store), Seals::new());
        let cache = VolumeCache::open(&self.world.root.join("cache")).expect("it is a directory");
        let restored = World::new(&to, self.world.set);
        self.world.restore(&to, &analyzed, &cache, Some(&seals));
        restored.write_types();
        Box::new(move || {
            let before = count.load(Ordering::Relaxed);
            restored.export(&self.app(), &analyzed, &store, &store, None, Some(&seals));
            Done {
                requests: count.load(Ordering::Relaxed) - before,
                bytes: self.bytes(),
                blobs: 0,
            }
        })
    }

    fn restore_image(self) -> Work {
        let to = self.fresh("restored");
        fs::create_dir_all(to.join("layers")).expect("there is room");
        let (store, count) = registries(&[&self.host]);
        let analyzed = self.analyze(&store);
        Box::new(move || {
            let before = count.load(Ordering::Relaxed);
            let cache = CacheImage::open(&self.cache(), &store, &store, compression()).expect("it can be reached");
            self.world.restore(&to, &analyzed, &cache, None);
            Done {
                requests: count.load(Ordering::Relaxed) - before,
                bytes: self.bytes(),
                blobs: 0,
            }
        })
    }

    /// Rebases `number` images of `acme/rebase` onto the second base, in one process, several at a time.
    fn rebase(self) -> Work {
        let (store, count) = registries(&[&self.host]);
        let images: usize = self.number.parse().expect("a number of images");
        let base = format!("{}/run/base:2", self.host);
        let name = |number| format!("{}/acme/rebase:{number}", self.host);
        let jobs: Vec<_> = (0..images).map(|number| RebaseJob::in_place(name(number))).collect();
        let at_once = NonZeroUsize::new(2 * threads()).expect("there is a processor");
        Box::new(move || {
            let before = count.load(Ordering::Relaxed);
            let base = NewBase::open(&base, &store, &Platform::linux_amd64(), &|_| (), &NoLog).expect("it is there");
            let each = |_: &RebaseJob, outcome: Result<_, _>| drop(outcome.expect("it can be rebased"));
            let api = PlatformApi::NEWEST;
            rebase_many(&jobs, &base, api, true, at_once, None, &store, &store, &NoLog, &each)
                .expect("there is no journal to be written");
            Done {
                requests: count.load(Ordering::Relaxed) - before,
                ..Done::default()
            }
        })
    }

    fn straight(self, layer: impl Fn(&Path, &Path, usize) -> (u64, u64) + 'static) -> Work {
        let spool = self.fresh("spool");
        Box::new(move || self.each_layer(|dir, number| layer(dir, &spool.join(format!("{number}.tgz")), number)))
    }

    fn each_layer(&self, mut layer: impl FnMut(&Path, usize) -> (u64, u64)) -> Done {
        let mut done = Done::default();
        for number in 0..self.world.set.layers() {
            let (tar, blob) = layer(&self.world.layer(number), number);
            done.bytes += tar;
            done.blobs += blob;
        }
        done
    }

    fn straight_registry(self, times: usize) -> Work {
        let (store, count): (RegistryStore, Arc<AtomicU64>) = registries(&[&self.host]);
        let app = Reference::parse(&self.app()).expect("it is a name");
        let repositories = [app, self.cache()];
        Box::new(move || {
            let mut done = Done::default();
            for repository in &repositories[..times] {
                done = self.each_layer(|dir, _| straight::upload(dir, "layer", &store, repository.repository()));
            }
            done.requests = count.load(Ordering::Relaxed);
            done
        })
    }

    fn straight_restore_volume(self) -> Work {
        let to = self.fresh("restored");
        let committed = self.world.root.join("cache/committed");
        Box::new(move || {
            let mut done = Done::default();
            for entry in fs::read_dir(committed).expect("it is there") {
                let path = entry.expect("it is readable").path();
                if path.extension().is_some_and(|extension| extension == "tar") {
                    done.bytes += straight::restore(&path, &to);
                }
            }
            done
        })
    }

    fn straight_restore_image(self) -> Work {
        let to = self.fresh("restored");
        let (store, _) = registries(&[&self.host]);
        let reference = self.cache();
        Box::new(move || {
            let image = image(&store, &reference.to_string());
            for layer in image.layers() {
                let blob = store.layer(&reference, &layer.descriptor).expect("it is there");
                let blob = BufReader::with_capacity(256 * 1024, blob);
                straight::extract(flate2::bufread::MultiGzDecoder::new(blob), &to);
            }
            Done {
                bytes: self.bytes(),
                ..Done::default()
            }
        })
    }

    /// Returns the bytes of all files of the data set.
    fn bytes(&self) -> u64 {
        let total = self.world.root.join("bytes");
        if let Ok(text) = fs::read_to_string(&total) {
            return text.parse().expect("it is a number");
        }
        let bytes = (0..self.world.set.layers())
            .map(|number| size(&self.world.layer(number)))
            .sum();
        fs::write(total, u64::to_string(&bytes)).expect("there is room");
        bytes
    }
}

fn size(path: &Path) -> u64 {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("it is readable");
        return entries.map(|entry| size(&entry.expect("it is readable").path())).sum();
    }
    File::open(path)
        .and_then(|file| file.metadata())
        .expect("it is readable")
        .len()
}

fn image(store: &dyn ImageSource, name: &str) -> Image {
    let reference = Reference::parse(name).expect("it is a name");
    let image = store.image(&reference, &Platform::linux_amd64());
    image.expect("it is readable").expect("it is there")
}

/// Returns the size of all layers of an image.
fn blobs(image: &Image) -> u64 {
    image.layers().iter().map(|layer| layer.descriptor.size).sum()
}

//! What restore brings back, row by row of the reference's table.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use cnb_layers::cache::VolumeCache;
use cnb_layers::metadata::{Group, GroupBuildpack, LifecycleMetadata};
use cnb_layers::phase::{MemoryLog, PlatformApi};
use cnb_layers::restore::{RestoreInputs, restore};
use cnb_layers::{LayerBuilder, LayerContent as _, diff_id};
use serde_json::{Map, Value, json};

/// A layer that the last build left: its name, and which of `build`, `launch` and `cache` it is for.
type Layer = (&'static str, &'static [&'static str]);

const LAUNCH: Layer = ("launch", &["launch"]);
const LAUNCH_BUILD_CACHE: Layer = ("launch-build-cache", &["launch", "build", "cache"]);
const LAUNCH_CACHE: Layer = ("launch-cache", &["launch", "cache"]);
const CACHE: Layer = ("cache", &["cache"]);
const LAUNCH_CACHE_NOT_IN_APP: Layer = ("launch-cache-not-in-app", &["launch", "cache"]);
const LAUNCH_BUILD: Layer = ("launch-build", &["launch", "build"]);
const LAUNCH_FALSE: Layer = ("launch-false", &["build"]);
const CACHE_FALSE: Layer = ("cache-false", &["launch", "cache"]);

/// What a build finds: the image's and the cache's layers of each buildpack, and the buildpacks that were detected.
struct World {
    app: BTreeMap<&'static str, Vec<Layer>>,
    cache: BTreeMap<&'static str, Vec<Layer>>,
    group: Vec<&'static str>,
    api: u64,
    skip_layers: bool,
    /// Layers whose contents are others in the cache than in the image.
    changed: Vec<&'static str>,
    /// Files that are in the directory of layers already.
    present: Vec<&'static str>,
}

impl World {
    fn new(app: Vec<Layer>, cache: Vec<Layer>) -> Self {
        Self {
            app: BTreeMap::from([("acme/one", app), ("acme/two", Vec::new())]),
            cache: BTreeMap::from([("acme/one", cache)]),
            group: vec!["acme/one", "acme/two"],
            api: 15,
            skip_layers: false,
            changed: Vec::new(),
            present: Vec::new(),
        }
    }

    /// Restores into an empty directory of layers, and returns the files that are there then.
    fn restored(&self) -> BTreeMap<String, String> {
        let root = tempfile::tempdir().expect("a temporary directory");
        let root = root.path();
        for path in &self.present {
            let path = root.join("layers").join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, "here before").expect("a file");
        }
        let committed = root.join("cache/committed");
        fs::create_dir_all(&committed).expect("a directory");
        let cache = json!({ "buildpacks": buildpacks(&self.cache, &[], Some(&committed), None) });
        fs::write(
            committed.join("io.buildpacks.lifecycle.cache.metadata"),
            cache.to_string(),
        )
        .expect("a file");
        let store = json!({ "metadata": { "kept": true } });
        let app = json!({ "buildpacks": buildpacks(&self.app, &self.changed, None, Some(&store)) });
        let metadata = LifecycleMetadata::from_label(&app.to_string()).expect("a label");
        let buildpacks = self.group.iter().map(|id| GroupBuildpack {
            id: (*id).to_owned(),
            version: "1".to_owned(),
            api: "0.10".to_owned(),
        });
        let group = Group {
            buildpacks: buildpacks.collect(),
            extensions: Vec::new(),
        };
        let inputs = RestoreInputs {
            api: PlatformApi::new(self.api).expect("it is known"),
            layers_dir: Path::new("/layers"),
            root,
            group: &group,
            metadata: &metadata,
            skip_layers: self.skip_layers,
            parallelism: NonZeroUsize::MIN,
            seals: None,
        };
        let cache = VolumeCache::open(&root.join("cache")).expect("a cache");
        restore(&inputs, Some(&cache), &MemoryLog::default()).expect("it is restored");
        let mut files = BTreeMap::new();
        collect(&root.join("layers"), &root.join("layers"), &mut files);
        files
    }

    fn names(&self) -> Vec<String> {
        self.restored().into_keys().collect()
    }
}

/// The buildpacks as labels have them. With a directory given, the layers' tars are written there.
fn buildpacks(
    of: &BTreeMap<&'static str, Vec<Layer>>,
    changed: &[&str],
    tars: Option<&Path>,
    store: Option<&Value>,
) -> Value {
    let buildpack = |(id, layers): (&&str, &Vec<Layer>)| {
        let mut all = Map::new();
        for (name, flags) in layers {
            let content = if changed.contains(name) { "changed" } else { *name };
            let path = format!("layers/{}/{name}/content", id.replace('/', "_"));
            let tar = LayerBuilder::new().file(path, 0o644, 0, 0, content);
            let sha = diff_id(&tar).expect("a tar").0.to_string();
            if let Some(tars) = tars {
                let mut file = fs::File::create(tars.join(format!("{sha}.tar"))).expect("a file");
                tar.write_tar(&mut file).expect("a tar");
            }
            let from = if tars.is_some() { "cache" } else { "app" };
            let mut layer = json!({ "sha": sha, "data": { "from": from } });
            for flag in *flags {
                layer[*flag] = true.into();
            }
            all.insert((*name).to_owned(), layer);
        }
        let mut buildpack = json!({ "key": id, "version": "1", "layers": all });
        if let Some(store) = store {
            buildpack["store"] = store.clone();
        }
        buildpack
    };
    of.iter().map(buildpack).collect()
}

fn collect(top: &Path, directory: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(top, &path, files);
        } else {
            let name = path.strip_prefix(top).expect("it is beneath").display().to_string();
            files.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
}

const STORES: [&str; 2] = ["acme_one/store.toml", "acme_two/store.toml"];

fn all_layers() -> (Vec<Layer>, Vec<Layer>) {
    (
        vec![LAUNCH, LAUNCH_BUILD_CACHE, LAUNCH_CACHE],
        vec![LAUNCH_BUILD_CACHE, LAUNCH_CACHE, CACHE, LAUNCH_CACHE_NOT_IN_APP],
    )
}

// row R1
#[test]
fn without_metadata_nothing_is_written() {
    let mut world = World::new(Vec::new(), Vec::new());
    world.app.clear();
    world.cache.clear();
    assert_eq!(world.names(), [""; 0]);
}

// row R2
#[test]
fn an_image_alone_gives_stores_and_plain_launch_layers() {
    let world = World::new(all_layers().0, Vec::new());
    assert_eq!(world.names(), ["acme_one/launch.toml", STORES[0], STORES[1]]);
    assert_eq!(world.restored()[STORES[0]], "[metadata]\n  kept = true\n");
}

// row R3
#[test]
fn a_cache_alone_gives_no_store() {
    let mut world = World::new(Vec::new(), vec![CACHE]);
    world.app.clear();
    assert_eq!(world.names(), ["acme_one/cache.toml", "acme_one/cache/content"]);
}

// row R4
#[test]
fn image_and_cache_give_all_layers_without_their_types() {
    let (app, cache) = all_layers();
    let restored = World::new(app, cache).restored();
    let names: Vec<&str> = restored.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "acme_one/cache.toml",
            "acme_one/cache/content",
            "acme_one/launch-build-cache.toml",
            "acme_one/launch-build-cache/content",
            "acme_one/launch-cache-not-in-app.toml",
            "acme_one/launch-cache-not-in-app/content",
            "acme_one/launch-cache.toml",
            "acme_one/launch-cache/content",
            "acme_one/launch.toml",
            STORES[0],
            STORES[1],
        ]
    );
    assert_eq!(restored["acme_one/launch-cache.toml"], "[metadata]\n  from = \"app\"\n");
    assert_eq!(restored["acme_one/cache.toml"], "[metadata]\n  from = \"cache\"\n");
    assert_eq!(restored["acme_one/cache/content"], "cache");
    assert!(restored.values().all(|text| !text.contains("[types]")));
}

// row R5
#[test]
fn a_launch_layer_that_the_image_lost_stays_away_before_platform_api_0_14() {
    let (app, cache) = all_layers();
    let mut world = World::new(app, cache);
    world.api = 13;
    let names = world.names();
    assert!(names.contains(&"acme_one/launch-cache/content".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("not-in-app")), "{names:?}");
}

// row R6
#[test]
fn layers_that_the_image_or_cache_is_not_to_give_back_stay_away() {
    let world = World::new(
        vec![LAUNCH_BUILD, LAUNCH_FALSE, CACHE_FALSE],
        vec![("cache-false", &["launch"])],
    );
    assert_eq!(world.names(), STORES);
}

// row R7
#[test]
fn slashes_in_the_id_of_a_buildpack_become_underscores() {
    let mut world = World::new(Vec::new(), Vec::new());
    world.app = BTreeMap::from([(
        "escaped/buildpack/id",
        vec![("escaped-bp-layer", ["launch"].as_slice())],
    )]);
    world.group = vec!["escaped/buildpack/id"];
    assert_eq!(
        world.names(),
        [
            "escaped_buildpack_id/escaped-bp-layer.toml",
            "escaped_buildpack_id/store.toml"
        ]
    );
}

// row R8
#[test]
fn a_cached_layer_of_the_image_that_the_cache_denies_stays_away() {
    let world = World::new(vec![("l", &["launch", "cache"])], vec![("l", &["launch"])]);
    assert_eq!(world.names(), STORES);
}

// row R9
#[test]
fn a_buildpack_that_was_not_detected_gets_nothing() {
    let mut world = World::new(Vec::new(), vec![CACHE]);
    world.app.clear();
    world.group = vec!["acme/two"];
    assert_eq!(world.names(), [""; 0]);
}

// row R10
#[test]
fn without_layers_only_the_stores_come_back() {
    let (app, cache) = all_layers();
    let mut world = World::new(app, cache);
    world.skip_layers = true;
    assert_eq!(world.names(), STORES);
}

// row R11
#[test]
fn a_cached_layer_with_other_contents_than_the_image_is_removed_with_its_file() {
    let mut world = World::new(vec![LAUNCH_CACHE], vec![LAUNCH_CACHE]);
    world.changed = vec!["launch-cache"];
    world.present = vec!["acme_one/launch-cache/stale"];
    assert_eq!(world.names(), STORES);
}

//! What a restore brings back from the cache.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use cnb_layers::cache::{Cache, CachedLayer, VolumeCache};
use cnb_layers::metadata::{
    BuildpackLayers, CacheMetadata, Data, Group, GroupBuildpack, LayerMetadata, LifecycleMetadata,
};
use cnb_layers::phase::{NoLog, PlatformApi};
use cnb_layers::restore::{RestoreInputs, restore};
use cnb_layers::{DiffId, LayerBuilder, LayerContent as _};
use serde_json::json;

/// A layers directory and a cache in which `some/bp/id` has a layer called `known`.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new(cached: bool) -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("there is room"),
        };
        for made in ["cache", "layers/some_bp_id"] {
            fs::create_dir_all(world.dir.path().join(made)).expect("there is room");
        }
        let content = LayerBuilder::new()
            .directory("/layers/some_bp_id/known", 0o755, 0, 0)
            .file("/layers/some_bp_id/known/file", 0o644, 0, 0, "data");
        let mut tar = Vec::new();
        content.write_tar(&mut tar).expect("memory takes all");
        let diff_id = DiffId::of(&tar);
        let cache = world.cache();
        let layer = CachedLayer {
            diff_id: &diff_id,
            content: &content,
            placed: None,
        };
        cache.add(&layer).expect("there is room");
        let known = LayerMetadata {
            sha: diff_id.to_string(),
            data: Data::from(&json!({"k": "v"})),
            build: false,
            launch: false,
            cache: cached,
        };
        let buildpack = BuildpackLayers {
            key: "some/bp/id".to_owned(),
            layers: [("known".to_owned(), known)].into(),
            ..BuildpackLayers::default()
        };
        let metadata = CacheMetadata {
            sbom: String::new(),
            buildpacks: Some(vec![buildpack]),
        };
        cache.commit(&metadata).expect("there is room");
        world
    }

    fn cache(&self) -> VolumeCache {
        VolumeCache::open(&self.dir.path().join("cache")).expect("it is a directory")
    }

    /// Leaves a layer's metadata as a platform may that keeps the layers directory.
    fn leave(&self, layer: &str) {
        let path = self.dir.path().join(format!("layers/some_bp_id/{layer}.toml"));
        fs::write(path, "[types]\ncache = true\n").expect("there is room");
    }

    fn restore(&self, cache: Option<&dyn Cache>) {
        let group = Group {
            buildpacks: vec![GroupBuildpack {
                id: "some/bp/id".to_owned(),
                version: "1".to_owned(),
                api: "0.10".to_owned(),
            }],
            extensions: Vec::new(),
        };
        let inputs = RestoreInputs {
            api: PlatformApi::NEWEST,
            layers_dir: Path::new("/layers"),
            root: self.dir.path(),
            group: &group,
            metadata: &LifecycleMetadata::default(),
            skip_layers: false,
            parallelism: NonZeroUsize::MIN,
            seals: None,
        };
        restore(&inputs, cache, &NoLog).expect("the layers directory can be written");
    }

    /// What the buildpack's directory holds.
    fn found(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("layers/some_bp_id")).expect("it is there");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("it is there").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().expect("it is text"))
            .collect();
        names.sort();
        names
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join("layers/some_bp_id").join(path)).expect("it is a file")
    }
}

// row 11.6/R1
#[test]
fn without_a_cache_no_data_comes_back() {
    let world = World::new(true);
    world.leave("known");
    world.restore(None);
    assert_eq!(world.found(), ["known.toml"]);
    assert_eq!(world.text("known.toml"), "[types]\ncache = true\n");
}

// row 11.6/R2
#[test]
fn a_layer_that_the_cache_does_not_know_keeps_its_metadata_and_gets_no_data() {
    let world = World::new(true);
    world.leave("unknown");
    world.restore(Some(&world.cache()));
    assert_eq!(world.found(), ["known", "known.toml", "unknown.toml"]);
    assert_eq!(world.text("unknown.toml"), "[types]\ncache = true\n");
}

// rows 11.6/R4 11.6/R9 11.6/R13
#[test]
fn a_layer_that_only_the_cache_knows_comes_back_with_its_metadata_and_its_data() {
    let world = World::new(true);
    world.restore(Some(&world.cache()));
    assert_eq!(world.found(), ["known", "known.toml"]);
    assert_eq!(world.text("known.toml"), "[metadata]\n  k = \"v\"\n");
    assert_eq!(world.text("known/file"), "data");
}

// row 11.6/R5
#[test]
fn a_layer_that_the_cache_says_is_not_cached_keeps_its_metadata_and_gets_no_data() {
    let world = World::new(false);
    world.leave("known");
    world.restore(Some(&world.cache()));
    assert_eq!(world.found(), ["known.toml"]);
    assert_eq!(world.text("known.toml"), "[types]\ncache = true\n");
}

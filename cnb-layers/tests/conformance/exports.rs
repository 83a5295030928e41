//! Which layers of an image are new, and what is said when it cannot be saved.

use std::fs;

use cnb_layers::cache::VolumeCache;
use cnb_layers::export::{ExportError, export_cache};
use cnb_layers::metadata::{
    Analyzed, BuildMetadata, Data, GroupBuildpack, LauncherVersion, LifecycleMetadata, ProjectMetadata, Report, labels,
};
use cnb_layers::phase::{LogLevel, MemoryLog, PlatformApi, with_causes};
use cnb_layers::{Compression, Image, ImageSource as _, MemoryStore, StoreEvent};

use crate::build::{Build, reference, run_image};
use crate::lines;

const APP: &str = "registry.example/acme/app:latest";
const RUN: &str = "registry.example/acme/run:1";

struct World {
    _dir: tempfile::TempDir,
    build: Build,
    store: MemoryStore,
}

impl World {
    /// A build of two buildpacks, of which the first has left two layers.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let mut build = Build::new(dir.path(), "acme/one", APP, RUN);
        build.group.buildpacks.push(GroupBuildpack {
            id: "acme/two".to_owned(),
            version: "2".to_owned(),
            api: "0.10".to_owned(),
        });
        build.write_app();
        build.write_layer_toml("known", "launch = true\n[metadata]\nn = 1");
        build.write("layers/acme_one/known/file", "known");
        build.write_layer_toml("cached", "launch = true\ncache = true");
        build.write("layers/acme_one/cached/file", "cached");
        build.write("layers/sbom/launch/acme_one/sbom.cdx.json", "{}");
        let store = MemoryStore::new();
        run_image("one")
            .push(&store, &[reference(RUN)], Compression::default())
            .expect("memory takes all");
        Self {
            _dir: dir,
            build,
            store,
        }
    }

    fn analyze(&self, log: &MemoryLog) -> Analyzed {
        self.build.analyze(&self.store, &self.store, &self.store, log)
    }

    fn export(&self) -> Result<(Report, MemoryLog), ExportError> {
        let log = MemoryLog::default();
        let analyzed = self.analyze(&log);
        let export = self.build.open(&analyzed, &self.store, &self.store, &log)?;
        let report = export.run(&log)?;
        Ok((report, log))
    }

    fn image(&self) -> Image {
        let image = self.store.image(&reference(APP), &self.build.platform);
        image.expect("it is readable").expect("it is there")
    }

    fn metadata(&self) -> LifecycleMetadata {
        let image = self.image();
        let label = image.label(labels::LIFECYCLE_METADATA).expect("it has one");
        LifecycleMetadata::from_label(label).expect("it is well formed")
    }
}

// rows 11.3/E4 11.3/E5 11.3/E6 11.3/E7 11.3/E9 11.3/E10 11.3/E11
#[test]
fn of_nine_layers_four_are_new_and_five_are_reused() {
    let world = World::new();
    world.export().expect("it can be exported");
    let before = world.metadata();
    world.store.take_events();

    // Of one layer only the metadata is left; each buildpack has a new layer; application and config have changed.
    fs::remove_dir_all(world.build.disk("layers/acme_one/known")).expect("it is there");
    world
        .build
        .write_layer_toml("known", "launch = true\n[metadata]\nn = 2");
    for buildpack in ["acme_one", "acme_two"] {
        let layer = format!("layers/{buildpack}/new");
        world.build.write(&format!("{layer}.toml"), "[types]\nlaunch = true\n");
        world.build.write(&format!("{layer}/file"), buildpack);
    }
    world.build.write("workspace/main.sh", "echo changed\n");
    let config = fs::read_to_string(world.build.disk("layers/config/metadata.toml")).expect("it is there");
    world
        .build
        .write("layers/config/metadata.toml", config.replace("run", "changed"));
    let (_, log) = world.export().expect("it can be exported");

    let said = lines(&log, LogLevel::Info);
    let which = |verb: &str| -> Vec<String> {
        let of = said.iter().filter_map(|line| line.strip_prefix(verb));
        of.map(|layer| layer.trim_matches('\'').to_owned()).collect()
    };
    assert_eq!(
        which("Adding layer "),
        ["acme/one:new", "acme/two:new", "buildpacksio/lifecycle:config"]
    );
    assert!(said.contains(&"Added 1/1 app layer(s)".to_owned()), "{said:?}");
    assert_eq!(
        which("Reusing layer "),
        [
            "acme/one:cached",
            "acme/one:known",
            "buildpacksio/lifecycle:launch.sbom",
            "buildpacksio/lifecycle:launcher",
            "buildpacksio/lifecycle:process-types",
        ]
    );
    let sent = world.store.take_events();
    let sent = sent
        .iter()
        .filter(|event| matches!(event, StoreEvent::BlobWritten { .. }));
    assert_eq!(sent.count(), 4 + 1, "four layers and the config");
    let base = world.image().layers().len() - 9;
    assert_eq!(base, 2, "of the run image");

    let after = world.metadata();
    let known =
        |metadata: &LifecycleMetadata| metadata.buildpacks.as_ref().expect("there are two")[0].layers["known"].clone();
    assert_eq!(known(&after).sha, known(&before).sha);
    let data = Data::Table([("n".to_owned(), Data::Float(2.0))].into());
    assert_eq!(known(&after).data, data);
}

// row 11.3/E22
#[test]
fn a_name_that_is_none_is_reported_and_the_others_are_saved() {
    let mut world = World::new();
    let log = MemoryLog::default();
    let analyzed = world.analyze(&log);
    world.build.names.push("not.a.tag@reference".to_owned());
    let export = world
        .build
        .open(&analyzed, &world.store, &world.store, &log)
        .expect("the run image is there");
    let error = export.run(&log).expect_err("a name cannot be used").to_string();
    let start = "failed to write image to the following tags: [not.a.tag@reference: could not parse reference";
    assert!(error.starts_with(start), "{error}");
    let said = lines(&log, LogLevel::Info);
    assert!(said.contains(&format!("      {APP}")), "{said:?}");
    let line = "      not.a.tag@reference - could not parse reference";
    assert!(said.iter().any(|said| said.starts_with(line)), "{said:?}");
    assert_eq!(world.image().layers().len(), 2 + 7);
}

// row 11.3/E23
#[test]
fn a_layer_without_contents_that_the_previous_image_does_not_know_is_refused() {
    for (buildpack, id) in [("acme_two", "acme/two:unknown"), ("acme_one", "acme/one:unknown")] {
        let mut world = World::new();
        let second = world.build.group.buildpacks.pop().expect("there are two");
        world.export().expect("it can be exported");
        // The first image knows the first buildpack alone.
        world.build.group.buildpacks.push(second);
        let toml = format!("layers/{buildpack}/unknown.toml");
        world.build.write(&toml, "[types]\nlaunch = true\n");
        let error = world.export().expect_err("nobody has the layer");
        assert_eq!(
            error.to_string(),
            format!("cannot reuse '{id}', previous image has no metadata for layer '{id}'")
        );
    }
}

// row 11.3/E25
#[test]
fn an_execution_environment_is_a_label_from_platform_api_0_15_on_and_none_is_no_label() {
    for (minor, exec_env, expected) in [
        (15, "development", Some("development")),
        (15, "", None),
        (14, "development", None),
    ] {
        let mut world = World::new();
        world.build.api = PlatformApi::new(minor).expect("it is known");
        world.build.exec_env = exec_env;
        world.export().expect("it can be exported");
        assert_eq!(world.image().label(labels::EXEC_ENV), expected, "{minor} {exec_env:?}");
    }
}

// rows 11.3/E32 11.3/E33
#[test]
fn a_report_leaves_out_what_is_not_known_and_names_an_image_by_digest_or_id() {
    let world = World::new();
    let (report, log) = world.export().expect("it can be exported");
    let (digest, size) = (world.image().digest().to_string(), world.image().manifest_json().len());
    let text = report.to_toml();
    let image = format!("[image]\n  tags = [\"{APP}\"]\n  digest = \"{digest}\"\n  manifest-size = {size}\n");
    assert_eq!(text, image);
    let said = lines(&log, LogLevel::Debug);
    assert!(said.contains(&format!("\n*** Manifest Size: {size}")), "{said:?}");

    let mut report = Report::default();
    report.tags = vec![APP.to_owned()];
    report.image_id = "sha256:id".to_owned();
    assert_eq!(
        report.to_toml(),
        format!("[image]\n  tags = [\"{APP}\"]\n  image-id = \"sha256:id\"\n")
    );
}

// row 11.2/L2
#[test]
fn a_layer_of_image_and_cache_is_the_same_and_is_said_to_be_made_once() {
    let world = World::new();
    let log = MemoryLog::default();
    let analyzed = world.analyze(&log);
    let export = world
        .build
        .open(&analyzed, &world.store, &world.store, &log)
        .expect("the run image is there");
    export.run(&log).expect("it can be exported");
    let place = world.build.disk("cache");
    fs::create_dir(&place).expect("there is room");
    let cache = VolumeCache::open(&place).expect("it is a directory");
    let log = MemoryLog::default();
    export_cache(&export, &cache, &log).expect("the cache can be written");
    let sha = world.metadata().buildpacks.expect("there are two")[0].layers["cached"]
        .sha
        .clone();
    let expected = format!("Reusing tarball for layer \"acme/one:cached\" with SHA: {sha}");
    let said = lines(&log, LogLevel::Debug);
    assert_eq!(said.iter().filter(|line| **line == expected).count(), 1, "{said:?}");
    assert!(place.join("committed").join(format!("{sha}.tar")).is_file());
}

#[test]
fn an_infinite_number_matters_only_for_a_layer_that_the_label_speaks_of() {
    let world = World::new();
    for types in ["build = true", "", "build = true\ncache = true"] {
        world.build.write("layers/acme_one/other/file", "other");
        world
            .build
            .write_layer_toml("other", &format!("{types}\n[metadata]\nn = inf\nd = 2024-01-02"));
        world.export().expect("the label does not speak of it");
    }
    world
        .build
        .write_layer_toml("other", "launch = true\n[metadata]\nn = [-inf]");
    let refused = world.export().expect_err("no label can hold it");
    assert_eq!(
        with_causes(&refused),
        "marshall metadata: json: unsupported value: -Inf"
    );
}

#[test]
fn an_infinite_number_in_a_store_or_a_project_is_refused_and_in_the_old_bill_of_materials_where_it_is_written() {
    let world = World::new();
    world.build.write("layers/acme_one/store.toml", "metadata = {n = nan}");
    let refused = world.export().expect_err("no label can hold it");
    assert_eq!(with_causes(&refused), "marshall metadata: json: unsupported value: NaN");
    // What is no table is dropped.
    world.build.write("layers/acme_one/store.toml", "metadata = nan");
    world.export().expect("there is nothing to hold");
    let bom = "[[bom]]\nname = \"a\"\nmetadata = {n = inf}\n[[bom]]\nname = \"b\"\nmetadata = \"dropped\"\n";
    let metadata = BuildMetadata::from_toml(bom).expect("it is well formed");
    let label = |minor| {
        metadata.to_label(
            &LauncherVersion::default(),
            PlatformApi::new(minor).expect("it is known"),
        )
    };
    assert!(label(9).is_ok());
    assert_eq!(label(8).unwrap_err().to_string(), "json: unsupported value: +Inf");
    let project = ProjectMetadata::from_toml("source = {version = {n = -inf}}").expect("it is well formed");
    assert_eq!(
        project.to_label().unwrap_err().to_string(),
        "json: unsupported value: -Inf"
    );
}

#[test]
fn a_cache_that_cannot_hold_an_infinite_number_stays_as_it_was() {
    let world = World::new();
    let dir = tempfile::tempdir().expect("there is room");
    let fill = || {
        let log = MemoryLog::default();
        let analyzed = world.analyze(&log);
        let export = world.build.open(&analyzed, &world.store, &world.store, &log);
        let export = export.expect("all is there");
        let cache = VolumeCache::open(dir.path()).expect("it is a directory");
        export_cache(&export, &cache, &log)
    };
    fill().expect("there is room");
    let before = fs::read(dir.path().join("committed/io.buildpacks.lifecycle.cache.metadata")).expect("it is there");
    world.build.write("layers/acme_one/other/file", "other");
    world
        .build
        .write_layer_toml("other", "cache = true\n[metadata]\nn = inf");
    let refused = fill().expect_err("no JSON can hold it");
    assert_eq!(
        with_causes(&refused),
        "setting cache metadata: json: unsupported value: +Inf"
    );
    let after = fs::read(dir.path().join("committed/io.buildpacks.lifecycle.cache.metadata")).expect("it is there");
    assert_eq!(after, before);
}

//! What an analysis asks registries, finds out, and brings back.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use cnb_layers::analyze::{AnalyzeError, AnalyzeInputs, analyze};
use cnb_layers::export::ExportError;
use cnb_layers::metadata::{Analyzed, labels};
use cnb_layers::phase::{Home, LogLevel, MemoryLog, NoLog, PlatformApi};
use cnb_layers::{
    Compression, Descriptor, Image, ImageError, ImageSource, MemoryStore, Platform, Reference, RegistryAccess,
};

use crate::build::{Build, reference, run_image};
use crate::lines;

const APP: &str = "registry.example/acme/app:1";
const RUN: &str = "registry.example/acme/run:1";

/// A registry that writes down what it is asked, and refuses to have one image written.
#[derive(Default)]
struct Asked {
    store: MemoryStore,
    read: Mutex<Vec<String>>,
    written: Mutex<Vec<String>>,
    refused: Option<&'static str>,
}

fn note(list: &Mutex<Vec<String>>, image: &Reference) {
    list.lock().expect("nobody panics").push(image.as_given().to_owned());
}

impl ImageSource for Asked {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        note(&self.read, reference);
        self.store.image(reference, platform)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        self.store.layer(reference, layer)
    }
}

impl RegistryAccess for Asked {
    fn check_read(&self, _image: &Reference) -> Result<(), ImageError> {
        Ok(())
    }

    fn check_write(&self, image: &Reference) -> Result<(), ImageError> {
        note(&self.written, image);
        match self.refused {
            Some(refused) if refused == image.as_given() => Err(ImageError::TooLarge {
                what: "the refusal".to_owned(),
                limit: 1,
            }),
            _ => Ok(()),
        }
    }
}

fn ask(registry: &Asked) -> Result<Analyzed, AnalyzeError> {
    run_image("one")
        .push(&registry.store, &[reference(RUN)], Compression::default())
        .expect("memory takes all");
    let inputs = AnalyzeInputs {
        api: PlatformApi::NEWEST,
        names: &[APP, "registry.example/other/app:2"].map(str::to_owned),
        previous_image: "registry.example/acme/previous:1",
        run_image: RUN,
        cache_image: Some("registry.example/acme/cache:1"),
        skip_layers: false,
        layers_dir: Path::new("/layers"),
        root: Path::new("/nowhere"),
        platform: &Platform::linux_amd64(),
        home: Home::Registry,
    };
    analyze(&inputs, registry, &registry.store, registry, &NoLog)
}

// row 11.5/N1
#[test]
fn previous_and_run_image_must_be_readable_and_cache_output_and_tags_writable() {
    let registry = Asked::default();
    ask(&registry).expect("all may be read and written");
    assert_eq!(
        *registry.read.lock().expect("nobody panics"),
        ["registry.example/acme/previous:1", RUN]
    );
    assert_eq!(
        *registry.written.lock().expect("nobody panics"),
        ["registry.example/acme/cache:1", APP, "registry.example/other/app:2"]
    );
}

// row 11.5/N17
#[test]
fn a_tag_that_may_not_be_written_is_named() {
    let registry = Asked {
        refused: Some("registry.example/other/app:2"),
        ..Asked::default()
    };
    let error = ask(&registry).expect_err("a tag is refused");
    assert_eq!(error.action(), "initialize analyzer");
    assert_eq!(
        error.to_string(),
        "validating registry write access: failed to ensure registry read/write access to registry.example/other/app:2"
    );
}

/// A build with a bill of materials, exported, whose layers directory is empty again.
struct Built {
    dir: tempfile::TempDir,
    build: Build,
    store: MemoryStore,
}

impl Built {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let build = Build::new(dir.path(), "acme/one", APP, RUN);
        let store = MemoryStore::new();
        let built = Self { dir, build, store };
        run_image("one")
            .label(labels::BASE_ID, "acme-base")
            .label(labels::DISTRO_NAME, "ubuntu")
            .label(labels::DISTRO_VERSION, "22.04")
            .push(&built.store, &[reference(RUN)], Compression::default())
            .expect("memory takes all");
        built
    }

    fn export(&self) -> Result<(), ExportError> {
        let build = &self.build;
        build.write_app();
        build.write_layer_toml("dependencies", "launch = true");
        build.write("layers/acme_one/dependencies/file", "x");
        build.write("layers/sbom/launch/acme_one/dependencies/sbom.cdx.json", "{}");
        let analyzed = self.analyze();
        let export = build.open(&analyzed, &self.store, &self.store, &NoLog)?;
        export.run(&NoLog)?;
        fs::remove_dir_all(build.disk("layers")).expect("it is there");
        fs::create_dir(build.disk("layers")).expect("there is room");
        Ok(())
    }

    fn analyze(&self) -> Analyzed {
        self.build.analyze(&self.store, &self.store, &self.store, &NoLog)
    }

    fn image(&self) -> Image {
        let image = self.store.image(&reference(APP), &self.build.platform);
        image.expect("it is readable").expect("it is there")
    }
}

// rows 11.5/N4 11.5/N5 11.5/N9 11.5/N10
#[test]
fn an_analysis_says_what_the_previous_image_and_the_run_image_are() {
    let built = Built::new();
    let first = built.analyze();
    assert_eq!(first.previous_image.as_deref(), Some(""));
    assert_eq!(first.metadata.buildpacks, None);
    let run_image = first.run_image.expect("it is there");
    let image = built.store.image(&reference(RUN), &built.build.platform);
    let digest = image.expect("it is readable").expect("it is there").digest().clone();
    assert_eq!(run_image.reference, format!("registry.example/acme/run@{digest}"));
    let target = run_image.target.expect("it is known");
    let distro = target.distro.expect("it has labels");
    assert_eq!(
        [&target.os, &target.arch, &target.id, &distro.name, &distro.version],
        ["linux", "amd64", "acme-base", "ubuntu", "22.04"]
    );

    built.export().expect("it can be exported");
    let second = built.analyze();
    let digest = built.image().digest().clone();
    assert_eq!(
        second.previous_image,
        Some(format!("registry.example/acme/app@{digest}"))
    );
    let layer = second.metadata.buildpacks.expect("there is one")[0].layers["dependencies"].clone();
    assert!(built.image().layer(&layer.sha.parse().expect("a diff id")).is_some());
}

// row 11.5/N10
#[test]
fn before_platform_api_0_12_an_analysis_says_nothing_of_the_target() {
    let mut built = Built::new();
    built.build.api = PlatformApi::new(11).expect("it is known");
    let run_image = built.analyze().run_image.expect("it is there");
    assert_eq!(run_image.target, None);
}

// rows 11.5/N3 11.5/N8 11.5/N18
#[test]
fn the_bills_of_materials_come_back_and_nothing_else_unless_layers_are_skipped() {
    for (minor, skip_layers, expected) in [
        (15, false, true),
        (8, false, true),
        (15, true, false),
        (7, false, false),
    ] {
        let built = Built::new();
        built.export().expect("it can be exported");
        let log = MemoryLog::default();
        let inputs = AnalyzeInputs {
            api: PlatformApi::new(minor).expect("it is known"),
            names: &[APP.to_owned()],
            previous_image: APP,
            run_image: RUN,
            cache_image: None,
            skip_layers,
            layers_dir: Path::new("/layers"),
            root: built.dir.path(),
            platform: &built.build.platform,
            home: Home::Registry,
        };
        analyze(&inputs, &built.store, &built.store, &built.store, &log).expect("all is there");
        let found = fs::read_dir(built.build.disk("layers")).expect("it is there");
        let found: Vec<_> = found.map(|entry| entry.expect("it is there").file_name()).collect();
        let restored: &[&str] = if expected { &["sbom"] } else { &[] };
        assert_eq!(found, restored, "{minor} {skip_layers}");
        let file = built
            .build
            .disk("layers/sbom/launch/acme_one/dependencies/sbom.cdx.json");
        assert_eq!(fs::read_to_string(file).is_ok_and(|text| text == "{}"), expected);
        let said = lines(&log, LogLevel::Info);
        let line = "Restoring data for SBOM from previous image".to_owned();
        assert_eq!(said.contains(&line), expected, "{said:?}");
    }
}

#[test]
fn bills_of_materials_of_a_build_with_another_layers_directory_are_left_out_with_a_warning() {
    let built = Built::new();
    built.export().expect("it can be exported");
    fs::create_dir(built.build.disk("other")).expect("there is room");
    let log = MemoryLog::default();
    let inputs = AnalyzeInputs {
        api: PlatformApi::NEWEST,
        names: &[APP.to_owned()],
        previous_image: APP,
        run_image: RUN,
        cache_image: None,
        skip_layers: false,
        layers_dir: Path::new("/other"),
        root: built.dir.path(),
        platform: &built.build.platform,
        home: Home::Registry,
    };
    let analyzed = analyze(&inputs, &built.store, &built.store, &built.store, &log).expect("all is there");
    assert!(analyzed.previous_image.is_some_and(|image| !image.is_empty()));
    let warnings = lines(&log, LogLevel::Warn);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let start = "Skipping restore of SBOM from previous image: entry \"/layers\" does not belong";
    assert!(warnings[0].starts_with(start), "{warnings:?}");
    for directory in ["layers", "other"] {
        let found = fs::read_dir(built.build.disk(directory)).expect("it is there");
        assert_eq!(found.count(), 0, "{directory}");
    }
}

// row 11.6/R25
#[test]
fn bills_of_materials_that_the_previous_image_lacks_are_an_error_and_none_at_all_are_not() {
    let sha = format!("sha256:{}", "a".repeat(64));
    let metadata = |sha: &str| format!(r#"{{"sbom":{{"sha":"{sha}"}}}}"#);
    let analyzed = |label: Option<String>| {
        let registry = Asked::default();
        if let Some(label) = label {
            run_image("one")
                .label(labels::LIFECYCLE_METADATA, label)
                .push(
                    &registry.store,
                    &[reference("registry.example/acme/previous:1")],
                    Compression::default(),
                )
                .expect("memory takes all");
        }
        ask(&registry).map(|_| ()).map_err(|error| error.to_string())
    };
    let error = analyzed(Some(metadata(&sha))).expect_err("the image has no such layer");
    assert_eq!(error, format!("restoring layer: previous image has no layer {sha:?}"));
    assert_eq!(analyzed(Some(metadata(""))), Ok(()));
    assert_eq!(analyzed(None), Ok(()));
}

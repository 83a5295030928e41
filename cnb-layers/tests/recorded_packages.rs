//! Buildpackages as pack made them.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cnb_layers::builder::write_buildpackage;
use cnb_layers::{Compression, MemoryStore, Reference, validate};
use serde_json::Value;
use support::{fixture, mode, text};

fn write_source(dir: &Path, files: &Value) {
    for (name, file) in files.as_object().expect("files") {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text(file, "content")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode(file, 0o644))).expect("chmod");
    }
}

#[test]
fn packages_have_the_labels_and_layers_that_were_recorded() {
    let recorded = fixture("builders/package/cases.json");
    let dir = tempfile::tempdir().expect("temp dir");
    for (name, files) in recorded["sources"].as_object().expect("sources") {
        write_source(&dir.path().join(name), files);
    }
    let tag = Reference::parse("reg.example/bp/package:1").expect("a reference");
    for case in recorded["cases"].as_array().expect("cases") {
        let name = text(case, "name");
        let dependencies: Vec<PathBuf> = case["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| dir.path().join(name.as_str().expect("a name")))
            .collect();
        let store = MemoryStore::new();
        let made = write_buildpackage(
            &dir.path().join(text(case, "main")),
            &dependencies,
            &store,
            std::slice::from_ref(&tag),
            Compression::default(),
        );
        match (made, case["error"].as_str()) {
            (Err(error), Some(expected)) => assert_eq!(format!("ERROR: {error}"), expected, "{name}"),
            (Ok(image), None) => {
                let ours: Vec<String> = image.layers().iter().map(|layer| layer.diff_id.to_string()).collect();
                let theirs: Vec<&str> = case["layers"]
                    .as_array()
                    .expect("layers")
                    .iter()
                    .map(|layer| text(layer, "diffId"))
                    .collect();
                assert_eq!(ours, theirs, "{name}");
                assert_eq!(
                    std::str::from_utf8(image.config_json()).expect("JSON"),
                    text(case, "config"),
                    "{name}"
                );
                assert!(validate(&store, &tag, &image).is_empty(), "{name}");
            }
            (made, expected) => panic!("{name}: {made:?}, but expected {expected:?}"),
        }
    }
}

//! Labels and files that phases leave for each other: what is accepted is written so that it is read as the same.
#![no_main]

use cnb_layers::metadata::{
    Analyzed, BuildMetadata, CacheMetadata, Group, LayerToml, LifecycleMetadata, ProjectMetadata, RunToml, StackToml,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(metadata) = LifecycleMetadata::from_label(text) {
        let label = metadata.to_label().expect("all of it comes from JSON");
        let again = LifecycleMetadata::from_label(&label).expect("what was written is a label");
        assert_eq!(again.to_label(), Ok(label));
    }
    if let Ok(metadata) = CacheMetadata::from_json(text) {
        let again = CacheMetadata::from_json(&metadata.to_json().expect("all of it comes from JSON")).expect("what was written is metadata");
        assert_eq!(again.to_json(), metadata.to_json());
    }
    if let Ok(analyzed) = Analyzed::from_toml(text) {
        let written = analyzed.to_toml().expect("all of it comes from TOML");
        let again = Analyzed::from_toml(&written).expect("what was written is analyzed.toml");
        assert_eq!(again.to_toml(), Ok(written));
    }
    let _ = LayerToml::from_toml(text);
    let _ = Group::from_toml(text);
    let _ = BuildMetadata::from_toml(text);
    let _ = ProjectMetadata::from_toml(text);
    let _ = RunToml::from_toml(text);
    let _ = StackToml::from_toml(text);
});

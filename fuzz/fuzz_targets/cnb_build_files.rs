//! What buildpacks write, and metadata.toml.
#![no_main]

use cnb_build::launch::LaunchMetadata;
use cnb_build::{BuildMetadata, BuildToml, LaunchToml, LayerMetadata};
use cnb_order::ApiVersion;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for minor in [7, 8, 9, 12] {
        let _ = LaunchToml::from_toml(text, ApiVersion::new(0, minor), "acme/node");
    }
    let _ = BuildToml::from_toml(text);
    let _ = LaunchMetadata::from_toml(text);
    if let Ok(layer) = LayerMetadata::from_toml(text, "layer.toml") {
        LayerMetadata::from_toml(&layer.to_toml_without_types(), "layer.toml").expect("what is written is read");
    }
    if let Ok(metadata) = BuildMetadata::from_toml(text) {
        let written = metadata.to_toml(ApiVersion::new(0, 15));
        // The reference writes DEL raw into commands, which is no TOML.
        if !written.contains('\u{7f}') {
            let again = BuildMetadata::from_toml(&written).expect("what is written is read");
            assert_eq!(again.to_toml(ApiVersion::new(0, 15)), written);
        }
    }
});

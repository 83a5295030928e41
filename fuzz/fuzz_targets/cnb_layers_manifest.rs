//! A manifest or config that is accepted is written so that it is read as the same.
#![no_main]

use cnb_layers::{ImageConfig, Index, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let _ = Index::from_json(json);
    if let Ok(manifest) = Manifest::from_json(json) {
        let again = Manifest::from_json(&manifest.to_json()).expect("what was written is a manifest");
        assert_eq!(again.to_json(), manifest.to_json());
    }
    if let Ok(config) = ImageConfig::from_json(json) {
        let again = ImageConfig::from_json(&config.to_json()).expect("what was written is a config");
        assert_eq!(again.to_json(), config.to_json());
    }
});

//! The readers of small texts and of labels.
#![no_main]

use cnb_order::{ApiVersion, BuilderMetadata, BuildpackLayersLabel, BuildpackageMetadata, LenientVersion, OrderLabel, OsRelease};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(version) = text.parse::<ApiVersion>() {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    let _ = LenientVersion::parse(text);
    let _ = OsRelease::parse(text);
    let _ = OrderLabel::from_json(text);
    let _ = BuildpackLayersLabel::from_json(text);
    let _ = BuilderMetadata::from_json(text);
    let _ = BuildpackageMetadata::from_json(text);
});

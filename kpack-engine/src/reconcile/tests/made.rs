//! The layers that the reference made, and what becomes of our digests when its compressor is put in place of ours.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use serde_json::Value;

use super::builders::fixture;
use super::registry::digest;

struct Made {
    digest: String,
    size: u64,
}

/// By diff id.
static MADE: LazyLock<BTreeMap<String, Made>> = LazyLock::new(|| {
    let made = fixture("made-layers.json");
    let layers = made.as_object().unwrap().iter();
    let layers = layers
        .filter(|(digest, _)| digest.starts_with("sha256:"))
        .map(|(digest, layer)| {
            let made = Made {
                digest: digest.clone(),
                size: layer["size"].as_u64().unwrap(),
            };
            (layer["diffId"].as_str().unwrap().to_owned(), made)
        });
    layers.collect()
});

/// The recorded layer of the same content.
fn recorded(blob: &[u8]) -> Option<&'static Made> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(blob).read_to_end(&mut plain).ok()?;
    MADE.get(&digest(&plain))
}

/// The digest that the reference has for a layer of the same content.
pub(super) fn recorded_digest(blob: &[u8]) -> Option<String> {
    recorded(blob).map(|made| made.digest.clone())
}

/// A manifest with digests and sizes of the recorded layers; `None` when not all three that a builder has are recorded.
pub(super) fn canonical_manifest(manifest: &[u8], blob: impl Fn(&str) -> Option<Vec<u8>>) -> Option<String> {
    let parsed: Value = serde_json::from_slice(manifest).ok()?;
    let mut text = std::str::from_utf8(manifest).ok()?.to_owned();
    let mut made_here = 0;
    for layer in parsed["layers"].as_array()? {
        let (ours, size) = (layer["digest"].as_str()?, layer["size"].as_u64()?);
        let Some(made) = blob(ours).and_then(|blob| recorded(&blob)) else {
            continue;
        };
        let from = format!("\"size\":{size},\"digest\":\"{ours}\"");
        assert!(text.contains(&from), "the manifest is written in another order: {text}");
        text = text.replace(&from, &format!("\"size\":{},\"digest\":\"{}\"", made.size, made.digest));
        made_here += 1;
    }
    (made_here == 3).then_some(text)
}

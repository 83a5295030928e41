//! What is accepted as a url is shown without its password and in a form that is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source_fetch::{BlobUrl, GitUrl, fuzzing};

fuzz_target!(|text: &str| {
    let _ = fuzzing::gitmodules(text);
    let _ = text.parse::<BlobUrl>();
    let Ok(url) = text.parse::<GitUrl>() else { return };
    assert!(!url.host().starts_with('-'));
    let shown = url.to_string();
    // `user@host:path` is shown as the ssh url that it is.
    let again: GitUrl = shown.parse().expect("what is shown is a url");
    assert_eq!(again.to_string(), shown);
});

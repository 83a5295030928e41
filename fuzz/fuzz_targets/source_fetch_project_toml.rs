//! A project descriptor is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source_fetch::ProjectDescriptor;

fuzz_target!(|text: &str| {
    if let Ok(found) = ProjectDescriptor::parse(text, "project.toml".as_ref()) {
        assert!(found.include.is_none() || found.exclude.is_none());
    }
});

//! What is accepted as a reference is printed so that it is read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry_auth::Reference;

fuzz_target!(|text: &str| {
    let _ = Reference::parse_strict(text);
    if let Ok(reference) = Reference::parse(text) {
        let again = Reference::parse(&reference.to_string()).expect("what is printed is accepted");
        assert_eq!(reference.to_string(), again.to_string());
    }
});

//! What a git server says is read, or refused, and never believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source_fetch::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let received = fuzzing::conversation(bytes);
    assert!(received <= bytes.len());
});

//! Lines are read, and those that are written are read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source_fetch::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::lines(bytes);
});

//! Packs of git servers: it does not matter where they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source_fetch::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else { return };
    fuzzing::pack(bytes, usize::from(*size) + 1);
});

//! Whatever an archive holds, it is unpacked beneath the directory and nowhere else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use source_fetch::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some((strip, bytes)) = bytes.split_first() else { return };
    let outside = tempfile::tempdir().expect("a directory");
    let dir = outside.path().join("inside");
    std::fs::create_dir(&dir).expect("made");
    fuzzing::unpack(bytes, &dir, u32::from(strip % 4));
    let count = std::fs::read_dir(outside.path()).expect("readable").count();
    assert_eq!(count, 1, "it escaped");
});

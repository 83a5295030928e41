//! Any bytes read as a tar end in an end or an error, and extracting them leaves nothing outside.
#![no_main]

use cnb_layers::tar::TarReader;
use cnb_layers::{UnpackOptions, UnpackOwners, unpack_tar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut tar = TarReader::new(bytes);
    while let Ok(Some(_)) = tar.next() {}
    let outer = tempfile::tempdir().expect("there is room");
    let root = outer.path().join("root");
    std::fs::create_dir(&root).expect("there is room");
    let options = UnpackOptions {
        owners: UnpackOwners::Caller,
        ..UnpackOptions::default()
    };
    let _ = unpack_tar(&mut &*bytes, &root, &options);
    let names: Vec<_> = std::fs::read_dir(outer.path()).expect("it is there").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["root"]);
});

//! How much memory an export needs.
#![allow(
    clippy::print_stdout,
    reason = "the process that is measured tells its peak that way"
)]

#[path = "support/build.rs"]
mod build;
#[path = "support/discard.rs"]
mod discard;

use std::env;
use std::fs;
use std::process::Command;

use build::{Build, reference, run_image};
use cnb_layers::phase::NoLog;
use cnb_layers::{AllowAll, Compression, MemoryStore};
use discard::Discard;

const APP: &str = "registry.example/acme/app:latest";
const RUN: &str = "registry.example/acme/run:1";
const SMALL: u64 = 10 << 20;
/// Tells the process that is measured how large its layers are, in bytes.
const SIZE: &str = "CNB_LAYERS_TEST_SIZE";

/// Exports a layer with a file of this size beside one of 10 MB, and prints the peak of resident memory.
fn measure(size: u64) {
    let dir = tempfile::tempdir().expect("there is room");
    let build = Build::new(dir.path(), "acme/large", APP, RUN);
    build.write_app();
    for (layer, size) in [("one", size), ("two", SMALL)] {
        build.write_layer_toml(layer, "launch = true");
        build.write(&format!("layers/acme_large/{layer}/data"), "");
        let file = fs::File::options()
            .write(true)
            .open(build.disk(&format!("layers/acme_large/{layer}/data")));
        file.and_then(|file| file.set_len(size)).expect("a hole takes no room");
    }
    let target = Discard(MemoryStore::new());
    let pushed = run_image("one").push(&target.0, &[reference(RUN)], Compression::default());
    pushed.expect("memory takes all");
    let analyzed = build.analyze(&target, &target, &AllowAll, &NoLog);
    let export = build.open(&analyzed, &target, &target, &NoLog);
    export
        .expect("the images are there")
        .run(&NoLog)
        .expect("it can be exported");
    let status = fs::read_to_string("/proc/self/status").expect("it is readable");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak {}", peak.expect("there is a peak").trim());
}

/// Compares the peak for a layer of this size with that for a small one; `test` is the test that is run for each.
fn compare(test: &str, size: u64) {
    if let Ok(size) = env::var(SIZE) {
        return measure(size.parse().expect("it is a number"));
    }
    let peak = |size: u64| -> u64 {
        let output = Command::new(env::current_exe().expect("this program exists"))
            .args([test, "--exact", "--nocapture", "--include-ignored"])
            .env(SIZE, size.to_string())
            .output()
            .expect("this program can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        let peak = text.lines().find_map(|line| line.split_once("peak "));
        let kib = peak.and_then(|(_, peak)| peak.strip_suffix(" kB")?.parse().ok());
        kib.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let (small, large) = (peak(SMALL), peak(size));
    assert!(
        large < small + 3 * 1024,
        "peak memory: {small} KiB for a layer of {SMALL} bytes, {large} KiB for one of {size}"
    );
}

#[test]
fn an_export_needs_no_more_memory_for_a_layer_of_400_mb_than_for_one_of_10_mb() {
    let name = "an_export_needs_no_more_memory_for_a_layer_of_400_mb_than_for_one_of_10_mb";
    compare(name, 400 << 20);
}

#[test]
#[ignore = "takes half a minute of processor time; `.ci/run large` runs it"]
fn an_export_needs_no_more_memory_for_a_layer_of_2_gb_than_for_one_of_10_mb() {
    let name = "an_export_needs_no_more_memory_for_a_layer_of_2_gb_than_for_one_of_10_mb";
    compare(name, 2 << 30);
}

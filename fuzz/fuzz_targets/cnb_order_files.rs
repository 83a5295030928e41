//! All readers of files: none panics, and what is written again reads the same.
#![no_main]

use cnb_order::{
    Analyzed, BuildPlan, BuilderConfig, BuildpackDescriptor, DetectedGroup, ExtensionDescriptor, Order, PackageConfig,
    Plan, RunInfo, SystemBuildpacks,
};
use libfuzzer_sys::fuzz_target;

macro_rules! round_trip {
    ($text:expr, $($format:ty),*) => {$(
        if let Ok(read) = <$format>::from_toml($text) {
            let again = <$format>::from_toml(&read.to_toml()).expect("what is written is read");
            assert_eq!(again.to_toml(), read.to_toml());
        }
    )*};
}

fuzz_target!(|text: &str| {
    round_trip!(text, DetectedGroup, Plan, Order, RunInfo, Analyzed, BuilderConfig, PackageConfig);
    let _ = BuildpackDescriptor::from_toml(text, &["build"]);
    let _ = ExtensionDescriptor::from_toml(text, &["generate"]);
    let _ = BuildPlan::from_toml(text);
    let _ = SystemBuildpacks::from_toml(text);
    let _ = RunInfo::from_stack_toml(text);
});

//! The examples as programs.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Returns an example as its source is now: `cargo test --test NAME` alone does not build it. Always the same one in
/// one program of tests.
pub(crate) fn built(example: &str) -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = env::current_exe().expect("the test has a path");
        // `…/debug/deps/doctor-0123`: examples are beside `deps`, and the profile is the folder's name.
        let profile = test.ancestors().nth(2).expect("it is beneath a profile's folder");
        // Started without cargo, it is what was built along with the tests.
        if let Some(cargo) = env::var_os("CARGO") {
            let name = match profile.file_name().and_then(OsStr::to_str) {
                Some("debug") | None => "dev",
                Some(name) => name,
            };
            let mut build = Command::new(cargo);
            // What cargo tells this test of its package would make build scripts run again.
            let told = |name: &OsStr| {
                let name = name.to_string_lossy().into_owned();
                ["CARGO_PKG_", "CARGO_MANIFEST_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            };
            for (name, _) in env::vars_os().filter(|(name, _)| told(name)) {
                build.env_remove(name);
            }
            let built = build
                .args(["build", "--offline", "--quiet", "--example", example, "--profile", name])
                .arg("--target-dir")
                .arg(profile.parent().expect("it is beneath the target folder"))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(built.is_ok_and(|status| status.success()), "the example is not built");
        }
        profile.join("examples").join(example)
    })
}

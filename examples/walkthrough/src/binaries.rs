//! This project's own programs, built as the walk-through itself was.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// Builds `kp`, `kpackd`, `lifecycle` and `launcher`, and returns the directory they are in.
///
/// # Errors
/// When cargo can't be run, or fails: the error holds its words.
pub fn build_binaries() -> anyhow::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.current_dir(&workspace).args(["build", "--quiet", "--locked"]);
    // Named without their packages, as the alias `demo` names the walk-through: so cargo chooses the same features for
    // both, and builds nothing twice.
    for name in ["kp", "kpackd", "lifecycle", "launcher"] {
        command.args(["--bin", name]);
    }
    // What cargo told this program about its own package would make build scripts run anew, and with them half of the
    // dependencies.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    if profile == "release" {
        command.arg("--release");
    }
    let output = command.output().context("cannot run cargo to build the programs")?;
    if !output.status.success() {
        bail!(
            "cargo could not build the programs:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(target_directory(&cargo, &workspace)?.join(profile))
}

fn target_directory(cargo: &std::ffi::OsStr, workspace: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new(cargo)
        .current_dir(workspace)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

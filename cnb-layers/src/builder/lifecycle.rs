use std::path::PathBuf;

use cnb_order::{ApiLists, ApiPair, ApiSet, BUILDPACK_APIS, BuilderMetadata, LifecycleApis, PLATFORM_APIS};
use registry_auth::Reference;

use crate::{BaseImage, Compression, Image, ImageTarget, LayerBuilder, Platform, UploadError};

/// The names under which the lifecycle program is called; all lead to the one program.
const PHASES: [&str; 9] = [
    "analyzer",
    "builder",
    "creator",
    "detector",
    "exporter",
    "extender",
    "rebaser",
    "restorer",
    "lifecycle",
];

/// The programs of a lifecycle image.
#[derive(Clone, Debug)]
pub struct LifecycleImage {
    /// The version that builders record, such as `0.21.17`.
    pub version: String,
    /// What the programs run on.
    pub platform: Platform,
    /// The program of all phases, on this machine.
    pub lifecycle: PathBuf,
    /// The launcher, on this machine.
    pub launcher: PathBuf,
}

/// Makes a lifecycle image, in the form that kpack takes one, and writes it to `tags`.
///
/// Its one layer holds `/cnb/lifecycle`: the program `lifecycle`, links to it under the names of the
/// phases, the `launcher` and `lifecycle.toml`.
///
/// # Errors
/// When a program cannot be read, or `target` fails.
pub fn lifecycle_image(
    programs: &LifecycleImage,
    target: &dyn ImageTarget,
    tags: &[Reference],
    compression: Compression,
) -> Result<Image, UploadError> {
    let apis = LifecycleApis {
        buildpack: versions(&BUILDPACK_APIS),
        platform: versions(&PLATFORM_APIS),
    };
    let first = |lists: &ApiLists| lists.supported.iter().flatten().next().cloned().unwrap_or_default();
    let api = ApiPair {
        buildpack: first(&apis.buildpack),
        platform: first(&apis.platform),
    };
    let label = serde_json::json!({
        "lifecycle": { "version": programs.version, "apis": apis },
        "api": api,
    });
    let mut layer = LayerBuilder::new()
        .directory("/cnb", 0o755, 0, 0)
        .directory("/cnb/lifecycle", 0o755, 0, 0)
        .file(
            "/cnb/lifecycle/lifecycle.toml",
            0o644,
            0,
            0,
            lifecycle_toml(&programs.version, &apis),
        )
        .file_from("/cnb/lifecycle/lifecycle", 0o755, 0, 0, &programs.lifecycle)
        .file_from("/cnb/lifecycle/launcher", 0o755, 0, 0, &programs.launcher);
    for phase in PHASES.into_iter().filter(|phase| *phase != "lifecycle") {
        layer = layer.symlink(format!("/cnb/lifecycle/{phase}"), "lifecycle", 0o777, 0, 0);
    }
    BaseImage::new(programs.platform.clone())
        .layer("lifecycle", layer)
        .working_dir("/layers")
        .label("io.buildpacks.lifecycle.version", &programs.version)
        .label(LifecycleApis::LABEL, apis.to_json())
        .label(BuilderMetadata::LABEL, cnb_order::go_json(&label))
        .push(target, tags, compression)
}

fn versions(set: &ApiSet) -> ApiLists {
    let list = |versions: &[cnb_order::ApiVersion]| versions.iter().map(ToString::to_string).collect();
    ApiLists {
        deprecated: Some(list(set.deprecated())),
        supported: Some(list(set.supported())),
    }
}

fn lifecycle_toml(version: &str, apis: &LifecycleApis) -> String {
    let list = |lists: &Option<Vec<String>>| {
        let quoted: Vec<String> = lists.iter().flatten().map(|version| format!("\"{version}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let versions = |lists: &ApiLists| {
        format!(
            "    deprecated = {}\n    supported = {}\n",
            list(&lists.deprecated),
            list(&lists.supported)
        )
    };
    format!(
        "[lifecycle]\n  version = \"{}\"\n\n[apis]\n  [apis.buildpack]\n{}  [apis.platform]\n{}",
        version,
        versions(&apis.buildpack),
        versions(&apis.platform)
    )
}

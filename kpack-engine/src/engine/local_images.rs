//! The images that the engine brings: the lifecycle, and the programs of build pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cnb_layers::builder::{LifecycleImage, lifecycle_image};
use cnb_layers::{BaseImage, Compression, ImageSource, ImageTarget, LayerBuilder, LayoutStore, Platform};
use rebuild_policy::HelperImages;
use registry_auth::Reference;

use super::StartEngineError;
use super::ssh_layer::SshFiles;
use crate::runner::LOCAL_HOST;

/// The names under which the program of build pods is called in its image.
const HELPERS: [&str; 3] = ["build-init", "completion", "rebase"];

/// The programs on this machine that become images; all must run without libraries of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Runs `build-init`, `completion` and `rebase` when it is called so: `kpackd` itself.
    pub helper: PathBuf,
    /// Runs the phases of a build.
    pub lifecycle: PathBuf,
    /// Starts the processes of built images.
    pub launcher: PathBuf,
}

impl Programs {
    /// Finds `lifecycle` and `launcher` beside `kpackd`.
    pub fn beside(kpackd: impl Into<PathBuf>) -> Self {
        let helper = kpackd.into();
        Self {
            lifecycle: helper.with_file_name("lifecycle"),
            launcher: helper.with_file_name("launcher"),
            helper,
        }
    }
}

/// The names of the engine's own images.
pub(super) struct LocalImages {
    pub(super) lifecycle: String,
    pub(super) helpers: HelperImages,
}

/// Makes the images anew if the programs are not those that they were made of.
pub(super) fn make(layout: &LayoutStore, programs: &Programs) -> Result<LocalImages, StartEngineError> {
    let version = env!("CARGO_PKG_VERSION");
    let names = LocalImages {
        lifecycle: format!("{LOCAL_HOST}/lifecycle:{version}"),
        helpers: HelperImages {
            build_init: format!("{LOCAL_HOST}/build-init:{version}"),
            completion: format!("{LOCAL_HOST}/completion:{version}"),
            rebase: format!("{LOCAL_HOST}/rebase:{version}"),
            build_waiter: String::new(),
        },
    };
    let ssh = SshFiles::find();
    let stamp = stamp(programs, &ssh)?;
    let stamp_file = layout.dir().join("made-of");
    let lifecycle = reference(&names.lifecycle);
    let platform = platform();
    let is_there = layout.image(&lifecycle, &platform).is_ok_and(|image| image.is_some());
    if is_there && fs::read_to_string(&stamp_file).is_ok_and(|made_of| made_of == stamp) {
        return Ok(names);
    }
    tracing::info!("making the images of the lifecycle and of the programs of build pods");
    let lifecycle_programs = LifecycleImage {
        version: version.to_owned(),
        platform: platform.clone(),
        lifecycle: programs.lifecycle.clone(),
        launcher: programs.launcher.clone(),
    };
    lifecycle_image(&lifecycle_programs, layout, &[lifecycle], Compression::default()).map_err(|source| {
        StartEngineError::LocalImage {
            image: names.lifecycle.clone(),
            source,
        }
    })?;
    helper_images(layout, &programs.helper, &ssh, &names.helpers, platform)?;
    fs::write(&stamp_file, stamp).map_err(|source| StartEngineError::Io {
        action: "write",
        path: stamp_file,
        source,
    })?;
    Ok(names)
}

/// Users and groups by name: ssh wants to know who it is. Stacks have their users from 1000 on.
pub(super) fn users() -> LayerBuilder {
    use std::fmt::Write as _;
    let (mut users, mut groups) = ("root:x:0:0:root:/:/sbin/nologin\n".to_owned(), "root:x:0:\n".to_owned());
    for id in 1000..2000 {
        let _ = writeln!(users, "cnb{id}:x:{id}:{id}:cnb:/:/sbin/nologin");
        let _ = writeln!(groups, "cnb{id}:x:{id}:");
    }
    LayerBuilder::new()
        .directory("/etc", 0o755, 0, 0)
        .file("/etc/passwd", 0o644, 0, 0, users)
        .file("/etc/group", 0o644, 0, 0, groups)
}

/// One image under three names: the program knows by the name it is called by what to do.
fn helper_images(
    layout: &LayoutStore,
    helper: &Path,
    ssh: &SshFiles,
    names: &HelperImages,
    platform: Platform,
) -> Result<(), StartEngineError> {
    let [program, links @ ..] = HELPERS;
    let mut layer = LayerBuilder::new()
        .directory("/cnb", 0o755, 0, 0)
        .directory("/cnb/process", 0o755, 0, 0)
        .file_from(format!("/cnb/process/{program}"), 0o755, 0, 0, helper)
        .directory("/tmp", 0o1777, 0, 0);
    for link in links {
        layer = layer.symlink(format!("/cnb/process/{link}"), program, 0o777, 0, 0);
    }
    let first = reference(&names.build_init);
    // Not root, as kpack's pods demand.
    let mut image = BaseImage::new(platform).layer("kpackd", layer).layer("users", users());
    if !ssh.is_empty() {
        image = image.layer("ssh", ssh.layer());
    }
    let image = image
        .user("1000:1000")
        .push(layout, std::slice::from_ref(&first), Compression::default())
        .map_err(|source| StartEngineError::LocalImage {
            image: names.build_init.clone(),
            source,
        })?;
    for name in [&names.completion, &names.rebase] {
        layout
            .put_manifest(&reference(name), image.media_type(), image.manifest_json())
            .map_err(|source| StartEngineError::Layout { source })?;
    }
    Ok(())
}

fn platform() -> Platform {
    Platform::linux(match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    })
}

fn reference(text: &str) -> Reference {
    text.parse().expect("names of the engine's own images are valid")
}

/// Says what the images are made of, without reading the programs: they are large.
fn stamp(programs: &Programs, ssh: &SshFiles) -> Result<String, StartEngineError> {
    let mut text = format!("{}\n", env!("CARGO_PKG_VERSION"));
    let programs = [&programs.helper, &programs.lifecycle, &programs.launcher];
    for path in programs.into_iter().map(PathBuf::as_path).chain(ssh.iter()) {
        let metadata = fs::metadata(path).map_err(|source| StartEngineError::Program {
            path: path.to_owned(),
            source,
        })?;
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed = changed.unwrap_or_default().as_nanos();
        text += &[
            path.display().to_string(),
            metadata.len().to_string(),
            changed.to_string(),
        ]
        .join(" ");
        text.push('\n');
    }
    Ok(text)
}

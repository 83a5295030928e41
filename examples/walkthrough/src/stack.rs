//! A stack made here: Debian with Python, as build image and as run image.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, bail};
use cnb_layers::{BaseImage, Compression, LayerBuilder, LayoutStore, Platform, Reference, RegistryStore, copy_image};
use registry_client::Client;

/// The id that build and run image carry.
pub(crate) const ID: &str = "demo.stacks.bookworm";

/// The names of the images in the registry.
pub(crate) struct Images {
    pub(crate) build: String,
    pub(crate) run: String,
    /// The run image with a newer file in it, for the update of the stack.
    pub(crate) newer_run: String,
}

/// What the run image holds beyond Debian's smallest variant.
const RUN_PACKAGES: &str = "python3,ca-certificates";
/// What only building needs: pip and what it leans on.
const BUILD_PACKAGES: &str = "python3,python3-pip,python3-venv,ca-certificates,git,curl";

/// Bumped when what follows makes other images.
const EDITION: &str = "1";

/// Makes the images, or takes them from `cache`; returns the directory of their OCI layout.
pub(crate) fn make(cache: &Path) -> anyhow::Result<PathBuf> {
    let layout = cache.join(format!("stack-{EDITION}"));
    let done = layout.join("complete");
    if done.exists() {
        return Ok(layout);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make the cache directory {}", cache.display()))?;
    let work = tempfile::Builder::new().prefix("stack-").tempdir_in(cache)?;
    let trees = thread::scope(|scope| {
        let build = scope.spawn(|| bootstrap(&work.path().join("build.tar"), BUILD_PACKAGES));
        let run = bootstrap(&work.path().join("run.tar"), RUN_PACKAGES);
        let build = build
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that bootstraps failed"))?;
        anyhow::Ok((build?, run?))
    })?;
    // A layout that was left half-made by an earlier run is made anew.
    if layout.exists() {
        fs::remove_dir_all(&layout)?;
    }
    let store = LayoutStore::create(&layout)?;
    let push = |image: BaseImage, tag: &str| -> anyhow::Result<()> {
        image.push(&store, &[reference(tag)?], Compression::default())?;
        Ok(())
    };
    push(
        base(&trees.0)
            .env("CNB_USER_ID", "1000")
            .env("CNB_GROUP_ID", "1000")
            .env("CNB_STACK_ID", ID),
        "build",
    )?;
    push(base(&trees.1).layer("release", release("1")), "run")?;
    push(base(&trees.1).layer("release", release("2")), "newer-run")?;
    fs::write(done, "")?;
    Ok(layout)
}

/// Puts the images of the layout into the registry, as if somebody had published them there.
pub(crate) fn publish(layout: &Path, client: &Client, prefix: &str) -> anyhow::Result<Images> {
    let store = LayoutStore::open(layout)?;
    let target = RegistryStore::new(client.clone());
    let copy = |tag: &str, name: String| -> anyhow::Result<String> {
        copy_image(&store, &reference(tag)?, &target, &[name.parse()?], &|_| {})?;
        Ok(name)
    };
    Ok(Images {
        build: copy("build", format!("{prefix}/stack/build:bookworm"))?,
        run: copy("run", format!("{prefix}/stack/run:bookworm"))?,
        newer_run: copy("newer-run", format!("{prefix}/stack/run:bookworm-2"))?,
    })
}

fn reference(tag: &str) -> anyhow::Result<Reference> {
    Ok(format!("stack.local/debian:{tag}").parse()?)
}

fn base(tar: &Path) -> BaseImage {
    BaseImage::new(Platform::linux_amd64())
        .root_tar(tar)
        .label("io.buildpacks.stack.id", ID)
        .label("io.buildpacks.base.distro.name", "debian")
        .label("io.buildpacks.base.distro.version", "12")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .user("1000:1000")
}

/// The file that tells one edition of the run image from the next.
fn release(edition: &str) -> LayerBuilder {
    LayerBuilder::new().file("/etc/demo-release", 0o644, 0, 0, format!("edition {edition}\n"))
}

fn bootstrap(tar: &Path, packages: &str) -> anyhow::Result<PathBuf> {
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--quiet", "--variant=minbase", "--components=main"])
        .arg(format!("--include={packages}"))
        // Nobody reads manuals in a container.
        .args(["man", "doc", "locale", "info"].map(|kind| format!("--dpkgopt=path-exclude=/usr/share/{kind}/*")))
        .arg("--customize-hook=echo 'cnb:x:1000:' >>\"$1/etc/group\"")
        .arg("--customize-hook=echo 'cnb:x:1000:1000::/home/cnb:/bin/sh' >>\"$1/etc/passwd\"")
        .arg("--customize-hook=mkdir -p \"$1/home/cnb\" && chown 1000:1000 \"$1/home/cnb\"")
        .arg("--customize-hook=rm -rf \"$1\"/var/log/* \"$1\"/var/cache/* \"$1\"/var/lib/apt/lists/*")
        .arg("bookworm")
        .arg(tar)
        // One time for all files makes equal images of equal packages.
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let output = command.output().context("cannot run mmdebstrap")?;
    if !output.status.success() {
        bail!(
            "mmdebstrap could not make a Debian root file system:\n{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(tar.to_owned())
}

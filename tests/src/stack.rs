//! Stack images that hold busybox and nothing else.

use cnb_layers::{BaseImage, Compression, ImageTarget, LayerBuilder, Platform};
use test_support::{Program, require};

/// The id that build and run image carry.
pub(crate) const ID: &str = "test.stacks.busybox";

const BUSYBOX: Program = Program::without_libraries("/bin/busybox", "busybox-static");

/// What the buildpack's scripts call.
const APPLETS: &[&str] = &[
    "sh", "cat", "cp", "echo", "env", "id", "ls", "mkdir", "rm", "sleep", "test", "touch", "true",
];

/// Writes the build image and the run image, and returns their names.
pub(crate) fn publish(target: &dyn ImageTarget, prefix: &str) -> anyhow::Result<(String, String)> {
    require(&[BUSYBOX])?;
    let names = (format!("{prefix}/stack/build:1"), format!("{prefix}/stack/run:1"));
    let build = base()
        .env("CNB_USER_ID", "1000")
        .env("CNB_GROUP_ID", "1000")
        .env("CNB_STACK_ID", ID);
    build.push(target, &[names.0.parse()?], Compression::default())?;
    base().push(target, &[names.1.parse()?], Compression::default())?;
    Ok(names)
}

fn base() -> BaseImage {
    let mut files = LayerBuilder::new();
    for (directory, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
    ] {
        files = files.directory(format!("/{directory}"), mode, 0, 0);
    }
    files = files
        .directory("/home/cnb", 0o755, 1000, 1000)
        .file_from("/bin/busybox", 0o755, 0, 0, BUSYBOX.name)
        .file(
            "/etc/passwd",
            0o644,
            0,
            0,
            "root:x:0:0::/:/bin/sh\ncnb:x:1000:1000::/home/cnb:/bin/sh\n",
        )
        .file("/etc/group", 0o644, 0, 0, "root:x:0:\ncnb:x:1000:\n");
    for applet in APPLETS {
        files = files.symlink(format!("/bin/{applet}"), "busybox", 0o777, 0, 0);
    }
    BaseImage::new(Platform::linux_amd64())
        .layer("busybox", files)
        .label("io.buildpacks.stack.id", ID)
        .label("io.buildpacks.base.distro.name", "debian")
        .label("io.buildpacks.base.distro.version", "12")
        .env("PATH", "/bin")
        .user("1000:1000")
}

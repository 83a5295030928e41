//! The machine's ssh program with the libraries it needs, for the image of the programs of build pods: git sources by
//! ssh are fetched there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cnb_layers::LayerBuilder;

/// Where the programs of build pods look for ssh.
const SSH: &str = "/usr/bin/ssh";

/// Files of this machine that make ssh run in an image without anything else.
#[derive(Debug, Default)]
pub(super) struct SshFiles(Vec<PathBuf>);

impl SshFiles {
    /// Finds the files; none when there is no ssh here, or what it needs can't be told.
    pub(super) fn find() -> Self {
        if !Path::new(SSH).is_file() {
            return Self::default();
        }
        let output = Command::new("ldd")
            .arg(SSH)
            .output()
            .ok()
            .filter(|output| output.status.success());
        let Some(output) = output else {
            tracing::warn!("cannot tell the libraries of {SSH}: git sources by ssh will not be fetched");
            return Self::default();
        };
        let libraries = libraries(&String::from_utf8_lossy(&output.stdout));
        Self([PathBuf::from(SSH)].into_iter().chain(libraries).collect())
    }

    /// Says whether there is no ssh.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// Returns the layer: each file under its own name.
    pub(super) fn layer(&self) -> LayerBuilder {
        let mut directories: Vec<&Path> = self.iter().flat_map(|file| file.ancestors().skip(1)).collect();
        directories.sort();
        directories.dedup();
        let mut layer = LayerBuilder::new();
        for directory in directories.into_iter().filter(|directory| directory.parent().is_some()) {
            layer = layer.directory(directory.display().to_string(), 0o755, 0, 0);
        }
        for file in self.iter() {
            // The library itself, where its name is a link.
            let content = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
            layer = layer.file_from(file.display().to_string(), 0o755, 0, 0, content);
        }
        layer
    }
}

/// The files that `ldd` names: `libz.so.1 => /lib/libz.so.1 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(output: &str) -> Vec<PathBuf> {
    let files = output.lines().filter_map(|line| {
        let file = line.rsplit("=> ").next()?.trim().split(" (").next()?;
        file.starts_with('/').then(|| PathBuf::from(file))
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use cnb_layers::{BaseImage, Compression, MemoryStore, Platform, UnpackOptions, unpack};
    use test_support::{Program, require};

    use super::*;

    #[test]
    fn the_libraries_are_those_that_ldd_names() {
        let output = "\tlinux-vdso.so.1 (0x1)\n\tlibz.so.1 => /lib/libz.so.1 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n\tgone => not found\n";
        assert_eq!(
            libraries(output),
            [Path::new("/lib/libz.so.1"), Path::new("/lib64/ld-linux.so.2")]
        );
    }

    #[test]
    fn ssh_runs_in_an_image_that_holds_nothing_else() {
        require(&[Program::new("ssh", "openssh-client")]).unwrap();
        if !rustix::process::geteuid().is_root() {
            eprintln!("not root: no root directory can be changed");
            return;
        }
        let (store, dir) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        let tag = "reg.example/ssh:1".parse().unwrap();
        let image = BaseImage::new(Platform::linux_amd64())
            .layer("users", super::super::local_images::users())
            .layer("ssh", SshFiles::find().layer())
            .push(&store, std::slice::from_ref(&tag), Compression::default())
            .unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        unpack(&store, &tag, &image, &root, &UnpackOptions::default()).unwrap();
        // What a sandbox gives to every container.
        std::fs::create_dir(root.join("dev")).unwrap();
        std::fs::write(root.join("dev/null"), "").unwrap();
        std::fs::set_permissions(root.join("dev/null"), std::fs::Permissions::from_mode(0o666)).unwrap();
        // Any user that stacks have: ssh asks who it is.
        let output = Command::new("chroot")
            .args(["--userspec=1002:1000", &root.display().to_string()])
            .args([SSH, "-F", "none", "-G", "git.example"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("hostname git.example"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

//! A root directory that a phase takes for the whole machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::store::digest;

/// A scratch root directory.
pub(crate) struct Machine {
    root: tempfile::TempDir,
    /// Whether `/usr` and `/dev` of this machine are there.
    pub(crate) with_system: bool,
}

/// What a run said.
pub(crate) struct Said {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How a phase is run.
pub(crate) struct Call<'a> {
    pub(crate) phase: &'a str,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: &'a str,
    pub(crate) user: Option<u32>,
}

/// What the file at a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) links: u64,
}

/// The part of [`Seen`] that depends on the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Link(String),
    File(Vec<u8>),
    Other(char),
}

impl Machine {
    pub(crate) fn new(folder: &Path) -> Self {
        let root = tempfile::tempdir_in(folder).expect("a directory");
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("a mode");
        Self {
            root,
            with_system: false,
        }
    }

    /// Returns where a path of the machine lies.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Makes a directory, with missing parents of the same owner.
    pub(crate) fn directory(&self, path: &str, owner: u32) {
        let full = self.at(path);
        if full.is_dir() {
            return;
        }
        if let Some(parent) = Path::new(path).parent().and_then(Path::to_str) {
            self.directory(parent, owner);
        }
        fs::create_dir(&full).unwrap_or_else(|error| panic!("mkdir {}: {error}", full.display()));
        fs::set_permissions(&full, Permissions::from_mode(0o755)).expect("a mode");
        lchown(&full, Some(owner), Some(owner)).expect("an owner");
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("a file");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        symlink(target, self.at(path)).expect("a link");
    }

    /// Deletes whatever is at a path.
    pub(crate) fn remove(&self, path: &str) {
        let full = self.at(path);
        match fs::symlink_metadata(&full) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&full).expect("it can be deleted"),
            Ok(_) => fs::remove_file(&full).expect("it can be deleted"),
            Err(_) => {}
        }
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.at(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Puts the programs into the machine.
    pub(crate) fn install(&self, program: &Path) {
        self.directory("/x", 0);
        for name in [
            "analyzer", "detector", "restorer", "builder", "exporter", "rebaser", "creator",
        ] {
            let place = self.at("/x").join(name);
            fs::hard_link(program, &place).expect("a link on one file system");
        }
    }

    /// Returns the command that runs a phase as root, or as another user without further groups. Its process is
    /// the phase itself.
    pub(crate) fn command(&self, call: &Call<'_>) -> Command {
        let root = self.root.path();
        let mut command = Command::new("unshare");
        if self.with_system {
            let script = "mount --bind /usr \"$1/usr\" && mount --bind /dev \"$1/dev\" && shift && exec unshare \"$@\"";
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(root);
        }
        command.arg("--root").arg(root).args(["--wd", call.cwd]);
        if let Some(user) = call.user {
            let user = user.to_string();
            command.args(["--setgid", &user, "--setuid", &user]);
        }
        command
            .arg("--")
            .arg(format!("/x/{}", call.phase))
            .args(&call.args)
            .env_clear()
            .envs(call.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a phase to its end.
    pub(crate) fn run(&self, call: &Call<'_>) -> Said {
        let output = self.command(call).output().expect("unshare of util-linux");
        Said {
            exit: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Describes everything at and beneath a path, by paths of the machine, except what is `left_out`.
    pub(crate) fn tree(&self, path: &str, left_out: &[&str]) -> Vec<(String, Seen)> {
        let mut found = Vec::new();
        self.collect(path, left_out, &mut found);
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    fn collect(&self, path: &str, left_out: &[&str], found: &mut Vec<(String, Seen)>) {
        if left_out.contains(&path) {
            return;
        }
        let Some(seen) = self.see(path) else { return };
        let is_directory = seen.kind == Kind::Directory;
        found.push((path.to_owned(), seen));
        if is_directory {
            for entry in fs::read_dir(self.at(path)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.collect(&format!("{}/{name}", path.trim_end_matches('/')), left_out, found);
            }
        }
    }

    /// Describes what is at a path, without following a link.
    pub(crate) fn see(&self, path: &str) -> Option<Seen> {
        let full = self.at(path);
        let found = fs::symlink_metadata(&full).ok()?;
        let kind = found.file_type();
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            Kind::Link(fs::read_link(&full).ok()?.to_string_lossy().into_owned())
        } else if kind.is_file() {
            Kind::File(fs::read(&full).ok()?)
        } else if kind.is_fifo() {
            Kind::Other('p')
        } else if kind.is_socket() {
            Kind::Other('s')
        } else {
            Kind::Other('c')
        };
        Some(Seen {
            kind,
            mode: found.mode() & 0o7777,
            owner: (found.uid(), found.gid()),
            // Of a directory it is the number of directories in it.
            links: if found.is_dir() { 1 } else { found.nlink() },
        })
    }
}

impl Seen {
    /// Returns the digest of a file.
    pub(crate) fn digest(&self) -> Option<String> {
        match &self.kind {
            Kind::File(bytes) => Some(digest(bytes)),
            _ => None,
        }
    }
}

//! What the machine offers to sandboxes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::StartError;

/// What the machine offers, found once when the runner starts.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// The OCI runtime.
    pub(super) runtime: PathBuf,
    /// Ids that containers may have: those of the runner's own user namespace.
    pub(super) uids: Vec<IdRange>,
    pub(super) gids: Vec<IdRange>,
    /// Whether control groups can be made.
    pub(super) cgroups: bool,
    /// Options for overlay mounts; `None` when there are no such mounts here and roots have to be copied.
    pub(super) overlay: Option<&'static str>,
    /// The architecture in Go's words.
    pub(super) architecture: &'static str,
}

/// Successive user or group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdRange {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Machine {
    /// Looks at the machine; `dir` is where roots of containers will be.
    pub(super) fn probe(runtime: Option<&Path>, dir: &Path) -> Result<Self, StartError> {
        for program in ["setpriv", "unshare", "mount", "sh", "rm", "cp"] {
            if find_program(Path::new(program)).is_none() {
                return Err(StartError::NoProgram { program });
            }
        }
        let uids = id_ranges(Path::new("/proc/self/uid_map"))?;
        let gids = id_ranges(Path::new("/proc/self/gid_map"))?;
        let nested = uids.iter().all(|range| range.count < u32::MAX);
        Ok(Self {
            runtime: find_runtime(runtime)?,
            overlay: overlay(dir, nested)?,
            cgroups: !nested && cgroups(),
            architecture: architecture(),
            uids,
            gids,
        })
    }

    /// Says whether a container may run as this user and group.
    pub(super) fn has_ids(&self, uid: u32, gid: u32) -> bool {
        let has = |ranges: &[IdRange], id: u32| ranges.iter().any(|range| range.contains(id));
        has(&self.uids, uid) && has(&self.gids, gid)
    }
}

impl IdRange {
    fn contains(self, id: u32) -> bool {
        id >= self.first && id - self.first < self.count
    }
}

/// Returns Go's word for the architecture of this program.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn find_runtime(given: Option<&Path>) -> Result<PathBuf, StartError> {
    let names: Vec<&Path> = match given {
        Some(path) => vec![path],
        None => vec![Path::new("runc"), Path::new("crun")],
    };
    let found = names.iter().find_map(|name| find_program(name));
    found.ok_or_else(|| StartError::NoRuntime {
        tried: names
            .iter()
            .map(|name| name.display().to_string())
            .collect::<Vec<_>>()
            .join(" and "),
    })
}

/// Finds a program where they are on Linux; `PATH` may be anything, this must not be.
pub(super) fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let dirs = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    dirs.iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

fn id_ranges(path: &Path) -> Result<Vec<IdRange>, StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(parse_id_ranges(&text))
}

fn parse_id_ranges(text: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, _, count) = (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
        Some(IdRange { first, count })
    };
    text.lines().filter_map(range).collect()
}

/// Tries an overlay mount in `dir`, in a mount namespace that ends at once.
fn overlay(dir: &Path, nested: bool) -> Result<Option<&'static str>, StartError> {
    let io_error = |source| StartError::Io {
        action: "use",
        path: dir.to_owned(),
        source,
    };
    let probe = dir.join(".overlay-probe");
    let options = if nested { "userxattr," } else { "" };
    let tried = try_overlay(&probe, options).map_err(io_error);
    // What remains of the attempt is overwritten by the next.
    let _ = fs::remove_dir_all(&probe);
    Ok(tried?.then_some(options))
}

fn try_overlay(probe: &Path, options: &str) -> io::Result<bool> {
    for name in ["lower", "upper", "work", "root"] {
        fs::create_dir_all(probe.join(name))?;
    }
    let script = format!(
        "mount -t overlay overlay -o {options}lowerdir=lower,upperdir=upper,workdir=work root && echo x > root/x && rm root/x"
    );
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .current_dir(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// Says whether control groups can be made, in either version.
fn cgroups() -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let parent = if root.join("cgroup.controllers").exists() {
        root.to_owned()
    } else {
        root.join("pids")
    };
    let dir = parent.join(CGROUP);
    fs::create_dir_all(&dir).is_ok() && fs::metadata(dir.join("cgroup.procs")).is_ok()
}

/// The control group above those of all containers.
pub(super) const CGROUP: &str = "kpackd";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_maps_are_read() {
        let map = "         0       1001          1\n         1     100000      65535\n";
        let ranges = parse_id_ranges(map);
        assert_eq!(ranges.len(), 2);
        assert!(ranges[1].contains(1) && ranges[1].contains(65535) && !ranges[1].contains(65536));
    }
}

//! The configuration of a sandbox, as OCI runtimes read it.

use std::path::{Path, PathBuf};

use rebuild_policy::ResourceRequirements;
use serde_json::{Value, json};

use super::machine::{CGROUP, IdRange, Machine};
use super::seccomp;
use super::user::User;

/// Everything that a sandbox is.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// Unique name on this machine.
    pub(super) id: String,
    /// Host name inside.
    pub(super) hostname: String,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: String,
    pub(super) user: User,
    /// Linux' names without `CAP_`.
    pub(super) capabilities: Vec<String>,
    pub(super) no_new_privileges: bool,
    pub(super) seccomp: bool,
    pub(super) read_only_root: bool,
    pub(super) mounts: Vec<BindMount>,
    pub(super) resources: ResourceRequirements,
    pub(super) max_processes: u32,
}

/// A file or directory of the machine that is seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BindMount {
    pub(super) source: PathBuf,
    /// Absolute path inside.
    pub(super) target: String,
    pub(super) read_only: bool,
}

/// What containers of root may do within their user namespace; Docker's list without raw sockets and device files.
const ROOT_CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Chooses the capabilities of a process: none unless it is root's.
pub(super) fn capabilities(uid: u32, add: &[String], drop: &[String]) -> Vec<String> {
    if uid != 0 {
        return Vec::new();
    }
    let plain = |name: &String| name.trim_start_matches("CAP_").to_uppercase();
    let drop: Vec<String> = drop.iter().map(plain).collect();
    let kept = ROOT_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let mut list: Vec<String> = kept
        .filter(|name| !drop.contains(name) && !drop.iter().any(|name| name == "ALL"))
        .collect();
    // Only what root has anyway can be kept when all else is dropped.
    let wanted = add.iter().map(plain);
    list.extend(wanted.filter(|name| ROOT_CAPABILITIES.contains(&name.as_str())));
    list.sort();
    list.dedup();
    list
}

impl Bundle {
    /// Returns `config.json`.
    pub(super) fn config(&self, machine: &Machine, root: &Path) -> Value {
        let env = self.env.iter().map(|(name, value)| format!("{name}={value}"));
        let capabilities: Vec<String> = self.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
        let mut rlimits = vec![json!({"type": "RLIMIT_CORE", "hard": 0, "soft": 0})];
        if !machine.cgroups && self.user.uid != 0 {
            let limit = self.max_processes;
            rlimits.push(json!({"type": "RLIMIT_NPROC", "hard": limit, "soft": limit}));
        }
        let namespaces = ["pid", "mount", "ipc", "uts", "user", "cgroup"].map(|kind| json!({"type": kind}));
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {
                    "uid": self.user.uid,
                    "gid": self.user.gid,
                    "additionalGids": self.user.additional_gids,
                },
                "args": self.command,
                "env": env.collect::<Vec<_>>(),
                "cwd": self.working_dir,
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "permitted": capabilities,
                },
                "rlimits": rlimits,
                "noNewPrivileges": self.no_new_privileges,
            },
            "root": {"path": root, "readonly": self.read_only_root},
            "hostname": self.hostname,
            "mounts": self.mounts(),
            "linux": {
                "namespaces": namespaces,
                "uidMappings": mappings(&machine.uids),
                "gidMappings": mappings(&machine.gids),
                "resources": self.limits(machine),
                "maskedPaths": [
                    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                    "/proc/timer_stats",
                ],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        });
        if machine.cgroups {
            config["linux"]["cgroupsPath"] = json!(format!("/{CGROUP}/{}", self.id));
        }
        if self.seccomp {
            config["linux"]["seccomp"] = seccomp::profile();
        }
        config
    }

    fn mounts(&self) -> Vec<Value> {
        let kernel = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
        let mut mounts = vec![
            kernel("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            kernel("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            kernel(
                "/dev/pts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            ),
            kernel(
                "/dev/shm",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ),
            // Nothing of the machine's devices and control groups is shown.
            kernel(
                "/sys",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "ro", "mode=555", "size=4k"],
            ),
        ];
        let mut binds: Vec<&BindMount> = self.mounts.iter().collect();
        // What is mounted deeper goes later; otherwise the pod's order counts.
        binds.sort_by_key(|bind| Path::new(&bind.target).components().count());
        mounts.extend(binds.into_iter().map(|bind| {
            let access = if bind.read_only { "ro" } else { "rw" };
            json!({
                "destination": bind.target,
                "type": "bind",
                "source": bind.source,
                "options": ["bind", "private", "nosuid", "nodev", access],
            })
        }));
        mounts
    }

    fn limits(&self, machine: &Machine) -> Value {
        if !machine.cgroups {
            return json!({});
        }
        let mut limits = json!({"pids": {"limit": self.max_processes}});
        if let Some(memory) = self.resources.limits.get("memory").map(rebuild_policy::Quantity::value)
            && memory > 0
        {
            limits["memory"] = json!({"limit": memory});
        }
        let millis = |list: &std::collections::BTreeMap<String, rebuild_policy::Quantity>| {
            list.get("cpu")
                .map(rebuild_policy::Quantity::millis)
                .filter(|millis| *millis > 0)
        };
        if let Some(millis) = millis(&self.resources.limits) {
            limits["cpu"]["period"] = json!(100_000);
            limits["cpu"]["quota"] = json!(millis.saturating_mul(100).max(1000));
        }
        if let Some(millis) = millis(&self.resources.requests) {
            limits["cpu"]["shares"] = json!((millis.saturating_mul(1024) / 1000).clamp(2, 262_144));
        }
        limits
    }
}

/// Every id is itself; a range of the parent namespace cannot be split or joined.
fn mappings(ranges: &[IdRange]) -> Vec<Value> {
    let mapping = |range: &IdRange| json!({"containerID": range.first, "hostID": range.first, "size": range.count});
    ranges.iter().map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_has_capabilities_and_only_those_not_dropped() {
        assert!(capabilities(1001, &["NET_BIND_SERVICE".to_owned()], &[]).is_empty());
        assert!(capabilities(0, &[], &["ALL".to_owned()]).is_empty());
        assert_eq!(
            capabilities(
                0,
                &["CAP_CHOWN".to_owned(), "SYS_ADMIN".to_owned()],
                &["ALL".to_owned()]
            ),
            ["CHOWN"]
        );
        assert!(!capabilities(0, &[], &["KILL".to_owned()]).contains(&"KILL".to_owned()));
    }
}

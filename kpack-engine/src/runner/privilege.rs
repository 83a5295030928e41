//! [`Privilege`]: whether this process can make containers, and how it can become able to.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::machine::find_program;

/// Whether a process can make containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// It is root, of the machine or of a user namespace with enough ids.
    Present,
    /// It can begin anew as root of a user namespace: replace the process by this command.
    ByUserNamespace {
        /// The program and the arguments before the process's own command line.
        prefix: Vec<OsString>,
    },
    /// It cannot.
    Missing {
        /// Everything that is missing, and what to do; one message.
        explanation: String,
    },
}

/// What [`Privilege::decide`] is told of the machine and the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivilegeFacts {
    /// Whether the process is root, of the machine or of a user namespace.
    pub is_root: bool,
    /// How many user ids its user namespace has.
    pub ids: u64,
    /// Whether user namespaces can be made without being root.
    pub user_namespaces: bool,
    /// Name of the user.
    pub user: String,
    /// Number of subordinate user and group ids that the user has.
    pub subordinate_ids: (u64, u64),
    /// Where `unshare` is.
    pub unshare: Option<PathBuf>,
    /// Whether `newuidmap` and `newgidmap` are there.
    pub id_map_programs: bool,
}

/// Users and groups of images go up to here.
const IDS_NEEDED: u64 = 65_536;

impl Privilege {
    /// Decides for this process on this machine.
    ///
    /// When the answer is [`Privilege::ByUserNamespace`], `kpackd` replaces itself by the command and asks again.
    pub fn of_this_process() -> Self {
        Self::decide(&PrivilegeFacts::gather())
    }

    /// Decides.
    pub fn decide(facts: &PrivilegeFacts) -> Self {
        if facts.is_root && facts.ids >= IDS_NEEDED {
            return Self::Present;
        }
        if facts.is_root {
            let explanation = format!(
                "containers need {IDS_NEEDED} user ids, but this user namespace has {}: start it with subordinate ids \
                 (unshare --map-auto --map-root-user), or run as root",
                facts.ids
            );
            return Self::Missing { explanation };
        }
        let mut missing = Vec::new();
        if !facts.user_namespaces {
            missing.push(
                "user namespaces are switched off for users (see the sysctls user.max_user_namespaces, \
                 kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
                    .to_owned(),
            );
        }
        if facts.unshare.is_none() {
            missing.push("program unshare is missing (Debian package util-linux)".to_owned());
        }
        if !facts.id_map_programs {
            missing.push("programs newuidmap and newgidmap are missing (Debian package uidmap)".to_owned());
        }
        let needed = IDS_NEEDED - 1;
        for (count, file, option) in [
            (facts.subordinate_ids.0, "/etc/subuid", "--add-subuids"),
            (facts.subordinate_ids.1, "/etc/subgid", "--add-subgids"),
        ] {
            if count < needed {
                let user = &facts.user;
                missing.push(format!(
                    "user {user} has {count} of {needed} subordinate ids in {file} (usermod {option} 100000-165535 {user})"
                ));
            }
        }
        match (&facts.unshare, missing.is_empty()) {
            (Some(unshare), true) => Self::ByUserNamespace {
                prefix: [unshare.as_os_str()]
                    .into_iter()
                    .chain(["--user", "--map-auto", "--map-root-user", "--mount", "--"].map(std::ffi::OsStr::new))
                    .map(OsString::from)
                    .collect(),
            },
            _ => Self::Missing {
                explanation: format!(
                    "builds run in containers, for which this user lacks the right; run as root, or change this: {}",
                    missing.join("; ")
                ),
            },
        }
    }
}

impl PrivilegeFacts {
    /// Gathers what is true here and now.
    pub fn gather() -> Self {
        let uid = rustix::process::geteuid();
        let user = user_name(uid.as_raw()).unwrap_or_else(|| uid.as_raw().to_string());
        let number = uid.as_raw().to_string();
        let count = |file: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            subordinate_ids(&text, &user, &number)
        };
        let program = |name: &str| find_program(Path::new(name));
        Self {
            is_root: uid.is_root(),
            ids: namespace_ids(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default()),
            user_namespaces: user_namespaces(),
            subordinate_ids: (count("/etc/subuid"), count("/etc/subgid")),
            unshare: program("unshare"),
            id_map_programs: program("newuidmap").is_some() && program("newgidmap").is_some(),
            user,
        }
    }
}

fn user_namespaces() -> bool {
    let off = |sysctl: &str, off: &str| fs::read_to_string(sysctl).is_ok_and(|value| value.trim() == off);
    !off("/proc/sys/user/max_user_namespaces", "0")
        && !off("/proc/sys/kernel/unprivileged_userns_clone", "0")
        && !off("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")
        && Path::new("/proc/self/ns/user").exists()
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

/// Returns the longest range of a user: only one is mapped.
fn subordinate_ids(file: &str, name: &str, number: &str) -> u64 {
    let range = |line: &str| {
        let mut parts = line.split(':');
        let (owner, _, count) = (parts.next()?, parts.next()?, parts.next()?);
        (owner == name || owner == number)
            .then(|| count.trim().parse().ok())
            .flatten()
    };
    file.lines().filter_map(range).max().unwrap_or(0)
}

fn namespace_ids(map: &str) -> u64 {
    let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> PrivilegeFacts {
        PrivilegeFacts {
            is_root: false,
            ids: 1 << 32,
            user_namespaces: true,
            user: "ann".to_owned(),
            subordinate_ids: (65_536, 65_536),
            unshare: Some("/usr/bin/unshare".into()),
            id_map_programs: true,
        }
    }

    #[test]
    fn root_needs_nothing() {
        let facts = PrivilegeFacts {
            is_root: true,
            ids: 1 << 32,
            ..PrivilegeFacts::default()
        };
        assert_eq!(Privilege::decide(&facts), Privilege::Present);
    }

    #[test]
    fn a_user_with_subordinate_ids_begins_anew_in_a_user_namespace() {
        let Privilege::ByUserNamespace { prefix } = Privilege::decide(&user()) else {
            panic!("refused")
        };
        assert_eq!(prefix.first().unwrap(), "/usr/bin/unshare");
        assert_eq!(prefix.last().unwrap(), "--");
    }

    #[test]
    fn one_message_names_all_that_is_missing() {
        let facts = PrivilegeFacts {
            user_namespaces: false,
            id_map_programs: false,
            subordinate_ids: (0, 10),
            ..user()
        };
        let Privilege::Missing { explanation } = Privilege::decide(&facts) else {
            panic!("not refused")
        };
        for part in [
            "user namespaces",
            "uidmap",
            "/etc/subuid",
            "ann has 10 of 65535",
            "run as root",
        ] {
            assert!(explanation.contains(part), "{part} in {explanation}");
        }
    }

    #[test]
    fn root_of_a_namespace_with_a_single_id_is_not_enough() {
        let facts = PrivilegeFacts {
            is_root: true,
            ids: 1,
            ..user()
        };
        assert!(matches!(Privilege::decide(&facts), Privilege::Missing { .. }));
    }

    #[test]
    fn subordinate_ids_are_found_by_name_or_number() {
        let file = "bob:1:5\nann:100000:65536\n1000:200000:70000\n";
        assert_eq!(subordinate_ids(file, "ann", "7"), 65_536);
        assert_eq!(subordinate_ids(file, "x", "1000"), 70_000);
        assert_eq!(subordinate_ids(file, "x", "7"), 0);
    }
}

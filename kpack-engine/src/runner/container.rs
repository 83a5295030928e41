//! From a container of a Pod to the bundle of its sandbox.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cnb_layers::ImageConfig;

use super::MachineNetwork;
use super::beneath::{self, SubPathError, read_in_root};
use super::bundle::{BindMount, Bundle, capabilities};
use super::env::environment;
use super::expand::expand;
use super::lookup::Lookup;
use super::machine::Machine;
use super::network::{CA_BUNDLE, CA_PLACES, hosts_text};
use super::not_started::NotStarted;
use super::spec::{Container, ContainerSecurity, PodSecurity, PodSpec, SeccompProfile};
use super::user::user;

const DEFAULT_TERMINATION_PATH: &str = "/dev/termination-log";
/// The longest message that is taken from a container.
const MAX_TERMINATION_MESSAGE: u64 = 4096;

/// What a container is made from.
pub(super) struct ContainerInputs<'a> {
    pub(super) container: &'a Container,
    pub(super) spec: &'a PodSpec,
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) image: &'a ImageConfig,
    /// The image's root, read only.
    pub(super) root: &'a Path,
    /// Where each volume is, and whether it may be written to.
    pub(super) volumes: &'a BTreeMap<String, (PathBuf, bool)>,
    /// Files that are mounted into this container only.
    pub(super) dir: &'a Path,
    pub(super) network: Option<&'a MachineNetwork>,
    pub(super) machine: &'a Machine,
    pub(super) id: &'a str,
    pub(super) max_processes: u32,
}

impl ContainerInputs<'_> {
    /// Makes the bundle, and the files that it mounts.
    pub(super) fn bundle(&self) -> Result<Bundle, NotStarted> {
        let none = (PodSecurity::default(), ContainerSecurity::default());
        let pod_security = self.spec.security_context.as_ref().unwrap_or(&none.0);
        let security = self.container.security_context.as_ref().unwrap_or(&none.1);
        let start = &self.image.config;
        let image_user = start.user.as_str();
        let user = user(self.root, image_user, pod_security, security).map_err(NotStarted::never)?;
        if !self.machine.has_ids(user.uid, user.gid) {
            return Err(NotStarted::never(format!(
                "user {} with group {} does not exist in this user namespace; give kpackd more subordinate ids",
                user.uid, user.gid
            )));
        }
        let machine_variables = self.network.map(MachineNetwork::variables).unwrap_or_default();
        let mut env = environment(&start.env, &machine_variables, self.container, self.lookup)?;
        if !env.all.iter().any(|(name, _)| name == "HOME") {
            let home = user.home.clone().unwrap_or_else(|| "/".to_owned());
            env.all.push(("HOME".to_owned(), home));
        }
        if !env.all.iter().any(|(name, _)| name == "HOSTNAME") {
            env.all.push(("HOSTNAME".to_owned(), self.hostname()));
        }
        Ok(Bundle {
            id: self.id.to_owned(),
            hostname: self.hostname(),
            command: self.command(&env.own)?,
            env: env.all,
            working_dir: self.working_dir()?,
            capabilities: capabilities(user.uid, &security.capabilities.add, &security.capabilities.drop),
            no_new_privileges: security.allow_privilege_escalation != Some(true) || user.uid != 0,
            seccomp: is_confined(
                security
                    .seccomp_profile
                    .as_ref()
                    .or(pod_security.seccomp_profile.as_ref()),
            ),
            read_only_root: security.read_only_root_filesystem == Some(true),
            mounts: self.mounts()?,
            resources: self.container.resources.clone(),
            max_processes: self.max_processes,
            user,
        })
    }

    /// Returns the pod's host name: 63 letters at most.
    fn hostname(&self) -> String {
        let name = match self.spec.hostname.as_str() {
            "" => self.lookup.pod.name(),
            name => name,
        };
        name.chars()
            .take(63)
            .collect::<String>()
            .trim_end_matches(['-', '.'])
            .to_owned()
    }

    fn command(&self, own: &HashMap<String, String>) -> Result<Vec<String>, NotStarted> {
        let start = &self.image.config;
        let container = self.container;
        let expanded = |words: &[String]| words.iter().map(|word| expand(word, own)).collect::<Vec<_>>();
        let mut words = if container.command.is_empty() {
            start.entrypoint.clone()
        } else {
            expanded(&container.command)
        };
        if !container.args.is_empty() {
            words.extend(expanded(&container.args));
        } else if container.command.is_empty() {
            words.extend(start.cmd.iter().cloned());
        }
        if words.is_empty() {
            return Err(NotStarted::never("no command specified"));
        }
        Ok(words)
    }

    fn working_dir(&self) -> Result<String, NotStarted> {
        let of_image = self.image.config.working_dir.as_str();
        let dir = [self.container.working_dir.as_str(), of_image, "/"]
            .into_iter()
            .find(|dir| !dir.is_empty())
            .unwrap_or("/");
        if dir.starts_with('/') {
            return Ok(dir.to_owned());
        }
        Err(NotStarted::never(format!(
            "working directory {dir:?} is no absolute path"
        )))
    }

    fn mounts(&self) -> Result<Vec<BindMount>, NotStarted> {
        let mut mounts = self.own_files().map_err(|error| {
            NotStarted::machine(format!(
                "cannot make files of container {}: {error}",
                self.container.name
            ))
        })?;
        for mount in &self.container.volume_mounts {
            let Some((source, writable)) = self.volumes.get(&mount.name) else {
                return Err(NotStarted::never(format!("volume {:?} not found", mount.name)));
            };
            if !mount.mount_path.starts_with('/') {
                let path = &mount.mount_path;
                return Err(NotStarted::never(format!("mount path {path:?} is no absolute path")));
            }
            let source = beneath::sub_path(source, &mount.sub_path).map_err(|error| match error {
                SubPathError::Io { .. } => NotStarted::machine(error),
                error => NotStarted::never(format!(
                    "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                    mount.name, self.container.name
                )),
            })?;
            mounts.push(BindMount {
                source,
                target: mount.mount_path.clone(),
                read_only: mount.read_only || !writable,
            });
        }
        Ok(mounts)
    }

    /// Makes what a kubelet mounts into every container, and the machine's network if that is wanted.
    fn own_files(&self) -> io::Result<Vec<BindMount>> {
        let mut mounts = Vec::new();
        let mut add = |source: PathBuf, target: &str, read_only: bool| {
            mounts.push(BindMount {
                source,
                target: target.to_owned(),
                read_only,
            });
        };
        fs::create_dir_all(self.dir)?;
        let message = self.dir.join("termination-log");
        fs::write(&message, "")?;
        fs::set_permissions(&message, Permissions::from_mode(0o666))?;
        add(message, self.termination_path(), false);
        let file = |name: &str, text: String| {
            let path = self.dir.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(0o644))?;
            Ok::<_, io::Error>(path)
        };
        let hostname = self.hostname();
        let hosts = match self.network {
            Some(network) => network.hosts_text(&hostname)?,
            None => hosts_text(None, &hostname),
        };
        add(file("hosts", hosts)?, "/etc/hosts", true);
        add(file("hostname", hostname + "\n")?, "/etc/hostname", true);
        let Some(network) = self.network else {
            return Ok(mounts);
        };
        if let Some(resolver) = &network.resolv_conf {
            add(
                file("resolv.conf", fs::read_to_string(resolver)?)?,
                "/etc/resolv.conf",
                true,
            );
        }
        if let Some(bundle) = network.bundle() {
            let copy = file("ca-certificates.crt", fs::read_to_string(bundle)?)?;
            add(copy.clone(), CA_BUNDLE, true);
            // Programs that read no variable find the bundle where their distribution has it.
            for place in CA_PLACES {
                if read_in_root(self.root, place, 1)?.is_some() {
                    add(copy.clone(), place, true);
                }
            }
        }
        Ok(mounts)
    }

    fn termination_path(&self) -> &str {
        match self.container.termination_message_path.as_str() {
            "" => DEFAULT_TERMINATION_PATH,
            path => path,
        }
    }
}

/// Returns the message that a container left, or the end of its log where the pod wants that.
pub(super) fn termination_message(container: &Container, dir: &Path, exit_code: i32, tail: &str) -> String {
    let left = read_start(&dir.join("termination-log"));
    if left.is_empty() && exit_code != 0 && container.termination_message_policy == "FallbackToLogsOnError" {
        return tail.to_owned();
    }
    left
}

fn read_start(path: &Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_TERMINATION_MESSAGE).read_to_end(&mut bytes));
    if let Err(error) = read {
        return format!("Error reading termination log: {error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_confined(profile: Option<&SeccompProfile>) -> bool {
    profile.is_none_or(|profile| profile.kind != "Unconfined")
}

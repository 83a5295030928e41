//! Makes the volumes of a pod as directories.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::env::resource_field;
use super::lookup::Lookup;
use super::not_started::NotStarted;
use super::spec::{DownwardVolume, KeyToPath, PodSpec, Volume};
use crate::Kind;

/// Files that are not given a mode: readable by the pod, by nobody else because of the directory they are in.
const DEFAULT_MODE: u32 = 0o444;
/// Set group id, so that new files belong to the volume's group, too.
const SHARED_DIR: u32 = 0o2777;

/// Where a pod's volumes are.
pub(super) struct Volumes<'a> {
    /// Directory for those that live as long as the pod.
    pub(super) pod_dir: PathBuf,
    /// Directory for those that claims hold.
    pub(super) claims_dir: &'a Path,
    pub(super) fs_group: Option<u32>,
}

/// A file of a volume.
struct Projected {
    path: String,
    bytes: Vec<u8>,
    mode: u32,
}

impl Volumes<'_> {
    /// Makes all volumes of the pod, and returns where they are, by name, and whether they may be written to.
    pub(super) fn make(
        &self,
        spec: &PodSpec,
        lookup: &Lookup<'_>,
    ) -> Result<BTreeMap<String, (PathBuf, bool)>, NotStarted> {
        let mut made = BTreeMap::new();
        for volume in &spec.volumes {
            let place = self.make_one(volume, spec, lookup)?;
            made.insert(volume.name.clone(), place);
        }
        Ok(made)
    }

    /// Writes the files of the volumes that show fields of the pod once more.
    pub(super) fn refresh(&self, spec: &PodSpec, lookup: &Lookup<'_>) -> Result<(), NotStarted> {
        for volume in spec.volumes.iter().filter(|volume| volume.downward_api.is_some()) {
            self.make_one(volume, spec, lookup)?;
        }
        Ok(())
    }

    fn make_one(&self, volume: &Volume, spec: &PodSpec, lookup: &Lookup<'_>) -> Result<(PathBuf, bool), NotStarted> {
        let name =
            relative(&volume.name).map_err(|error| NotStarted::never(format!("the name of a volume: {error}")))?;
        let dir = self.pod_dir.join(name);
        if let Some(claim) = &volume.persistent_volume_claim {
            let dir = self.claim(&claim.claim_name, lookup)?;
            return Ok((dir, !claim.read_only));
        }
        if let Some(files) = files(volume, spec, lookup)? {
            self.write(&dir, &files)
                .map_err(|error| NotStarted::machine(format!("cannot write volume {}: {error}", volume.name)))?;
            return Ok((dir, false));
        }
        self.shared_dir(&dir)
            .map_err(|error| NotStarted::machine(format!("cannot make volume {}: {error}", volume.name)))?;
        Ok((dir, true))
    }

    fn claim(&self, name: &str, lookup: &Lookup<'_>) -> Result<PathBuf, NotStarted> {
        let namespace = Some(lookup.namespace);
        let found = lookup.resources.get(Kind::PersistentVolumeClaim, namespace, name);
        let Some(claim) = found.map_err(NotStarted::machine)? else {
            return Err(NotStarted::config(format!("persistentvolumeclaim {name:?} not found")));
        };
        let dir = self.claims_dir.join(claim.uid());
        self.shared_dir(&dir)
            .map_err(|error| NotStarted::machine(format!("cannot make the volume of claim {name}: {error}")))?;
        Ok(dir)
    }

    /// Makes a directory that every container may write to; what it holds becomes the pod's group's.
    fn shared_dir(&self, dir: &Path) -> io::Result<()> {
        let is_new = !dir.exists();
        fs::create_dir_all(dir)?;
        let Some(group) = self.fs_group else {
            return if is_new {
                fs::set_permissions(dir, Permissions::from_mode(0o777))
            } else {
                Ok(())
            };
        };
        if is_new {
            chown(dir, None, Some(group))?;
            return fs::set_permissions(dir, Permissions::from_mode(SHARED_DIR));
        }
        if fs::metadata(dir)?.gid() == group {
            return Ok(());
        }
        give_to_group(dir, group)
    }

    fn write(&self, dir: &Path, files: &[Projected]) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        for file in files {
            let path = dir.join(relative(&file.path)?);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let new = path.with_file_name(format!(
                ".new-{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            ));
            fs::write(&new, &file.bytes)?;
            let mut mode = file.mode & 0o777;
            if let Some(group) = self.fs_group {
                chown(&new, None, Some(group))?;
                mode |= 0o440;
            }
            fs::set_permissions(&new, Permissions::from_mode(mode))?;
            fs::rename(&new, &path)?;
        }
        Ok(())
    }
}

/// Gives a whole tree to a group, as a kubelet does when the tree's top is not the group's.
///
/// By programs: they walk trees of any depth, which whoever wrote the tree chose.
fn give_to_group(dir: &Path, group: u32) -> io::Result<()> {
    let group = group.to_string();
    let run = |program: &str, args: &[&str], behind: &[&str]| {
        let output = Command::new(program).args(args).arg(dir).args(behind).output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(format!("{program}: {text}")))
    };
    run("chmod", &["-R", "g+rwX", "--"], &[])?;
    run("find", &[], &["-type", "d", "-exec", "chmod", "g+s", "{}", "+"])?;
    // Last: the top's group says that the rest is done.
    run("find", &[], &["-depth", "-exec", "chgrp", "-h", &group, "{}", "+"])
}

fn relative(path: &str) -> io::Result<&Path> {
    let path = Path::new(path);
    let fine = path.components().all(|part| matches!(part, Component::Normal(_)));
    if fine && path.components().next().is_some() {
        return Ok(path);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{} is not a relative path without `..`", path.display()),
    ))
}

/// Returns what a volume of files holds; `None` for one of another sort.
fn files(volume: &Volume, spec: &PodSpec, lookup: &Lookup<'_>) -> Result<Option<Vec<Projected>>, NotStarted> {
    if let Some(secret) = &volume.secret {
        let from = (Kind::Secret, secret.secret_name.as_str(), secret.optional);
        return keys(from, secret.items.as_deref(), secret.default_mode, lookup).map(Some);
    }
    if let Some(map) = &volume.config_map {
        let from = (Kind::ConfigMap, map.name.as_str(), map.optional);
        return keys(from, map.items.as_deref(), map.default_mode, lookup).map(Some);
    }
    if let Some(downward) = &volume.downward_api {
        return downward_files(downward, downward.default_mode, spec, lookup).map(Some);
    }
    let Some(projected) = &volume.projected else {
        return Ok(None);
    };
    let mut files = Vec::new();
    for source in &projected.sources {
        let mode = projected.default_mode;
        if let Some(secret) = &source.secret {
            let from = (Kind::Secret, secret.secret_name.as_str(), secret.optional);
            files.extend(keys(from, secret.items.as_deref(), mode, lookup)?);
        }
        if let Some(map) = &source.config_map {
            let from = (Kind::ConfigMap, map.name.as_str(), map.optional);
            files.extend(keys(from, map.items.as_deref(), mode, lookup)?);
        }
        if let Some(downward) = &source.downward_api {
            files.extend(downward_files(downward, mode, spec, lookup)?);
        }
    }
    Ok(Some(files))
}

fn keys(
    (kind, name, optional): (Kind, &str, bool),
    items: Option<&[KeyToPath]>,
    default_mode: Option<u32>,
    lookup: &Lookup<'_>,
) -> Result<Vec<Projected>, NotStarted> {
    let Some(data) = lookup.data(kind, name, optional)? else {
        return Ok(Vec::new());
    };
    let default_mode = default_mode.unwrap_or(DEFAULT_MODE);
    let Some(items) = items else {
        let file = |(path, bytes)| Projected {
            path,
            bytes,
            mode: default_mode,
        };
        return Ok(data.into_iter().map(file).collect());
    };
    let mut files = Vec::new();
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => files.push(Projected {
                path: item.path.clone(),
                bytes: bytes.clone(),
                mode: item.mode.unwrap_or(default_mode),
            }),
            None if optional => {}
            None => {
                let what = kind.resource();
                return Err(NotStarted::config(format!(
                    "references non-existent {what} key: {} of {name}",
                    item.key
                )));
            }
        }
    }
    Ok(files)
}

fn downward_files(
    volume: &DownwardVolume,
    default_mode: Option<u32>,
    spec: &PodSpec,
    lookup: &Lookup<'_>,
) -> Result<Vec<Projected>, NotStarted> {
    let mut files = Vec::new();
    for item in &volume.items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => lookup.field(&field.field_path)?,
            (None, Some(resource)) => {
                let mut containers = spec.init_containers.iter().chain(&spec.containers);
                let container = containers.find(|container| container.name == resource.container_name);
                container.map_or_else(
                    || "0".to_owned(),
                    |container| resource_field(&resource.resource, &container.resources),
                )
            }
            (None, None) => String::new(),
        };
        files.push(Projected {
            path: item.path.clone(),
            bytes: text.into_bytes(),
            mode: item.mode.or(default_mode).unwrap_or(DEFAULT_MODE),
        });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Object;
    use crate::store::{Store, StoreOptions};

    #[test]
    fn a_volume_lies_beneath_its_pod_whatever_its_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            dir: dir.path().join("store"),
            clock: std::sync::Arc::new(jiff::Timestamp::now),
        });
        let (store, pod) = (store.unwrap(), Object::new(Kind::Pod, Some("demo"), "p"));
        let lookup = Lookup {
            resources: &store,
            namespace: "demo",
            pod: &pod,
        };
        let volumes = Volumes {
            pod_dir: dir.path().join("pod"),
            claims_dir: dir.path(),
            fs_group: None,
        };
        for name in ["/", "..", "../elsewhere", "a/../../elsewhere", ""] {
            let volume = json!({"name": name, "emptyDir": {}});
            let spec = serde_json::from_value(json!({"volumes": [volume]})).unwrap();
            let refusal = volumes.make(&spec, &lookup).unwrap_err();
            assert!(!refusal.may_heal, "{name}: {}", refusal.message);
        }
        assert!(!dir.path().join("elsewhere").exists());
    }
}

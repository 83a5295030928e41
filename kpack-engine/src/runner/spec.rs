//! What the runner reads of a Pod.

use std::collections::BTreeMap;

use rebuild_policy::{EnvVar, ObjectFieldSelector, ResourceFieldSelector, ResourceRequirements};
use serde::Deserialize;
use serde_json::Value;

/// `spec` of a Pod, as far as it matters on one machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) volumes: Vec<Volume>,
    pub(super) init_containers: Vec<Container>,
    pub(super) containers: Vec<Container>,
    pub(super) restart_policy: String,
    pub(super) active_deadline_seconds: Option<i64>,
    pub(super) service_account_name: String,
    pub(super) image_pull_secrets: Vec<LocalName>,
    pub(super) security_context: Option<PodSecurity>,
    pub(super) hostname: String,
    pub(super) node_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LocalName {
    pub(super) name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) working_dir: String,
    pub(super) env: Vec<EnvVar>,
    pub(super) env_from: Vec<EnvFrom>,
    pub(super) resources: ResourceRequirements,
    pub(super) volume_mounts: Vec<VolumeMount>,
    pub(super) termination_message_path: String,
    pub(super) termination_message_policy: String,
    pub(super) security_context: Option<ContainerSecurity>,
    pub(super) restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EnvFrom {
    pub(super) prefix: String,
    pub(super) config_map_ref: Option<OptionalName>,
    pub(super) secret_ref: Option<OptionalName>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OptionalName {
    pub(super) name: String,
    pub(super) optional: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct VolumeMount {
    pub(super) name: String,
    pub(super) mount_path: String,
    pub(super) sub_path: String,
    pub(super) read_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSecurity {
    pub(super) run_as_user: Option<u32>,
    pub(super) run_as_group: Option<u32>,
    pub(super) run_as_non_root: Option<bool>,
    pub(super) fs_group: Option<u32>,
    pub(super) supplemental_groups: Vec<u32>,
    pub(super) seccomp_profile: Option<SeccompProfile>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerSecurity {
    pub(super) run_as_user: Option<u32>,
    pub(super) run_as_group: Option<u32>,
    pub(super) run_as_non_root: Option<bool>,
    pub(super) allow_privilege_escalation: Option<bool>,
    pub(super) privileged: Option<bool>,
    pub(super) read_only_root_filesystem: Option<bool>,
    pub(super) capabilities: Capabilities,
    pub(super) seccomp_profile: Option<SeccompProfile>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Capabilities {
    pub(super) add: Vec<String>,
    pub(super) drop: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SeccompProfile {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) empty_dir: Option<Value>,
    pub(super) secret: Option<SecretVolume>,
    pub(super) config_map: Option<ConfigMapVolume>,
    pub(super) persistent_volume_claim: Option<ClaimVolume>,
    #[serde(rename = "downwardAPI")]
    pub(super) downward_api: Option<DownwardVolume>,
    pub(super) projected: Option<ProjectedVolume>,
    /// Sources that are not offered, such as `hostPath`.
    #[serde(flatten)]
    pub(super) other: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SecretVolume {
    /// `secretName` in a volume, `name` in a projection.
    #[serde(alias = "name")]
    pub(super) secret_name: String,
    pub(super) items: Option<Vec<KeyToPath>>,
    pub(super) default_mode: Option<u32>,
    pub(super) optional: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ConfigMapVolume {
    pub(super) name: String,
    pub(super) items: Option<Vec<KeyToPath>>,
    pub(super) default_mode: Option<u32>,
    pub(super) optional: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KeyToPath {
    pub(super) key: String,
    pub(super) path: String,
    pub(super) mode: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClaimVolume {
    pub(super) claim_name: String,
    pub(super) read_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DownwardVolume {
    pub(super) items: Vec<DownwardFile>,
    pub(super) default_mode: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DownwardFile {
    pub(super) path: String,
    pub(super) mode: Option<u32>,
    pub(super) field_ref: Option<ObjectFieldSelector>,
    pub(super) resource_field_ref: Option<ResourceFieldSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProjectedVolume {
    pub(super) sources: Vec<Projection>,
    pub(super) default_mode: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Projection {
    pub(super) secret: Option<SecretVolume>,
    pub(super) config_map: Option<ConfigMapVolume>,
    #[serde(rename = "downwardAPI")]
    pub(super) downward_api: Option<DownwardVolume>,
    #[serde(flatten)]
    pub(super) other: BTreeMap<String, Value>,
}

/// What a pod asks for that is not offered here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not offered by this engine, which runs builds only: {advice}")]
pub(super) struct Unsupported {
    pub(super) what: String,
    pub(super) advice: &'static str,
}

impl PodSpec {
    /// Names what the pod asks for that is not offered.
    pub(super) fn unsupported(&self) -> Option<Unsupported> {
        let found = |what: String, advice| Some(Unsupported { what, advice });
        if !matches!(self.restart_policy.as_str(), "Never" | "") {
            let what = format!("restart policy {}", self.restart_policy);
            return found(what, "set restartPolicy to Never");
        }
        for container in self.init_containers.iter().chain(&self.containers) {
            if let Some(policy) = &container.restart_policy {
                let what = format!("restart policy {policy} of container {}", container.name);
                return found(what, "make it an ordinary container");
            }
            let security = container.security_context.as_ref();
            if security.and_then(|security| security.privileged) == Some(true) {
                let what = format!("privileged container {}", container.name);
                return found(what, "leave out securityContext.privileged");
            }
        }
        for volume in &self.volumes {
            let projections = volume.projected.iter().flat_map(|volume| &volume.sources);
            let projected = projections.flat_map(|source| source.other.keys());
            if let Some(source) = volume.other.keys().chain(projected).next() {
                let what = format!("source {source} of volume {}", volume.name);
                return found(
                    what,
                    "use emptyDir, secret, configMap, downwardAPI, projected or persistentVolumeClaim",
                );
            }
        }
        None
    }

    /// Returns the service account's name.
    pub(super) fn account(&self) -> &str {
        match self.service_account_name.as_str() {
            "" => "default",
            name => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unsupported(spec: Value) -> Option<String> {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        spec.unsupported().map(|found| found.what)
    }

    #[test]
    fn a_path_of_the_host_is_not_offered() {
        let volume = json!({"name": "root", "hostPath": {"path": "/"}});
        let found = unsupported(json!({"restartPolicy": "Never", "volumes": [volume]}));
        assert_eq!(found.unwrap(), "source hostPath of volume root");
    }

    #[test]
    fn privileged_containers_and_restarts_are_not_offered() {
        let container = json!({"name": "a", "securityContext": {"privileged": true}});
        assert!(unsupported(json!({"restartPolicy": "Never", "containers": [container]})).is_some());
        assert!(unsupported(json!({"restartPolicy": "Always"})).is_some());
    }

    #[test]
    fn what_a_build_needs_is_offered() {
        let spec = json!({
            "restartPolicy": "Never",
            "volumes": [
                {"name": "a", "emptyDir": {}},
                {"name": "b", "secret": {"secretName": "s"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "cache"}},
            ],
            "containers": [{"name": "a", "securityContext": {"privileged": false, "capabilities": {"drop": ["ALL"]}}}],
        });
        assert_eq!(unsupported(spec), None);
    }
}

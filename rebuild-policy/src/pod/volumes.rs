//! Volumes that steps share, and where they see them.

use serde_json::{Value, json};

use super::account::secret_volume;
use crate::resource::BuildSpec;

/// Where steps see the volumes.
pub(super) const WORKSPACE: &str = "/workspace";

pub(super) fn empty(name: &str) -> Value {
    json!({"name": name, "emptyDir": {}})
}

pub(super) fn cache(spec: &BuildSpec) -> Option<Value> {
    spec.cache_claim()
        .map(|claim| json!({"name": "cache-dir", "persistentVolumeClaim": {"claimName": claim}}))
}

pub(super) fn source_pull_secrets(spec: &BuildSpec) -> Value {
    let name = "registry-source-pull-secrets-dir";
    let registry = spec.source.registry.as_ref();
    match registry.and_then(|registry| registry.image_pull_secrets.first()) {
        Some(secret) => secret_volume(name, &secret.name),
        None => empty(name),
    }
}

pub(super) fn notary(spec: &BuildSpec) -> Value {
    match spec.notary.as_ref().and_then(|notary| notary.v1.as_ref()) {
        Some(v1) => secret_volume("notary-dir", &v1.secret_ref.name),
        None => empty("notary-dir"),
    }
}

pub(super) fn mount(volume: &str, path: &str) -> Value {
    json!({"name": volume, "mountPath": path})
}

pub(super) fn read_only(volume: &str, path: &str) -> Value {
    json!({"name": volume, "mountPath": path, "readOnly": true})
}

pub(super) fn layers() -> Value {
    mount("layers-dir", "/layers")
}

pub(super) fn home() -> Value {
    mount("home-dir", "/builder/home")
}

pub(super) fn platform() -> Value {
    mount("platform-dir", "/platform")
}

pub(super) fn report() -> Value {
    mount("report-dir", "/var/report")
}

pub(super) fn notary_mount() -> Value {
    read_only("notary-dir", "/var/notary/v1")
}

/// The directory of the app.
pub(super) fn app(spec: &BuildSpec) -> Value {
    let mut mount = mount("workspace-dir", WORKSPACE);
    if !spec.source.sub_path.is_empty() {
        mount["subPath"] = json!(spec.source.sub_path);
    }
    mount
}

pub(super) fn cache_mount(spec: &BuildSpec) -> Option<Value> {
    spec.cache_claim().map(|_| mount("cache-dir", "/cache"))
}

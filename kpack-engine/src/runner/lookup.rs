//! What a pod's containers refer to: secrets, config maps, fields of the pod.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::not_started::NotStarted;
use crate::{Kind, Object, Resources};

/// Finds what containers of one pod refer to.
pub(super) struct Lookup<'a> {
    pub(super) resources: &'a dyn Resources,
    pub(super) namespace: &'a str,
    pub(super) pod: &'a Object,
}

impl Lookup<'_> {
    /// Returns the data of a secret or config map, `None` when it is missing and `optional`.
    pub(super) fn data(
        &self,
        kind: Kind,
        name: &str,
        optional: bool,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, NotStarted> {
        let found = self.resources.get(kind, Some(self.namespace), name);
        match found.map_err(NotStarted::machine)? {
            Some(object) => data(&object).map(Some),
            None if optional => Ok(None),
            None => Err(NotStarted::config(format!("{} {name:?} not found", kind.resource()))),
        }
    }

    /// Returns a field of the pod, by its path.
    pub(super) fn field(&self, path: &str) -> Result<String, NotStarted> {
        field(self.pod, path).ok_or_else(|| NotStarted::never(format!("the pod has no field {path:?}")))
    }
}

/// Decodes the data of a secret or config map.
pub(super) fn data(object: &Object) -> Result<BTreeMap<String, Vec<u8>>, NotStarted> {
    let mut data = BTreeMap::new();
    let entries = |key: &str| {
        let map = object.as_value().get(key).and_then(|value| value.as_object());
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?)))
    };
    let encoded = if object.kind() == Kind::Secret {
        "data"
    } else {
        "binaryData"
    };
    for (key, value) in entries(encoded) {
        let bytes = STANDARD
            .decode(value)
            .map_err(|_| NotStarted::config(format!("{object}: {encoded}.{key} is no base64")))?;
        data.insert(key, bytes);
    }
    let plain = if object.kind() == Kind::Secret {
        "stringData"
    } else {
        "data"
    };
    data.extend(entries(plain).map(|(key, value)| (key, value.as_bytes().to_vec())));
    Ok(data)
}

/// The address of everything here: containers share the machine's network.
pub(super) const POD_IP: &str = "127.0.0.1";

fn field(pod: &Object, path: &str) -> Option<String> {
    let entry = |map: &str| {
        let key = path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(key.to_owned())
    };
    if let Some(key) = entry("metadata.labels") {
        return Some(pod.label(&key).unwrap_or_default().to_owned());
    }
    if let Some(key) = entry("metadata.annotations") {
        return Some(pod.annotation(&key).unwrap_or_default().to_owned());
    }
    let all = |map: BTreeMap<String, String>| {
        let lines = map.iter().map(|(key, value)| format!("{key}={value:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    Some(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().unwrap_or_default().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => all(pod.labels()),
        "metadata.annotations" => all(pod.annotations()),
        "spec.nodeName" => pod.text("/spec/nodeName").unwrap_or_default().to_owned(),
        "spec.serviceAccountName" => pod.text("/spec/serviceAccountName").unwrap_or("default").to_owned(),
        "status.hostIP" | "status.podIP" | "status.podIPs" | "status.hostIPs" => POD_IP.to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_pod_are_found_by_path() {
        let mut pod = Object::new(Kind::Pod, Some("demo"), "shop");
        pod.set_annotation("build.kpack.io/ready", "true");
        pod.set_label("a", "1");
        pod.set_label("b", "two \"quoted\"");
        let found = |path| field(&pod, path).unwrap();
        assert_eq!(found("metadata.name"), "shop");
        assert_eq!(found("metadata.annotations['build.kpack.io/ready']"), "true");
        assert_eq!(found("metadata.annotations['absent']"), "");
        assert_eq!(found("metadata.labels"), "a=\"1\"\nb=\"two \\\"quoted\\\"\"");
        assert_eq!(field(&pod, "spec.volumes"), None);
    }
}

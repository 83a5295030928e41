//! [`ListStrategy`]: how two states of a list are merged.

use crate::Kind;

/// How two states of a list are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListStrategy {
    /// As a whole: the later one counts.
    Replace,
    /// Element by element: those with the same value of this key are merged.
    ByKey(&'static str),
    /// As a set of plain values.
    Set,
}

impl ListStrategy {
    /// Returns the strategy of the list in `field` of an object of `kind`.
    ///
    /// Field names are enough: none of the core kinds has two lists of one name that differ. Custom kinds
    /// have no schema, so all of their lists but those of metadata are replaced.
    ///
    /// # Specification
    /// Kubernetes API reference, "patch merge key" and "patch strategy".
    pub(crate) fn of(kind: Kind, field: &str) -> Self {
        match field {
            "ownerReferences" => Self::ByKey("uid"),
            "finalizers" => Self::Set,
            _ if kind.is_kpack() => Self::Replace,
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets"
            | "secrets"
            | "resourceClaims" => Self::ByKey("name"),
            "volumeMounts" => Self::ByKey("mountPath"),
            "volumeDevices" => Self::ByKey("devicePath"),
            "ports" => Self::ByKey("containerPort"),
            "conditions" => Self::ByKey("type"),
            "hostAliases" | "podIPs" | "hostIPs" => Self::ByKey("ip"),
            "topologySpreadConstraints" => Self::ByKey("topologyKey"),
            _ => Self::Replace,
        }
    }
}

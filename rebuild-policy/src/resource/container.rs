//! Parts of the core API that builds pass on to their pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Quantity, is_default};

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable.
    pub name: String,
    /// Its value.
    #[serde(skip_serializing_if = "is_default")]
    pub value: String,
    /// Where its value comes from instead.
    #[serde(skip_serializing_if = "is_default")]
    pub value_from: Option<EnvVarSource>,
}

impl EnvVar {
    /// Makes a variable with a plain value.
    pub fn new(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            value_from: None,
        }
    }
}

/// Where the value of an environment variable comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvVarSource {
    /// A field of the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub field_ref: Option<ObjectFieldSelector>,
    /// A resource limit or request of the container.
    #[serde(skip_serializing_if = "is_default")]
    pub resource_field_ref: Option<ResourceFieldSelector>,
    /// A key of a config map.
    #[serde(skip_serializing_if = "is_default")]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,
    /// A key of a secret; refused for build environments.
    #[serde(skip_serializing_if = "is_default")]
    pub secret_key_ref: Option<ConfigMapKeySelector>,
}

/// A field of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectFieldSelector {
    /// Version of the schema the path is written for.
    #[serde(skip_serializing_if = "is_default")]
    pub api_version: String,
    /// Path of the field.
    pub field_path: String,
}

/// A resource of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceFieldSelector {
    /// Container to ask; empty = this one.
    #[serde(skip_serializing_if = "is_default")]
    pub container_name: String,
    /// Such as `limits.cpu`.
    pub resource: String,
    /// Unit of the output.
    pub divisor: Quantity,
}

/// A key of a config map or secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigMapKeySelector {
    /// Name of the object.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// The key.
    pub key: String,
    /// Whether it may be missing.
    #[serde(skip_serializing_if = "is_default")]
    pub optional: Option<bool>,
}

/// What a container may use and needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// The most it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: BTreeMap<String, Quantity>,
    /// What must be free for it.
    #[serde(skip_serializing_if = "is_default")]
    pub requests: BTreeMap<String, Quantity>,
    /// Claims it uses.
    #[serde(skip_serializing_if = "is_default")]
    pub claims: Vec<ResourceClaim>,
}

/// A claim of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceClaim {
    /// Name of the claim in the pod.
    pub name: String,
    /// Request within the claim.
    #[serde(skip_serializing_if = "is_default")]
    pub request: String,
}

/// A taint that the pod tolerates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Toleration {
    /// Key of the taint.
    #[serde(skip_serializing_if = "is_default")]
    pub key: String,
    /// `Exists` or `Equal`.
    #[serde(skip_serializing_if = "is_default")]
    pub operator: String,
    /// Value of the taint.
    #[serde(skip_serializing_if = "is_default")]
    pub value: String,
    /// Effect of the taint.
    #[serde(skip_serializing_if = "is_default")]
    pub effect: String,
    /// Seconds for which it is tolerated.
    #[serde(skip_serializing_if = "is_default")]
    pub toleration_seconds: Option<i64>,
}

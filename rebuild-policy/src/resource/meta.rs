//! What every object has: type, metadata, desired and observed state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{API_VERSION, is_default};

/// An object of the API: `metadata` names it, `spec` says what is wanted, `status` what was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resource<Spec: Default, Status: Default> {
    /// Such as `kpack.io/v1alpha2`; left out when empty.
    #[serde(skip_serializing_if = "is_default")]
    pub api_version: String,
    /// Such as `Image`; left out when empty.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: String,
    /// The object's name, labels, owners and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: Spec,
    /// What was seen.
    pub status: Status,
}

impl<Spec: Default, Status: Default> Resource<Spec, Status> {
    /// Makes an object of this API version with the given kind, namespace (empty = cluster wide) and name.
    pub fn new(kind: &str, namespace: &str, name: &str, spec: Spec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: kind.to_owned(),
            metadata: ObjectMeta {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                ..ObjectMeta::default()
            },
            spec,
            status: Status::default(),
        }
    }
}

/// Metadata of an object, as Kubernetes has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Unique within kind and namespace.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Prefix from which the server makes a name.
    #[serde(skip_serializing_if = "is_default")]
    pub generate_name: String,
    /// Empty for cluster-wide kinds.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace: String,
    /// Unique for all time; set by the server.
    #[serde(skip_serializing_if = "is_default")]
    pub uid: String,
    /// Changes with every write; set by the server.
    #[serde(skip_serializing_if = "is_default")]
    pub resource_version: String,
    /// Counts changes of the spec; set by the server.
    #[serde(skip_serializing_if = "is_default")]
    pub generation: i64,
    /// RFC 3339, whole seconds, UTC; set by the server.
    #[serde(skip_serializing_if = "is_default")]
    pub creation_timestamp: Option<String>,
    /// Set when a deletion waits for finalizers.
    #[serde(skip_serializing_if = "is_default")]
    pub deletion_timestamp: Option<String>,
    /// Seconds a graceful deletion may take.
    #[serde(skip_serializing_if = "is_default")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Keys and values that selectors can ask for.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// Keys and values that nobody selects by.
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Objects whose deletion deletes this one.
    #[serde(skip_serializing_if = "is_default")]
    pub owner_references: Vec<OwnerReference>,
    /// Who must act before the object goes away.
    #[serde(skip_serializing_if = "is_default")]
    pub finalizers: Vec<String>,
    /// Field ownership as the server keeps it; not interpreted here.
    #[serde(skip_serializing_if = "is_default")]
    pub managed_fields: Vec<Value>,
    /// Obsolete; kept when present.
    #[serde(skip_serializing_if = "is_default")]
    pub self_link: String,
}

impl ObjectMeta {
    /// Returns the owner that controls this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))
    }
}

/// The owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// API version of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the same namespace or cluster wide.
    pub name: String,
    /// Uid of the owner.
    pub uid: String,
    /// Whether the owner is the one that manages this object.
    #[serde(skip_serializing_if = "is_default")]
    pub controller: Option<bool>,
    /// Whether the owner waits for this object when it is deleted in the foreground.
    #[serde(skip_serializing_if = "is_default")]
    pub block_owner_deletion: Option<bool>,
}

impl OwnerReference {
    /// Makes the reference of a controller to an object it makes, for a kind of this API.
    pub fn controller_of(kind: &str, owner: &ObjectMeta) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: kind.to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

//! Which nodes a pod prefers and needs, by their labels and by the pods that run there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;

/// Where a pod may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Affinity {
    /// By the labels of nodes.
    #[serde(skip_serializing_if = "is_default")]
    pub node_affinity: Option<NodeAffinity>,
    /// Near to other pods.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_affinity: Option<PodAffinity>,
    /// Away from other pods.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// Where a pod may run, by the labels of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeAffinity {
    /// What a node must have.
    #[serde(skip_serializing_if = "is_default")]
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
    /// What a node had better have.
    #[serde(skip_serializing_if = "is_default")]
    pub preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
}

/// Nodes that at least one of the terms selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSelector {
    /// The terms.
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// Nodes that meet all requirements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSelectorTerm {
    /// Of their labels.
    #[serde(skip_serializing_if = "is_default")]
    pub match_expressions: Vec<SelectorRequirement>,
    /// Of their fields.
    #[serde(skip_serializing_if = "is_default")]
    pub match_fields: Vec<SelectorRequirement>,
}

/// What a label or field must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SelectorRequirement {
    /// Name of the label or field.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`; of nodes also `Gt` and `Lt`.
    pub operator: String,
    /// What the operator compares with.
    #[serde(skip_serializing_if = "is_default")]
    pub values: Vec<String>,
}

/// Nodes that are preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PreferredSchedulingTerm {
    /// How much, 1 to 100.
    pub weight: i32,
    /// Which.
    pub preference: NodeSelectorTerm,
}

/// Where a pod may run, by the pods that run there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodAffinity {
    /// What must be met.
    #[serde(skip_serializing_if = "is_default")]
    pub required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
    /// What had better be met.
    #[serde(skip_serializing_if = "is_default")]
    pub preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
}

/// Pods, and what counts as the same place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodAffinityTerm {
    /// Labels of the pods.
    #[serde(skip_serializing_if = "is_default")]
    pub label_selector: Option<LabelSelector>,
    /// Namespaces of the pods.
    #[serde(skip_serializing_if = "is_default")]
    pub namespaces: Vec<String>,
    /// The label by which nodes are the same place.
    pub topology_key: String,
    /// Labels of further namespaces.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels that must be as those of the pod itself.
    #[serde(skip_serializing_if = "is_default")]
    pub match_label_keys: Vec<String>,
    /// Labels that must be others than those of the pod itself.
    #[serde(skip_serializing_if = "is_default")]
    pub mismatch_label_keys: Vec<String>,
}

/// Pods that are preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WeightedPodAffinityTerm {
    /// How much, 1 to 100.
    pub weight: i32,
    /// Which.
    pub pod_affinity_term: PodAffinityTerm,
}

/// Objects by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels with their values.
    #[serde(skip_serializing_if = "is_default")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements of labels.
    #[serde(skip_serializing_if = "is_default")]
    pub match_expressions: Vec<SelectorRequirement>,
}

//! SourceResolver: keeps looking at a source.

use serde::{Deserialize, Serialize};

use super::{Condition, ConditionStatus, Conditions, ResolvedSource, Resource, SourceConfig, is_default};

/// Watches the source of one Image.
pub type SourceResolver = Resource<SourceResolverSpec, SourceResolverStatus>;

impl SourceResolver {
    /// Returns whether the source of the present spec has been resolved.
    pub fn is_ready(&self) -> bool {
        self.status.conditions.condition_status("Ready") == ConditionStatus::True
            && self.metadata.generation == self.status.observed_generation
    }
}

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceResolverSpec {
    /// Whose secrets to use. The JSON name really is `serviceAccount`.
    #[serde(skip_serializing_if = "is_default")]
    pub service_account: String,
    /// Where the source is.
    pub source: SourceConfig,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceResolverStatus {
    /// Generation this status is about.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: i64,
    /// `Ready` and `ActivePolling`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// The resolved source.
    pub source: ResolvedSource,
}

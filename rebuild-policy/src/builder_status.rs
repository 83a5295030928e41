//! How builders, stores, stacks and lifecycles stand.

use crate::resource::{BuilderStatus, Condition, ConditionStatus};

/// Returns the conditions of a store, stack, lifecycle or buildpack that was read.
pub fn ready_conditions(now: &str) -> Vec<Condition> {
    vec![Condition::new("Ready", ConditionStatus::True, "", "", now)]
}

/// Returns the conditions of a store, stack, lifecycle or buildpack that could not be read.
pub fn not_ready_conditions(message: &str, now: &str) -> Vec<Condition> {
    vec![Condition::new("Ready", ConditionStatus::False, "", message, now)]
}

/// Returns the conditions of a builder that was assembled.
pub fn builder_ready_conditions(now: &str) -> Vec<Condition> {
    vec![
        Condition::new("Ready", ConditionStatus::True, "", "", now),
        Condition::new("UpToDate", ConditionStatus::True, "", "", now),
    ]
}

/// Returns the status of a builder that could not be assembled: an earlier image stays in use.
pub fn builder_failed_status(old: &BuilderStatus, generation: i64, message: &str, now: &str) -> BuilderStatus {
    let ready = if old.latest_image.is_empty() {
        Condition::new(
            "Ready",
            ConditionStatus::False,
            "NoLatestImage",
            "Builder has no latestImage",
            now,
        )
    } else {
        Condition::new("Ready", ConditionStatus::True, "", "", now)
    };
    let up_to_date = Condition::new("UpToDate", ConditionStatus::False, "ReconcileFailed", message, now);
    BuilderStatus {
        observed_generation: generation,
        conditions: vec![ready, up_to_date],
        ..old.clone()
    }
}

/// Returns the tag a builder image is pushed to: a reference to `latest` is replaced by a tag of the builder's own.
///
/// `namespace` is empty for a ClusterBuilder. `None` when the tag cannot be parsed.
pub fn resolved_builder_tag(tag: &str, namespace: &str, name: &str) -> Option<String> {
    let reference = registry_auth::Reference::parse(tag).ok()?;
    if reference.identifier() != "latest" {
        return Some(reference.to_string());
    }
    let own = if namespace.is_empty() {
        format!("clusterbuilder-{name}")
    } else {
        format!("builder-{namespace}-{name}")
    };
    Some(format!("{}:{own}", reference.repository()))
}

//! How a SourceResolver stands after its source has been looked at.

use crate::resource::{Condition, ConditionStatus, ResolvedSource, SourceResolver, SourceResolverStatus};

/// Returns the status after resolving gave `found`.
///
/// A git revision that could not be resolved leaves the status of the same generation as it was, so that an outage
/// changes nothing. With `keep_revision_of_equal_trees` a commit that does not touch the app's directory is no news.
pub fn resolved_status(
    resolver: &SourceResolver,
    found: ResolvedSource,
    keep_revision_of_equal_trees: bool,
    now: &str,
) -> SourceResolverStatus {
    let generation = resolver.metadata.generation;
    let old = &resolver.status;
    let kind = found.git.as_ref().map_or("", |git| git.kind.as_str());
    if kind == "Unknown" && old.observed_generation == generation {
        return SourceResolverStatus {
            observed_generation: generation,
            ..old.clone()
        };
    }
    let polling = if matches!(kind, "Branch" | "Tag") {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let mut source = found;
    if keep_revision_of_equal_trees
        && let (Some(old), Some(new)) = (&old.source.git, &mut source.git)
        && !new.tree.is_empty()
        && old.tree == new.tree
    {
        new.revision.clone_from(&old.revision);
    }
    SourceResolverStatus {
        observed_generation: generation,
        conditions: vec![
            Condition::new("Ready", ConditionStatus::True, "", "", now),
            Condition::new("ActivePolling", polling, "", "", now),
        ],
        source,
    }
}

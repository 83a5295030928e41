//! How a SourceResolver stands after its source has been looked at.

use crate::resource::{Condition, ConditionStatus, GitPaths, ResolvedSource, SourceResolver, SourceResolverStatus};

/// Returns the status after resolving gave `found`.
///
/// A git revision that could not be resolved leaves the status of the same generation as it was, so that an outage
/// changes nothing. With `keep_revision_of_equal_trees` a commit that does not touch the app's directory is no news; a
/// source that says which [paths](crate::GitPaths) count is always treated so.
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
    let git = resolver.spec.source.git.as_ref();
    let names_paths = git.is_some_and(|git| git.paths != GitPaths::default());
    if (keep_revision_of_equal_trees || names_paths)
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

#[cfg(test)]
mod tests {
    use super::resolved_status;
    use crate::resource::{GitPaths, GitSource, ResolvedGit, ResolvedSource, SourceResolver};

    fn found(revision: &str, tree: &str) -> ResolvedSource {
        ResolvedSource {
            git: Some(ResolvedGit {
                revision: revision.to_owned(),
                tree: tree.to_owned(),
                kind: "Branch".to_owned(),
                ..ResolvedGit::default()
            }),
            ..ResolvedSource::default()
        }
    }

    /// The revision after commit `b`, which has `tree`, came after commit `a` with tree `t`.
    fn revision_after(paths: GitPaths, keep: bool, tree: &str) -> String {
        let mut resolver = SourceResolver::default();
        resolver.spec.source.git = Some(GitSource {
            paths,
            ..GitSource::default()
        });
        resolver.status = resolved_status(&resolver, found("a", "t"), keep, "now");
        let status = resolved_status(&resolver, found("b", tree), keep, "now");
        status.source.git.map(|git| git.revision).unwrap_or_default()
    }

    #[test]
    fn a_source_that_names_paths_keeps_its_revision_while_they_are_equal() {
        let paths = || GitPaths {
            exclude: vec!["*.md".to_owned()],
            ..GitPaths::default()
        };
        assert_eq!(revision_after(paths(), false, "t"), "a");
        assert_eq!(revision_after(paths(), false, "u"), "b");
        assert_eq!(revision_after(GitPaths::default(), false, "t"), "b");
        assert_eq!(revision_after(GitPaths::default(), true, "t"), "a");
    }
}

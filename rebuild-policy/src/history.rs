//! The Builds of an Image: which is the newest, which may go.

use crate::next_build::build_number;
use crate::resource::{Build, Image};

/// Builds kept when an Image does not say.
const KEPT: usize = 10;

/// Returns the newest Build: the one created last, and of those created in the same second the highest number.
pub fn latest_build(builds: &[Build]) -> Option<&Build> {
    latest_of(builds.iter())
}

pub(crate) fn latest_of<'a>(builds: impl Iterator<Item = &'a Build>) -> Option<&'a Build> {
    // Most images have one: its age is of no interest.
    builds.reduce(|newest, build| {
        if age_key(build) >= age_key(newest) {
            build
        } else {
            newest
        }
    })
}

/// Returns the Builds to delete now: at most one failed and one successful, each the oldest of its kind.
///
/// Running builds are never counted.
pub fn surplus_builds<'a>(image: &Image, builds: &'a [Build]) -> Vec<&'a Build> {
    let oldest_beyond = |limit: Option<i64>, class: fn(&Build) -> bool| {
        let limit = limit.map_or(KEPT, |limit| usize::try_from(limit).unwrap_or(0));
        let class: Vec<&Build> = builds.iter().filter(|build| class(build)).collect();
        if class.len() <= limit {
            return None;
        }
        class.into_iter().min_by_key(|build| age_key(build))
    };
    let failed = oldest_beyond(image.spec.failed_build_history_limit, Build::is_failure);
    let succeeded = oldest_beyond(image.spec.success_build_history_limit, Build::is_success);
    failed.into_iter().chain(succeeded).collect()
}

/// Orders by age; a Build without a creation time counts as new.
fn age_key(build: &Build) -> (bool, Option<&str>, i64) {
    let created = build.metadata.creation_timestamp.as_deref();
    (created.is_none(), created, build_number(build).unwrap_or(0))
}

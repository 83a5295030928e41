//! [`Cost`]: what work costs, estimated from what it cost before.

use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;
use serde_json::Value;

use crate::key::BUILD_REASON_ANNOTATION;
use crate::resource::Build;

/// What work costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Seconds of one worker.
    pub seconds: u64,
    /// Requests to registries.
    pub requests: u64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.saturating_add(other.seconds),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// What is assumed of builds that were never seen, and of their requests, which nobody counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostModel {
    /// A build.
    pub rebuild: Cost,
    /// A rebase.
    pub rebase: Cost,
}

impl Default for CostModel {
    /// Two minutes and 60 requests for a build, 5 seconds and 12 requests for a rebase.
    fn default() -> Self {
        Self {
            rebuild: Cost {
                seconds: 120,
                requests: 60,
            },
            rebase: Cost {
                seconds: 5,
                requests: 12,
            },
        }
    }
}

impl CostModel {
    /// Estimates a build: as long as the newest one that succeeded and was no rebase.
    pub fn rebuild<'a>(&self, builds: impl Iterator<Item = &'a Build>) -> Cost {
        like(self.rebuild, builds, |build| !was_rebase(build))
    }

    /// Estimates a rebase: as long as the newest one that succeeded.
    pub fn rebase<'a>(&self, builds: impl Iterator<Item = &'a Build>) -> Cost {
        like(self.rebase, builds, was_rebase)
    }
}

fn was_rebase(build: &Build) -> bool {
    build
        .metadata
        .annotations
        .get(BUILD_REASON_ANNOTATION)
        .is_some_and(|reason| reason == "STACK")
}

fn like<'a>(assumed: Cost, builds: impl Iterator<Item = &'a Build>, alike: impl Fn(&Build) -> bool) -> Cost {
    let timed = builds
        .filter(|build| build.is_success() && alike(build))
        .filter_map(|build| Some((build.metadata.creation_timestamp.as_deref(), duration(build)?)));
    let newest = timed.max_by_key(|(created, _)| *created);
    newest.map_or(assumed, |(_, seconds)| Cost { seconds, ..assumed })
}

/// How long the steps of a build took, from the start of the first to the end of the last, in seconds.
pub(super) fn duration(build: &Build) -> Option<u64> {
    let steps = &build.status.step_states;
    if let [Value::Number(seconds)] = &steps[..] {
        return seconds.as_u64();
    }
    let time = |step: &Value, field: &str| seconds(step.get("terminated")?.get(field)?.as_str()?);
    let (start, end) = (time(steps.first()?, "startedAt")?, time(steps.last()?, "finishedAt")?);
    u64::try_from(end.checked_sub(start)?).ok()
}

/// Seconds since the Unix epoch of a time like `2026-01-05T09:30:00Z`.
fn seconds(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_second())
}

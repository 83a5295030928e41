//! What is tried again, and when.

use serde_json::Value;

use crate::resource::Build;

/// Whether the same work may succeed the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// It may: a registry that was away, a node that was drained.
    Transient,
    /// It will not, until somebody changes something.
    Permanent,
}

/// How long to wait before work is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure, in milliseconds; each further one is twice as long.
    pub first: u64,
    /// The longest wait, in milliseconds.
    pub longest: u64,
    /// How often work is tried altogether. At least 1.
    pub attempts: u32,
}

impl Default for Backoff {
    /// Four attempts, after 30 seconds, a minute, two minutes.
    fn default() -> Self {
        Self {
            first: 30_000,
            longest: 600_000,
            attempts: 4,
        }
    }
}

impl Backoff {
    /// Returns how long to wait after that many failed attempts; `None` when there is no further one.
    pub fn wait(&self, failed: u32) -> Option<u64> {
        if failed >= self.attempts.max(1) {
            return None;
        }
        let doubled = self
            .first
            .saturating_mul(1_u64.checked_shl(failed.saturating_sub(1)).unwrap_or(u64::MAX));
        Some(doubled.min(self.longest))
    }
}

/// Steps of a build pod that talk to registries or fetch the source: what fails there may be gone the next time.
const REMOTE: [&str; 6] = ["prepare", "analyze", "restore", "export", "completion", "rebase"];
/// Names of the steps, in order.
const STEPS: [&str; 7] = [
    "prepare",
    "analyze",
    "detect",
    "restore",
    "build",
    "export",
    "completion",
];

/// Tells which class the failure of a Build is, from the states of its steps.
///
/// Detection and the buildpacks fail the same way again: permanent. Steps that talk to registries or to the source's
/// server are transient, unless the program itself says that it cannot work (exit codes 3 and 11 of the platform
/// interface: bad arguments, incompatible API) or ran out of memory. A pod that was evicted or never ran is transient.
///
/// # Specification
/// Platform API 0.12, "Exit codes".
pub fn failure_class(build: &Build) -> FailureClass {
    let states = &build.status.step_states;
    let failed = states.iter().position(|state| {
        let code = &state["terminated"]["exitCode"];
        code.as_i64().is_some_and(|code| code != 0)
    });
    let Some(at) = failed else {
        // Nothing ran that could have failed: the pod was taken away, or could not be made.
        let rejected = build.status.pod_name.is_empty();
        return if rejected {
            FailureClass::Permanent
        } else {
            FailureClass::Transient
        };
    };
    let terminated = &states[at]["terminated"];
    let reason = terminated["reason"].as_str().unwrap_or_default();
    let is_last_chance = matches!(terminated["exitCode"].as_i64(), Some(3 | 11));
    if reason == "OOMKilled" || is_last_chance {
        return FailureClass::Permanent;
    }
    if REMOTE.contains(&step_name(build, &states[at], at)) {
        FailureClass::Transient
    } else {
        FailureClass::Permanent
    }
}

/// A build pod has seven steps, a rebase pod two; a state may name its step.
fn step_name<'a>(build: &'a Build, state: &'a Value, at: usize) -> &'a str {
    if let Some(name) = state["name"].as_str() {
        return name;
    }
    match build.status.step_states.len() {
        2 => ["rebase", "completion"][at.min(1)],
        _ => STEPS.get(at).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Backoff, FailureClass, failure_class};
    use crate::resource::Build;

    fn failed(codes: &[i64], reason: &str) -> FailureClass {
        let mut build = Build::default();
        "pod".clone_into(&mut build.status.pod_name);
        let state = |code: &i64| json!({"terminated": {"exitCode": code, "reason": reason}});
        build.status.step_states = codes.iter().map(state).collect();
        failure_class(&build)
    }

    #[test]
    fn steps_that_talk_to_servers_are_tried_again_and_buildpacks_are_not() {
        assert_eq!(failed(&[1], "Error"), FailureClass::Transient);
        assert_eq!(failed(&[0, 30], "Error"), FailureClass::Transient);
        assert_eq!(failed(&[0, 0, 20], "Error"), FailureClass::Permanent);
        assert_eq!(failed(&[0, 0, 0, 0, 51], "Error"), FailureClass::Permanent);
        assert_eq!(failed(&[0, 0, 0, 0, 0, 62], "Error"), FailureClass::Transient);
        assert_eq!(failed(&[0, 11], "Error"), FailureClass::Permanent);
        assert_eq!(failed(&[0, 137], "OOMKilled"), FailureClass::Permanent);
        assert_eq!(failed(&[70, 0], "Error"), FailureClass::Transient);
    }

    #[test]
    fn a_pod_that_was_taken_away_is_tried_again_and_one_that_could_not_be_made_is_not() {
        assert_eq!(failed(&[], ""), FailureClass::Transient);
        assert_eq!(failure_class(&Build::default()), FailureClass::Permanent);
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff {
            first: 10,
            longest: 25,
            attempts: 4,
        };
        let waits: Vec<_> = (1..=4).map(|failed| backoff.wait(failed)).collect();
        assert_eq!(waits, [Some(10), Some(20), Some(25), None]);
    }
}

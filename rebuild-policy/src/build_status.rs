//! How a Build stands, seen from its Pod.

use serde_json::{Value, json};

use crate::pod::pod_name;
use crate::resource::{Build, BuildStack, BuildStatus, Condition, ConditionStatus};
use crate::termination::{BuildMetadata, TerminationMessageError};

/// The steps that are reported; other containers of the pod are none of a build's.
const STEPS: [&str; 8] = [
    "prepare",
    "analyze",
    "detect",
    "restore",
    "build",
    "export",
    "completion",
    "rebase",
];
const SUCCEEDED: &str = "Succeeded";
/// Most bytes of a log line that a message quotes.
const QUOTED: usize = 800;

/// Why a finished pod's result could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildStatusError {
    /// The pod has no `completion` container that has ended.
    #[error("failed to get build metadata from build pod: completion container not found")]
    NoCompletion,
    /// Its message is not what `completion` writes.
    #[error("failed to get build metadata from build pod")]
    Message {
        /// Why.
        source: TerminationMessageError,
    },
}

/// Returns the init step that failed, if one did: its log tells why.
pub fn failed_step(pod: &Value) -> Option<String> {
    let failed = |container: &&Value| {
        container["state"]["terminated"]["exitCode"]
            .as_i64()
            .is_some_and(|code| code != 0)
    };
    let name = statuses(pod, "initContainerStatuses").find(failed)?["name"].as_str()?;
    Some(name.to_owned())
}

/// Returns the status of a Build whose pod is `pod`.
///
/// `failed_log` is the log of the step that [`failed_step`] names; of it, the last line is quoted.
///
/// # Errors
/// When the pod succeeded but does not say what it built.
pub fn build_status(
    build: &Build,
    pod: &Value,
    failed_log: Option<&[u8]>,
    now: &str,
) -> Result<BuildStatus, BuildStatusError> {
    let steps = Steps::of(pod);
    let mut status = BuildStatus {
        observed_generation: build.metadata.generation,
        pod_name: pod["metadata"]["name"]
            .as_str()
            .map_or_else(|| pod_name(build), str::to_owned),
        ..build.status.clone()
    };
    if steps.is_complete(pod) {
        let metadata = metadata(pod)?;
        status.build_metadata = metadata.buildpacks;
        status.latest_image = metadata.latest_image;
        status.latest_cache_image = metadata.latest_cache_image;
        status.lifecycle_version = metadata.lifecycle_version;
        status.stack = BuildStack {
            run_image: metadata.stack_run_image,
            id: metadata.stack_id,
        };
    }
    status.conditions = vec![condition(pod, &steps, failed_log, now)];
    status.step_states = steps.states;
    status.steps_completed = steps.completed;
    Ok(status)
}

/// Returns the status of a Build that can have no pod.
pub fn build_rejected_status(build: &Build, message: &str, now: &str) -> BuildStatus {
    BuildStatus {
        observed_generation: build.metadata.generation,
        conditions: vec![Condition::new(SUCCEEDED, ConditionStatus::False, "", message, now)],
        ..build.status.clone()
    }
}

/// What the steps of a pod have come to.
struct Steps {
    /// State of each, init steps first, each with a message.
    states: Vec<Value>,
    /// Names of those that ended well.
    completed: Vec<String>,
}

impl Steps {
    fn of(pod: &Value) -> Self {
        let mut steps = Self {
            states: Vec::new(),
            completed: Vec::new(),
        };
        let all = statuses(pod, "initContainerStatuses").chain(statuses(pod, "containerStatuses"));
        for container in all {
            let name = container["name"].as_str().unwrap_or_default();
            if !STEPS.contains(&name) {
                continue;
            }
            if container["state"]["terminated"]["exitCode"] == 0 {
                steps.completed.push(name.to_owned());
            }
            steps.states.push(with_message(name, &container["state"]));
        }
        steps
    }

    /// Whether the pod is through: it succeeded, or its sidecars were killed after the last step.
    fn is_complete(&self, pod: &Value) -> bool {
        let status = &pod["status"];
        status["phase"] == "Succeeded"
            || status["phase"] == "Failed"
                && status["reason"] == "DeadlineExceeded"
                && self.completed.iter().any(|name| name == "completion")
    }
}

fn statuses<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    pod["status"][field]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn with_message(name: &str, state: &Value) -> Value {
    let mut state = match state {
        Value::Object(_) => state.clone(),
        _ => json!({}),
    };
    let set = |part: &mut Value, message: String| {
        if part["message"].as_str().unwrap_or_default().is_empty() {
            part["message"] = json!(message);
        }
    };
    if let Some(ended @ Value::Object(_)) = state.get_mut("terminated") {
        let how = if ended["exitCode"] == 0 {
            "successfully"
        } else {
            "with error"
        };
        set(ended, format!("Container {name} terminated {how}"));
    } else if let Some(waiting @ Value::Object(_)) = state.get_mut("waiting") {
        set(waiting, format!("Container {name} waiting"));
    }
    state
}

fn metadata(pod: &Value) -> Result<BuildMetadata, BuildStatusError> {
    let completion = statuses(pod, "containerStatuses")
        .find(|container| container["name"] == "completion")
        .and_then(|container| container["state"]["terminated"].as_object())
        .ok_or(BuildStatusError::NoCompletion)?;
    let message = completion.get("message").and_then(Value::as_str).unwrap_or_default();
    BuildMetadata::from_termination_message(message).map_err(|source| BuildStatusError::Message { source })
}

fn condition(pod: &Value, steps: &Steps, failed_log: Option<&[u8]>, now: &str) -> Condition {
    let condition = |status, reason: &str, message: &str| Condition::new(SUCCEEDED, status, reason, message, now);
    if steps.is_complete(pod) {
        return condition(ConditionStatus::True, "Completed", "");
    }
    let status = &pod["status"];
    match status["phase"].as_str() {
        Some("Failed") => {
            let cause = status["message"].as_str().unwrap_or_default();
            let message = match failed_step(pod) {
                Some(step) => format!("Error: {cause} {}", explanation(pod, &step, failed_log)),
                None => cause.to_owned(),
            };
            condition(ConditionStatus::False, "Failed", &message)
        }
        Some("Pending") => {
            let waiting = statuses(pod, "initContainerStatuses")
                .map(|container| with_message(container["name"].as_str().unwrap_or_default(), &container["state"]))
                .find(|state| state["waiting"].is_object());
            let text = |field: &str| {
                waiting
                    .as_ref()
                    .and_then(|state| state["waiting"][field].as_str())
                    .unwrap_or_default()
                    .to_owned()
            };
            condition(ConditionStatus::Unknown, &text("reason"), &text("message"))
        }
        _ => condition(ConditionStatus::Unknown, "", ""),
    }
}

/// Message of the step, last line of its log, and where to read more.
fn explanation(pod: &Value, step: &str, log: Option<&[u8]>) -> String {
    let state = statuses(pod, "initContainerStatuses")
        .find(|container| container["name"] == step)
        .map(|container| with_message(step, &container["state"]))
        .unwrap_or_default();
    let message = state["terminated"]["message"].as_str().unwrap_or_default();
    let line = last_line(log.unwrap_or_default());
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    format!(
        "{message} {line}: For more info use `kubectl logs -n {} {} -c {step}`",
        text("namespace"),
        text("name")
    )
}

/// Returns the last line with something on it, without colours, cut to 800 bytes.
fn last_line(log: &[u8]) -> String {
    let lines = log.split(|&byte| byte == b'\n').rev();
    let line = lines
        .map(plain)
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(QUOTED)]).into_owned()
}

/// Removes ANSI escape sequences and carriage returns.
fn plain(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            0x1b => {
                if bytes.next_if_eq(&b'[').is_some() {
                    while bytes.next().is_some_and(|byte| !(0x40..=0x7e).contains(&byte)) {}
                }
            }
            b'\r' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn the_last_line_with_text_is_quoted_without_colours() {
        assert_eq!(last_line(b"first\n\x1b[31mlast \x1b[0mline\n\n"), "last line");
        assert_eq!(last_line(b""), "");
    }
}

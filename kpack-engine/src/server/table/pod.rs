//! The row of a Pod.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age;
use super::{Column, NAME, column, wide};
use crate::Object;

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Ready"),
    column("Status"),
    column("Restarts"),
    column("Age"),
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];

pub(super) fn cells(object: &Object, now: Timestamp) -> Vec<Value> {
    let shown = |pointer: &str| json!(object.text(pointer).filter(|text| !text.is_empty()).unwrap_or("<none>"));
    let containers = list(object, "/spec/containers").len();
    let ready = list(object, "/status/containerStatuses")
        .iter()
        .filter(|status| status.get("ready") == Some(&json!(true)) && state(status, "running").is_some())
        .count();
    let restarts: i64 = list(object, "/status/containerStatuses")
        .iter()
        .filter_map(|status| status.get("restartCount").and_then(Value::as_i64))
        .sum();
    vec![
        json!(object.name()),
        json!(format!("{ready}/{containers}")),
        json!(status(object)),
        json!(restarts.to_string()),
        json!(age(object.creation_timestamp(), now)),
        shown("/status/podIP"),
        shown("/spec/nodeName"),
        shown("/status/nominatedNodeName"),
        json!("<none>"),
    ]
}

/// The word for the state of a pod: its phase, or what holds it up.
///
/// # Specification
/// Kubernetes `pkg/printers/internalversion`, `printPod`.
fn status(object: &Object) -> String {
    if object.deletion_timestamp().is_some() {
        return "Terminating".to_owned();
    }
    let plain = object
        .text("/status/reason")
        .or_else(|| object.text("/status/phase"))
        .unwrap_or_default();
    initializing(object)
        .or_else(|| held_up(object))
        .unwrap_or_else(|| plain.to_owned())
}

/// The first init container that is not done.
fn initializing(object: &Object) -> Option<String> {
    let total = list(object, "/spec/initContainers").len();
    for (index, status) in list(object, "/status/initContainerStatuses").iter().enumerate() {
        if let Some(ended) = state(status, "terminated") {
            if ended.get("exitCode") == Some(&json!(0)) {
                continue;
            }
            return Some(format!("Init:{}", end(ended)));
        }
        let waiting = state(status, "waiting")
            .and_then(|waiting| waiting.get("reason"))
            .and_then(Value::as_str);
        return Some(
            match waiting.filter(|reason| !reason.is_empty() && *reason != "PodInitializing") {
                Some(reason) => format!("Init:{reason}"),
                None => format!("Init:{index}/{total}"),
            },
        );
    }
    None
}

/// Why the first container that has something to say does not run.
fn held_up(object: &Object) -> Option<String> {
    list(object, "/status/containerStatuses").iter().find_map(|status| {
        let waiting = state(status, "waiting")
            .and_then(|waiting| waiting.get("reason"))
            .and_then(Value::as_str);
        waiting
            .filter(|reason| !reason.is_empty())
            .map(str::to_owned)
            .or_else(|| state(status, "terminated").map(end))
    })
}

fn end(ended: &Value) -> String {
    let number = |key: &str| ended.get(key).and_then(Value::as_i64).unwrap_or_default();
    match ended
        .get("reason")
        .and_then(Value::as_str)
        .filter(|reason| !reason.is_empty())
    {
        Some(reason) => reason.to_owned(),
        None if number("signal") != 0 => format!("Signal:{}", number("signal")),
        None => format!("ExitCode:{}", number("exitCode")),
    }
}

fn state<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status.get("state")?.get(name)
}

fn list<'a>(object: &'a Object, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn shown(status: Value) -> String {
        let mut pod = Object::new(Kind::Pod, Some("web"), "p");
        pod.set("spec", json!({"initContainers": [{}, {}, {}], "containers": [{}]}));
        pod.set("status", status);
        super::status(&pod)
    }

    #[test]
    fn a_pod_shows_what_it_is_doing() {
        assert_eq!(shown(json!({"phase": "Pending"})), "Pending");
        let done = json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let running = json!({"state": {"running": {}}});
        let failed = json!({"state": {"terminated": {"exitCode": 51, "reason": "Error"}}});
        let second = json!({"phase": "Pending", "initContainerStatuses": [done, running]});
        assert_eq!(shown(second), "Init:1/3");
        assert_eq!(
            shown(json!({"phase": "Failed", "initContainerStatuses": [done, failed]})),
            "Init:Error"
        );
        let ended = json!({"phase": "Succeeded", "initContainerStatuses": [done], "containerStatuses": [done]});
        assert_eq!(shown(ended), "Completed");
    }
}

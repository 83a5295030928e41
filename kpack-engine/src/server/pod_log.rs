//! The logs of a pod's containers.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Answer, Sender};
use super::api::Api;
use super::call::Call;
use super::route::Target;
use crate::logs::{LogError, LogName, LogReader, LogStore, ReadOptions};
use crate::{ApiError, Kind, Object, Resources};

/// How long a read waits before it looks whether the client is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How long the log of a container that has just been started is waited for.
const FIRST_LINE: Duration = Duration::from_secs(5);

/// Answers `GET pods/NAME/log`.
pub(super) fn answer(api: &Api, call: &Call, target: &Target) -> Result<Answer, ApiError> {
    let name = target.name.clone().unwrap_or_default();
    let found = api.store.get(Kind::Pod, target.namespace.as_deref(), &name)?;
    let pod = found.ok_or(ApiError::NotFound { kind: Kind::Pod, name })?;
    let container = choose(&pod, call.query.text("container"))?;
    if call.query.flag("previous") {
        let message = format!(
            "previous terminated container \"{container}\" in pod \"{}\" not found",
            pod.name()
        );
        return Err(ApiError::bad_request(message));
    }
    check_started(&pod, &container)?;
    let options = ReadOptions {
        follow: call.query.flag("follow"),
        timestamps: call.query.flag("timestamps"),
        tail_lines: call.query.number("tailLines")?,
        since: since(api, call)?,
        limit_bytes: call.query.number("limitBytes")?,
        patience: Some(LOOK),
    };
    let name = LogName::new(pod.namespace().unwrap_or_default(), pod.name(), pod.uid(), &container)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let logs = api.logs.clone();
    match logs.reader(&name, &options) {
        Ok(reader) => Ok(Answer::stream("text/plain", move |sender| copy(reader, &sender))),
        Err(LogError::NotFound { .. }) if options.follow => Ok(Answer::stream("text/plain", move |sender| {
            if let Some(reader) = wait_for(&logs, &name, &options, &sender) {
                copy(reader, &sender);
            }
        })),
        Err(LogError::NotFound { .. }) => Ok(Answer {
            content_type: "text/plain",
            ..Answer::text("")
        }),
        Err(error) => Err(ApiError::Internal {
            message: error.to_string(),
        }),
    }
}

/// Sends what the log has, as it comes.
fn copy(mut reader: LogReader, sender: &Sender) {
    let mut buffer = vec![0; 32 * 1024];
    while !sender.is_closed() {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                if sender.blocking_send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "a log cannot be read any further");
                return;
            }
        }
    }
}

/// A container that runs has a log in a moment.
fn wait_for(logs: &LogStore, name: &LogName, options: &ReadOptions, sender: &Sender) -> Option<LogReader> {
    let deadline = Instant::now() + FIRST_LINE;
    while Instant::now() < deadline && !sender.is_closed() {
        if let Ok(reader) = logs.reader(name, options) {
            return Some(reader);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

fn since(api: &Api, call: &Call) -> Result<Option<SystemTime>, ApiError> {
    let unreadable =
        |text: &str| ApiError::bad_request(format!("sinceTime: Invalid value: {text:?}: must be RFC 3339"));
    if let Some(text) = call.query.get("sinceTime").filter(|text| !text.is_empty()) {
        let time: Timestamp = text.parse().map_err(|_| unreadable(text))?;
        return Ok(Some(time.into()));
    }
    let seconds = call.query.number("sinceSeconds")?;
    Ok(seconds.and_then(|seconds| SystemTime::from((api.clock)()).checked_sub(Duration::from_secs(seconds))))
}

fn names(pod: &Object, list: &str) -> Vec<String> {
    let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
    let names = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

fn choose(pod: &Object, wanted: &str) -> Result<String, ApiError> {
    let (mut main, init) = (names(pod, "containers"), names(pod, "initContainers"));
    if wanted.is_empty() {
        if main.len() == 1 {
            return Ok(main.remove(0));
        }
        let message = format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            pod.name(),
            main.join(" ")
        );
        return Err(ApiError::bad_request(message));
    }
    if main.iter().chain(&init).any(|name| name == wanted) {
        return Ok(wanted.to_owned());
    }
    Err(ApiError::bad_request(format!(
        "container {wanted} is not valid for pod {}",
        pod.name()
    )))
}

/// A container that waits has no log yet: clients ask again.
fn check_started(pod: &Object, container: &str) -> Result<(), ApiError> {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = statuses
        .iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten();
    let status = statuses
        .into_iter()
        .find(|status| status.get("name").and_then(Value::as_str) == Some(container));
    let state = status.and_then(|status| status.get("state"));
    let started = state.is_some_and(|state| state.get("running").is_some() || state.get("terminated").is_some());
    if started {
        return Ok(());
    }
    let reason = state
        .and_then(|state| state.pointer("/waiting/reason")?.as_str())
        .unwrap_or("PodInitializing");
    let message = format!(
        "container \"{container}\" in pod \"{}\" is waiting to start: {reason}",
        pod.name()
    );
    Err(ApiError::bad_request(message))
}

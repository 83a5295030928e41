//! The status of a pod, as a kubelet reports it.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::lookup::POD_IP;
use super::spec::PodSpec;

/// What a kubelet knows about a pod that it runs.
#[derive(Clone, Debug)]
pub(super) struct PodStatus {
    start: SystemTime,
    init: Vec<ContainerStatus>,
    containers: Vec<ContainerStatus>,
    qos: &'static str,
    /// Set when the pod as a whole failed, not one of its containers: reason and message.
    failure: Option<(String, String)>,
    /// Condition type, status, since when.
    since: Vec<(&'static str, &'static str, SystemTime)>,
}

/// The state of one container.
#[derive(Clone, Debug)]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) container_id: String,
    pub(super) state: State,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting { reason: String, message: String },
    Running { started: SystemTime },
    Terminated(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit_code: i32,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) started: SystemTime,
    pub(super) finished: SystemTime,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Says whether `phase` is one after which nothing happens any more.
    pub(super) fn is_final(phase: Option<&str>) -> bool {
        matches!(phase, Some("Succeeded" | "Failed"))
    }
}

impl State {
    pub(super) fn waiting(reason: &str, message: impl Into<String>) -> Self {
        Self::Waiting {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Terminated(ended) => Some(ended.exit_code),
            _ => None,
        }
    }

    fn to_json(&self, container_id: &str) -> Value {
        match self {
            Self::Waiting { reason, message } => {
                let mut waiting = json!({"reason": reason});
                if !message.is_empty() {
                    waiting["message"] = json!(message);
                }
                json!({"waiting": waiting})
            }
            Self::Running { started } => json!({"running": {"startedAt": time(*started)}}),
            Self::Terminated(ended) => {
                let mut terminated = json!({
                    "exitCode": ended.exit_code,
                    "reason": ended.reason,
                    "startedAt": time(ended.started),
                    "finishedAt": time(ended.finished),
                });
                if !ended.message.is_empty() {
                    terminated["message"] = json!(ended.message);
                }
                if !container_id.is_empty() {
                    terminated["containerID"] = json!(container_id);
                }
                json!({"terminated": terminated})
            }
        }
    }
}

impl PodStatus {
    /// The status of a pod whose first container has not begun.
    pub(super) fn new(spec: &PodSpec, now: SystemTime) -> Self {
        let reason = if spec.init_containers.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let list = |containers: &[super::spec::Container]| {
            let fresh = containers.iter().map(|container| ContainerStatus {
                name: container.name.clone(),
                image: container.image.clone(),
                image_id: String::new(),
                container_id: String::new(),
                state: State::waiting(reason, ""),
            });
            fresh.collect::<Vec<_>>()
        };
        Self {
            start: now,
            init: list(&spec.init_containers),
            containers: list(&spec.containers),
            qos: quality(spec),
            failure: None,
            since: Vec::new(),
        }
    }

    /// Returns when the pod began here.
    pub(super) fn start(&self) -> SystemTime {
        self.start
    }

    /// Returns the container of this name, to be changed.
    ///
    /// # Panics
    /// When the pod has no such container: names come from its own spec.
    pub(super) fn container(&mut self, name: &str) -> &mut ContainerStatus {
        let mut all = self.init.iter_mut().chain(&mut self.containers);
        all.find(|container| container.name == name)
            .expect("the runner asks for containers of the pod's spec")
    }

    /// Ends the pod for a reason that is not one of its containers'.
    pub(super) fn fail(&mut self, reason: &str, message: &str) {
        self.failure = Some((reason.to_owned(), message.to_owned()));
    }

    /// Returns where the pod is in its life.
    pub(super) fn phase(&self) -> Phase {
        let failed = |code: Option<i32>| code.is_some_and(|code| code != 0);
        if self.failure.is_some() || self.init.iter().any(|container| failed(container.state.exit_code())) {
            return Phase::Failed;
        }
        if !self.is_initialized() {
            return Phase::Pending;
        }
        let codes: Vec<_> = self
            .containers
            .iter()
            .map(|container| container.state.exit_code())
            .collect();
        if codes.iter().all(Option::is_some) {
            return if codes.into_iter().any(failed) {
                Phase::Failed
            } else {
                Phase::Succeeded
            };
        }
        let waits = |container: &ContainerStatus| matches!(container.state, State::Waiting { .. });
        if self.containers.iter().all(waits) {
            Phase::Pending
        } else {
            Phase::Running
        }
    }

    fn is_initialized(&self) -> bool {
        self.init.iter().all(|container| container.state.exit_code() == Some(0))
    }

    /// Returns `status` of the Pod.
    pub(super) fn report(&mut self, now: SystemTime) -> Value {
        let phase = self.phase();
        let mut status = json!({
            "phase": phase.as_str(),
            "conditions": self.conditions(phase, now),
            "hostIP": POD_IP,
            "podIP": POD_IP,
            "podIPs": [{"ip": POD_IP}],
            "startTime": time(self.start),
            "containerStatuses": statuses(&self.containers, false),
            "qosClass": self.qos,
        });
        if !self.init.is_empty() {
            status["initContainerStatuses"] = statuses(&self.init, true);
        }
        if let Some((reason, message)) = &self.failure {
            status["reason"] = json!(reason);
            status["message"] = json!(message);
        }
        status
    }

    fn conditions(&mut self, phase: Phase, now: SystemTime) -> Value {
        let names = |containers: &[ContainerStatus], fine: &dyn Fn(&State) -> bool| {
            let unfinished = containers.iter().filter(|container| !fine(&container.state));
            unfinished
                .map(|container| container.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let initialized = self.is_initialized();
        let incomplete = names(&self.init, &|state| state.exit_code() == Some(0));
        let unready = names(&self.containers, &|state| matches!(state, State::Running { .. }));
        let ended = phase == Phase::Succeeded || phase == Phase::Failed;
        let ready = match phase {
            Phase::Succeeded => ("False", "PodCompleted", String::new()),
            Phase::Failed => ("False", "PodFailed", String::new()),
            _ if unready.is_empty() => ("True", "", String::new()),
            _ => {
                let message = format!("containers with unready status: [{unready}]");
                ("False", "ContainersNotReady", message)
            }
        };
        let init = match (initialized, phase) {
            (true, Phase::Succeeded) => ("True", "PodCompleted", String::new()),
            (true, _) => ("True", "", String::new()),
            (false, _) => {
                let message = format!("containers with incomplete status: [{incomplete}]");
                ("False", "ContainersNotInitialized", message)
            }
        };
        let plain = |status| (status, "", String::new());
        let table = [
            ("PodReadyToStartContainers", plain(if ended { "False" } else { "True" })),
            ("Initialized", init),
            ("Ready", ready.clone()),
            ("ContainersReady", ready),
            ("PodScheduled", plain("True")),
        ];
        let conditions = table.map(|(kind, (status, reason, message))| {
            let since = self.since(kind, status, now);
            condition(kind, status, reason, &message, since)
        });
        json!(conditions)
    }

    /// Returns since when the condition has this status.
    fn since(&mut self, kind: &'static str, status: &'static str, now: SystemTime) -> SystemTime {
        match self.since.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, before, since)) if *before == status => *since,
            Some((_, before, since)) => {
                (*before, *since) = (status, now);
                now
            }
            None => {
                self.since.push((kind, status, now));
                now
            }
        }
    }
}

/// The status of a pod that waits until others are done.
pub(super) fn queued(now: SystemTime, running: usize) -> Value {
    let message = format!("{running} pods run already, which is as many as this engine runs at a time");
    json!({
        "phase": "Pending",
        "conditions": [condition("PodScheduled", "False", "Unschedulable", &message, now)],
    })
}

/// The status of a pod that is never run.
pub(super) fn refused(now: SystemTime, reason: &str, message: &str) -> Value {
    json!({
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "startTime": time(now),
    })
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, since: SystemTime) -> Value {
    let mut condition = json!({
        "type": kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": time(since),
    });
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
    }
    if !message.is_empty() {
        condition["message"] = json!(message);
    }
    condition
}

fn statuses(containers: &[ContainerStatus], init: bool) -> Value {
    let status = |container: &ContainerStatus| {
        let running = matches!(container.state, State::Running { .. });
        let done = container.state.exit_code() == Some(0);
        let mut status = json!({
            "name": container.name,
            "state": container.state.to_json(&container.container_id),
            "lastState": {},
            "ready": if init { done } else { running },
            "restartCount": 0,
            "image": container.image,
            "imageID": container.image_id,
            "started": running,
        });
        if !container.container_id.is_empty() {
            status["containerID"] = json!(container.container_id);
        }
        status
    };
    json!(containers.iter().map(status).collect::<Vec<_>>())
}

/// Returns Kubernetes' class of how much is promised to the pod.
fn quality(spec: &PodSpec) -> &'static str {
    let all = || spec.init_containers.iter().chain(&spec.containers);
    let counted = ["cpu", "memory"];
    let asks = |container: &super::spec::Container| {
        let resources = &container.resources;
        counted
            .iter()
            .any(|name| resources.limits.contains_key(*name) || resources.requests.contains_key(*name))
    };
    let guaranteed = |container: &super::spec::Container| {
        let resources = &container.resources;
        counted.iter().all(|name| {
            let limit = resources.limits.get(*name);
            limit.is_some()
                && resources
                    .requests
                    .get(*name)
                    .is_none_or(|request| Some(request) == limit)
        })
    };
    if all().next().is_some() && all().all(guaranteed) {
        "Guaranteed"
    } else if all().any(asks) {
        "Burstable"
    } else {
        "BestEffort"
    }
}

/// Writes a time as Kubernetes does: whole seconds, UTC.
pub(super) fn time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_607_200 + seconds)
    }

    fn pod() -> PodStatus {
        let spec = json!({
            "restartPolicy": "Never",
            "initContainers": [{"name": "prepare", "image": "a"}, {"name": "build", "image": "b"}],
            "containers": [{"name": "completion", "image": "c"}],
        });
        PodStatus::new(&serde_json::from_value(spec).unwrap(), at(0))
    }

    fn end(pod: &mut PodStatus, name: &str, exit_code: i32) {
        pod.container(name).state = State::Terminated(Ended {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: String::new(),
            started: at(1),
            finished: at(2),
        });
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
        let conditions = status["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == kind).unwrap()
    }

    #[test]
    fn a_new_pod_waits_for_all_containers() {
        let status = pod().report(at(0));
        assert_eq!(status["phase"], "Pending");
        assert_eq!(
            status["containerStatuses"][0]["state"]["waiting"]["reason"],
            "PodInitializing"
        );
        assert_eq!(
            condition(&status, "Initialized")["message"],
            "containers with incomplete status: [prepare build]"
        );
        assert_eq!(status["startTime"], "2026-01-05T10:00:00Z");
        assert_eq!(status["qosClass"], "BestEffort");
    }

    #[test]
    fn a_pod_runs_when_its_last_container_does_and_succeeds_with_it() {
        let mut pod = pod();
        end(&mut pod, "prepare", 0);
        assert_eq!(pod.phase(), Phase::Pending);
        end(&mut pod, "build", 0);
        assert_eq!(pod.phase(), Phase::Pending);
        pod.container("completion").state = State::Running { started: at(3) };
        let status = pod.report(at(3));
        assert_eq!(status["phase"], "Running");
        assert_eq!(condition(&status, "Ready")["status"], "True");
        assert_eq!(status["initContainerStatuses"][1]["ready"], true);
        end(&mut pod, "completion", 0);
        let status = pod.report(at(4));
        assert_eq!(status["phase"], "Succeeded");
        assert_eq!(condition(&status, "Ready")["reason"], "PodCompleted");
        assert_eq!(
            condition(&status, "PodScheduled")["lastTransitionTime"],
            "2026-01-05T10:00:03Z"
        );
    }

    #[test]
    fn a_failed_init_container_fails_the_pod() {
        let mut pod = pod();
        end(&mut pod, "prepare", 20);
        let status = pod.report(at(2));
        assert_eq!(status["phase"], "Failed");
        let terminated = &status["initContainerStatuses"][0]["state"]["terminated"];
        assert_eq!(terminated["exitCode"], 20);
        assert_eq!(
            status["containerStatuses"][0]["state"]["waiting"]["reason"],
            "PodInitializing"
        );
    }

    #[test]
    fn a_pod_that_took_too_long_says_so() {
        let mut pod = pod();
        pod.fail("DeadlineExceeded", "too long");
        let status = pod.report(at(9));
        assert_eq!(
            (&status["phase"], &status["reason"]),
            (&json!("Failed"), &json!("DeadlineExceeded"))
        );
    }
}

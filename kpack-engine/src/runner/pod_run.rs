//! [`PodRun`]: the life of one pod on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::RunnerOptions;
use super::container::{ContainerInputs, termination_message};
use super::lookup::Lookup;
use super::machine::Machine;
use super::not_started::NotStarted;
use super::pull::Puller;
use super::sandbox::{Sandbox, SandboxFiles, forget, remove_tree};
use super::spec::{Container, PodSpec};
use super::status::{Ended, Phase, PodStatus, State};
use super::stop::{Stop, StopReason};
use super::volumes::Volumes;
use crate::logs::LogName;
use crate::{Kind, Object, Resources};

/// What all pods share.
pub(super) struct Node {
    pub(super) resources: Arc<dyn Resources>,
    pub(super) options: RunnerOptions,
    pub(super) machine: Machine,
    pub(super) puller: Puller,
}

impl Node {
    pub(super) fn pods_dir(&self) -> PathBuf {
        self.options.data_dir.join("pods")
    }

    pub(super) fn claims_dir(&self) -> PathBuf {
        self.options.data_dir.join("claims")
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.options.data_dir.join("sandboxes")
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.options.clock)()
    }

    /// Writes the status of a pod, unless it is gone.
    pub(super) fn publish(&self, pod: &Object, status: &Value) -> Published {
        // Others change metadata and spec at any time, but only this writes the status.
        for _ in 0..20 {
            let current = self.resources.get(Kind::Pod, pod.namespace(), pod.name());
            let mut current = match current {
                Ok(Some(current)) if current.uid() == pod.uid() => current,
                Ok(_) => return Published::Gone,
                Err(error) => {
                    tracing::warn!(%error, %pod, "cannot read a pod");
                    return Published::Failed;
                }
            };
            current.set("status", status.clone());
            match self.resources.update_status(current) {
                Ok(_) => return Published::Written,
                Err(error) if error.is_not_found() => return Published::Gone,
                Err(error) if error.is_conflict() => {}
                Err(error) => {
                    tracing::warn!(%error, %pod, "cannot write the status of a pod");
                    return Published::Failed;
                }
            }
        }
        tracing::warn!(%pod, "cannot write the status of a pod: it changes all the time");
        Published::Failed
    }
}

/// What became of a status that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// It is written.
    Written,
    /// The pod is gone.
    Gone,
    /// The store could not be read or written, as when a disk is full.
    Failed,
}

/// One pod that runs here.
pub(super) struct PodRun {
    node: Arc<Node>,
    pod: Mutex<Object>,
    spec: PodSpec,
    status: Mutex<PodStatus>,
    deadline: Mutex<Option<Duration>>,
    stop: Arc<Stop>,
    dir: PathBuf,
}

/// Pauses between attempts: a kubelet begins with 10 seconds, which is long for who waits at the machine.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a deadline is looked at; it may be changed.
const TICK: Duration = Duration::from_millis(500);

impl PodRun {
    pub(super) fn new(node: Arc<Node>, pod: Object, spec: PodSpec) -> Self {
        let status = PodStatus::new(&spec, node.now());
        let dir = node.pods_dir().join(pod.uid());
        Self {
            deadline: Mutex::new(deadline(spec.active_deadline_seconds)),
            status: Mutex::new(status),
            stop: Arc::default(),
            pod: Mutex::new(pod),
            node,
            spec,
            dir,
        }
    }

    /// Returns the pod as it was seen last.
    pub(super) fn pod(&self) -> Object {
        lock(&self.pod).clone()
    }

    /// Returns what stops it.
    pub(super) fn stop(&self) -> Arc<Stop> {
        self.stop.clone()
    }

    /// Takes over what may change in a pod: its deadline, and what its volumes show of it.
    pub(super) fn changed(&self, pod: Object) {
        *lock(&self.deadline) = deadline(pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64));
        *lock(&self.pod) = pod.clone();
        let lookup = self.lookup(&pod);
        if self.dir.is_dir()
            && let Err(error) = self.volumes(&self.node.claims_dir()).refresh(&self.spec, &lookup)
        {
            tracing::warn!(error = error.message, %pod, "cannot refresh the volumes of a pod");
        }
    }

    /// Runs the pod to its end and leaves nothing of it but its status and logs; returns the last status when it could
    /// not be written.
    pub(super) fn run(&self) -> Option<Value> {
        self.publish();
        let ended = self.run_containers();
        match self.stop.reason() {
            Some(StopReason::Deadline) => {
                let message = "Pod was active on the node longer than the specified deadline";
                lock(&self.status).fail("DeadlineExceeded", message);
            }
            Some(StopReason::Deleted | StopReason::Shutdown) => {}
            None => {
                if let Err(error) = ended {
                    lock(&self.status).fail(error.reason, &error.message);
                }
            }
        }
        if let Err(error) = remove_tree(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot remove the files of a pod");
        }
        match self.stop.reason() {
            Some(StopReason::Deleted) => {
                let pod = self.pod();
                let removed = self
                    .node
                    .options
                    .logs
                    .remove(pod.namespace().unwrap_or_default(), pod.name(), pod.uid());
                if let Err(error) = removed {
                    tracing::warn!(%error, %pod, "cannot remove the logs of a pod");
                }
                None
            }
            Some(StopReason::Shutdown) => None,
            Some(StopReason::Deadline) | None => self.publish(),
        }
    }

    /// Runs init containers one after the other, then all others at once.
    fn run_containers(&self) -> Result<(), NotStarted> {
        // What an earlier attempt left, before a crash.
        remove_tree(&self.dir).map_err(NotStarted::machine)?;
        fs::create_dir_all(self.dir.join("volumes")).map_err(NotStarted::machine)?;
        let claims = self.node.claims_dir();
        let first = self.spec.init_containers.iter().chain(&self.spec.containers).next();
        let Some(first) = first else {
            return Err(NotStarted::never("the pod has no containers"));
        };
        let made = self.until_made(&first.name, || {
            let pod = self.pod();
            self.volumes(&claims).make(&self.spec, &self.lookup(&pod))
        })?;
        let Some(volumes) = made else { return Ok(()) };
        for container in &self.spec.init_containers {
            if !self.run_container(container, &volumes)? {
                return Ok(());
            }
        }
        std::thread::scope(|scope| {
            let runs = self.spec.containers.iter().map(|container| {
                let volumes = &volumes;
                scope.spawn(move || self.run_container(container, volumes))
            });
            let runs: Vec<_> = runs.collect();
            for run in runs {
                run.join()
                    .unwrap_or_else(|_| Err(NotStarted::machine("the engine failed while it ran a container")))?;
            }
            Ok(())
        })
    }

    /// Runs one container; says whether it succeeded.
    fn run_container(
        &self,
        container: &Container,
        volumes: &BTreeMap<String, (PathBuf, bool)>,
    ) -> Result<bool, NotStarted> {
        let started = self.until_made(&container.name, || self.start(container, volumes));
        let Started {
            sandbox,
            time,
            id,
            _root,
        } = match started {
            Ok(Some(started)) => started,
            Ok(None) => return Ok(false),
            Err(error) => {
                let now = self.node.now();
                self.set_state(
                    &container.name,
                    State::Terminated(Ended {
                        exit_code: 128,
                        reason: error.reason.to_owned(),
                        message: error.message,
                        started: now,
                        finished: now,
                    }),
                );
                return Ok(false);
            }
        };
        let kill = sandbox.kill_switch();
        while !kill.wait_timeout(TICK) {
            if self.is_too_late() {
                self.stop.request(StopReason::Deadline);
            }
        }
        let outcome = sandbox.wait().map_err(NotStarted::machine)?;
        forget(&self.node.machine, &self.node.state_dir(), &id);
        let dir = self.container_dir(&container.name);
        let message = |code, tail: &str| termination_message(container, &dir.join("files"), code, tail);
        let (reason, message) = match (&outcome.not_started, outcome.exit_code) {
            (Some(problem), _) => ("StartError", problem.clone()),
            (None, 0) => ("Completed", message(0, &outcome.tail)),
            // Nobody but the kernel, for want of memory, kills what this did not kill.
            (None, 137) if container.resources.limits.contains_key("memory") && self.stop.reason().is_none() => {
                ("OOMKilled", message(137, &outcome.tail))
            }
            (None, code) => ("Error", message(code, &outcome.tail)),
        };
        let exit_code = if outcome.not_started.is_some() {
            128
        } else {
            outcome.exit_code
        };
        if let Err(error) = remove_tree(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove the files of a container");
        }
        if self.stop.reason() == Some(StopReason::Shutdown) {
            return Ok(false);
        }
        self.set_state(
            &container.name,
            State::Terminated(Ended {
                exit_code,
                reason: reason.to_owned(),
                message,
                started: time,
                finished: self.node.now(),
            }),
        );
        Ok(exit_code == 0 && self.stop.reason().is_none())
    }

    fn start(&self, container: &Container, volumes: &BTreeMap<String, (PathBuf, bool)>) -> Result<Started, NotStarted> {
        let node = &self.node;
        let pod = self.pod();
        let namespace = pod.namespace().unwrap_or_default().to_owned();
        let pulled = node
            .puller
            .pull(&*node.resources, &namespace, &self.spec, &container.image)?;
        let dir = self.container_dir(&container.name);
        remove_tree(&dir).map_err(NotStarted::machine)?;
        fs::create_dir_all(&dir).map_err(NotStarted::machine)?;
        let id = format!("{}-{}", pod.uid(), container.name);
        let lookup = self.lookup(&pod);
        let inputs = ContainerInputs {
            container,
            spec: &self.spec,
            lookup: &lookup,
            image: &pulled.root.config,
            root: &pulled.root.dir,
            volumes,
            dir: &dir.join("files"),
            network: node.options.machine_network.as_ref(),
            machine: &node.machine,
            id: &id,
            max_processes: node.options.max_processes,
        };
        let bundle = inputs.bundle()?;
        let config = bundle.config(&node.machine, std::path::Path::new("root"));
        fs::write(dir.join("config.json"), config.to_string()).map_err(NotStarted::machine)?;
        let name = LogName::new(&namespace, pod.name(), pod.uid(), &container.name).map_err(NotStarted::never)?;
        let log = node
            .options
            .logs
            .writer(&name)
            .map_err(|error| NotStarted::machine(super::not_started::with_causes(&error)))?;
        let files = SandboxFiles {
            dir: &dir,
            image_root: &pulled.root.dir,
            state_dir: &node.state_dir(),
            id: &id,
        };
        forget(&node.machine, &node.state_dir(), &id);
        let sandbox = Sandbox::start(&node.machine, &files, log).map_err(NotStarted::machine)?;
        self.stop.watch(sandbox.kill_switch());
        let time = node.now();
        {
            let mut status = lock(&self.status);
            let entry = status.container(&container.name);
            entry.image_id.clone_from(&pulled.id);
            entry.container_id = format!("kpackd://{id}");
            entry.state = State::Running { started: time };
        }
        self.publish();
        Ok(Started {
            sandbox,
            time,
            id,
            _root: pulled.root,
        })
    }

    /// Tries until `make` succeeds or can never do so; `None` when the pod is to stop.
    fn until_made<T>(
        &self,
        container: &str,
        make: impl Fn() -> Result<T, NotStarted>,
    ) -> Result<Option<T>, NotStarted> {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.is_too_late() {
                self.stop.request(StopReason::Deadline);
            }
            if self.stop.reason().is_some() {
                return Ok(None);
            }
            match make() {
                Ok(made) => return Ok(Some(made)),
                Err(error) if !error.may_heal => return Err(error),
                Err(error) => {
                    tracing::debug!(
                        container,
                        reason = error.reason,
                        message = error.message,
                        "a container waits"
                    );
                    self.set_state(container, State::waiting(error.reason, error.message));
                }
            }
            self.pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sleeps, but not longer than until a request to stop or the deadline.
    fn pause(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() && self.stop.reason().is_none() && !self.is_too_late() {
            let step = left.min(TICK);
            self.stop.sleep(step);
            left -= step;
        }
    }

    fn is_too_late(&self) -> bool {
        let start = lock(&self.status).start();
        let lasted = self.node.now().duration_since(start).unwrap_or_default();
        lock(&self.deadline).is_some_and(|deadline| lasted >= deadline)
    }

    /// Notes what a container does and tells it, unless the pod ends with it: that is told when nothing is left of it.
    fn set_state(&self, container: &str, state: State) {
        let to_tell = {
            let mut status = lock(&self.status);
            let entry = status.container(container);
            let changed = entry.state != state;
            entry.state = state;
            changed && !Phase::is_final(Some(status.phase().as_str())) && self.stop.reason().is_none()
        };
        if to_tell {
            self.publish();
        }
    }

    /// Writes the status as it is now; returns it when it could not be written.
    fn publish(&self) -> Option<Value> {
        // Held while writing: an older status must not be written after a newer one.
        let mut status = lock(&self.status);
        let json = status.report(self.node.now());
        let pod = self.pod();
        match self.node.publish(&pod, &json) {
            Published::Written => None,
            Published::Gone => {
                self.stop.request(StopReason::Deleted);
                None
            }
            Published::Failed => Some(json),
        }
    }

    fn container_dir(&self, name: &str) -> PathBuf {
        self.dir.join("containers").join(name)
    }

    fn lookup<'a>(&'a self, pod: &'a Object) -> Lookup<'a> {
        Lookup {
            resources: &*self.node.resources,
            namespace: pod.namespace().unwrap_or_default(),
            pod,
        }
    }

    fn volumes<'a>(&'a self, claims: &'a std::path::Path) -> Volumes<'a> {
        Volumes {
            pod_dir: self.dir.join("volumes"),
            claims_dir: claims,
            fs_group: self
                .spec
                .security_context
                .as_ref()
                .and_then(|security| security.fs_group),
        }
    }
}

/// A container that runs, and what is needed when it ends.
struct Started {
    sandbox: Sandbox,
    time: SystemTime,
    id: String,
    /// Keeps the image.
    _root: super::roots::Root,
}

fn deadline(seconds: Option<i64>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! [`PodRunner`]: gives every pod a thread of its own.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::machine::Machine;
use super::pod_run::{Node, PodRun, Published};
use super::privilege::Privilege;
use super::pull::Puller;
use super::roots::Roots;
use super::sandbox::{forget, kill_orphans, remove_tree};
use super::spec::PodSpec;
use super::status::{Phase, queued, refused};
use super::stop::{Stop, StopReason};
use super::{RunnerOptions, StartError};
use crate::{ApiError, Change, Kind, Object, Resources, Selector, Watch, WatchEvent, WatchFilter};

/// Runs the pods that exist, until it is dropped.
///
/// Pods that a killed process left unfinished are run again from their beginning; what is left of their sandboxes,
/// mounts and files is removed first. Dropping the runner ends all sandboxes and leaves their pods unfinished.
#[derive(Debug)]
pub struct PodRunner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How long a stop or the end of a pod may go unnoticed.
const TICK: Duration = Duration::from_millis(50);

/// How often it is tried again to write how pods ended.
const RETRY: Duration = Duration::from_secs(1);

impl PodRunner {
    /// Starts to run pods.
    ///
    /// # Errors
    /// When sandboxes cannot be made on this machine, the directory is in use, or pods cannot be watched.
    pub fn start(resources: Arc<dyn Resources>, options: RunnerOptions) -> Result<Self, StartError> {
        if let Privilege::Missing { explanation } = Privilege::of_this_process() {
            return Err(StartError::NoPrivilege { explanation });
        }
        let dir = fs::canonicalize(&options.data_dir).or_else(|_| {
            make_dir(&options.data_dir)?;
            fs::canonicalize(&options.data_dir)
        });
        let data_dir = dir.map_err(|source| io_error("create", &options.data_dir, source))?;
        let options = RunnerOptions { data_dir, ..options };
        let lock = lock_dir(&options.data_dir)?;
        let machine = Machine::probe(options.runtime.as_deref(), &options.data_dir)?;
        let roots = options.data_dir.join("roots");
        let roots = Roots::open(roots.clone()).map_err(|source| io_error("clean", &roots, source))?;
        let node = Node {
            puller: Puller {
                router: options.images.clone(),
                roots: Arc::new(roots),
                architecture: machine.architecture,
            },
            resources,
            machine,
            options,
        };
        clean(&node)?;
        let watch = watch(&*node.resources)?;
        let stop = Arc::new(AtomicBool::new(false));
        let supervisor = Supervisor::new(node, stop.clone());
        let thread = std::thread::Builder::new()
            .name("pod-runner".to_owned())
            .spawn(move || {
                let _lock = lock;
                supervisor.run(watch);
            });
        let thread = thread.map_err(|source| StartError::Io {
            action: "start a thread for",
            path: "pods".into(),
            source,
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends all sandboxes and waits until nothing runs; the pods are run again by the next runner.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for PodRunner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the pod runner failed");
        }
    }
}

fn watch(resources: &dyn Resources) -> Result<Watch, StartError> {
    let filter = WatchFilter::kinds([Kind::Pod, Kind::PersistentVolumeClaim]);
    Ok(resources.watch(filter, None)?)
}

struct Supervisor {
    node: Arc<Node>,
    running: HashMap<String, Active>,
    /// First come, first served.
    waiting: VecDeque<Object>,
    /// Pods that are through, and their status, which could not be written: nobody else would ever say how they ended.
    untold: Vec<(Object, Value)>,
    retry_at: Instant,
    stop: Arc<AtomicBool>,
}

struct Active {
    run: Arc<PodRun>,
    stop: Arc<Stop>,
    thread: JoinHandle<Option<Value>>,
}

impl Supervisor {
    fn new(node: Node, stop: Arc<AtomicBool>) -> Self {
        Self {
            node: Arc::new(node),
            running: HashMap::new(),
            waiting: VecDeque::new(),
            untold: Vec::new(),
            retry_at: Instant::now(),
            stop,
        }
    }

    fn run(mut self, mut watch: Watch) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(event) = watch.recv_timeout(TICK) {
                self.handle(event);
            } else if let Some(error) = watch.ended() {
                tracing::warn!(%error, "the watch of pods ended; it is begun again");
                match self::watch(&*self.node.resources) {
                    Ok(again) => {
                        watch = again;
                        self.forget_absent();
                    }
                    Err(error) => tracing::warn!(%error, "pods cannot be watched"),
                }
            }
            self.reap();
            self.tell_again();
            self.start_waiting();
        }
        for active in self.running.values() {
            active.stop.request(StopReason::Shutdown);
        }
        for (_, active) in self.running.drain() {
            join(active);
        }
    }

    fn handle(&mut self, event: WatchEvent) {
        match (event.object.kind(), event.change) {
            (Kind::Pod, Change::Deleted) => self.deleted(&event.object),
            (Kind::Pod, _) => self.seen(event.object),
            (_, Change::Deleted) => self.remove_claim(&event.object),
            _ => self.bind(&event.object),
        }
    }

    fn seen(&mut self, pod: Object) {
        if let Some(active) = self.running.get(pod.uid()) {
            active.run.changed(pod);
            return;
        }
        let is_untold = self.untold.iter().any(|(untold, _)| untold.uid() == pod.uid());
        if is_untold || Phase::is_final(pod.text("/status/phase")) {
            return;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.uid() == pod.uid()) {
            *waiting = pod;
            return;
        }
        if self.running.len() >= self.limit() && matches!(self.unfinished(&pod), Ok(Some(_))) {
            self.node.publish(&pod, &queued(self.node.now(), self.running.len()));
        }
        self.waiting.push_back(pod);
    }

    fn deleted(&mut self, pod: &Object) {
        self.waiting.retain(|waiting| waiting.uid() != pod.uid());
        if let Some(active) = self.running.get(pod.uid()) {
            active.stop.request(StopReason::Deleted);
            return;
        }
        let logs = &self.node.options.logs;
        if let Err(error) = logs.remove(pod.namespace().unwrap_or_default(), pod.name(), pod.uid()) {
            tracing::warn!(%error, %pod, "cannot remove the logs of a pod");
        }
    }

    /// Ends pods that were deleted while nothing was heard.
    fn forget_absent(&mut self) {
        let list = self.node.resources.list(Kind::Pod, None, &Selector::default());
        let Ok(list) = list else { return };
        let present: HashSet<&str> = list.items.iter().map(Object::uid).collect();
        for (uid, active) in &self.running {
            if !present.contains(uid.as_str()) {
                active.stop.request(StopReason::Deleted);
            }
        }
        self.waiting.retain(|pod| present.contains(pod.uid()));
    }

    fn limit(&self) -> usize {
        self.node.options.max_pods.max(1)
    }

    fn start_waiting(&mut self) {
        while self.running.len() < self.limit() {
            let Some(pod) = self.waiting.pop_front() else { return };
            match self.unfinished(&pod) {
                Ok(Some(current)) => self.start(current),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, %pod, "cannot read a pod");
                    self.waiting.push_front(pod);
                    return;
                }
            }
        }
    }

    /// Returns a pod as it is now; `None` when it is gone or through.
    ///
    /// Each change of a pod is delivered, however late: the event of a pod that runs may be read after the pod has ended.
    fn unfinished(&self, pod: &Object) -> Result<Option<Object>, ApiError> {
        let current = self.node.resources.get(Kind::Pod, pod.namespace(), pod.name())?;
        let is_unfinished =
            |current: &Object| current.uid() == pod.uid() && !Phase::is_final(current.text("/status/phase"));
        Ok(current.filter(is_unfinished))
    }

    fn start(&mut self, pod: Object) {
        let spec = pod.pointer("/spec").cloned().unwrap_or_default();
        let spec = match serde_json::from_value::<PodSpec>(spec) {
            Ok(spec) => spec,
            Err(error) => {
                let message = format!("the pod's spec cannot be understood: {error}");
                let status = refused(self.node.now(), "InvalidSpec", &message);
                return self.tell(pod, status);
            }
        };
        if let Some(found) = spec.unsupported() {
            let status = refused(self.node.now(), "Unsupported", &found.to_string());
            return self.tell(pod, status);
        }
        let uid = pod.uid().to_owned();
        let run = Arc::new(PodRun::new(self.node.clone(), pod, spec));
        let thread = {
            let run = run.clone();
            std::thread::Builder::new()
                .name(format!("pod-{uid}"))
                .spawn(move || run.run())
        };
        match thread {
            Ok(thread) => {
                let stop = run.stop();
                self.running.insert(uid, Active { run, stop, thread });
            }
            Err(error) => tracing::error!(%error, "cannot start a thread for a pod"),
        }
    }

    fn reap(&mut self) {
        let ended: Vec<String> = self
            .running
            .iter()
            .filter(|(_, active)| active.thread.is_finished())
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in ended {
            if let Some(active) = self.running.remove(&uid) {
                let run = active.run.clone();
                self.untold.extend(join(active).map(|status| (run.pod(), status)));
            }
            if let Err(error) = self.node.puller.roots.prune(self.node.options.kept_images) {
                tracing::warn!(%error, "cannot remove images that are not used");
            }
        }
    }

    /// Writes how a pod ended, now or later.
    fn tell(&mut self, pod: Object, status: Value) {
        if self.node.publish(&pod, &status) == Published::Failed {
            self.untold.push((pod, status));
        }
    }

    fn tell_again(&mut self) {
        if self.untold.is_empty() || Instant::now() < self.retry_at {
            return;
        }
        self.retry_at = Instant::now() + RETRY;
        for (pod, status) in std::mem::take(&mut self.untold) {
            self.tell(pod, status);
        }
    }

    /// Says that a claim has its volume: every claim has, once it is used.
    fn bind(&self, claim: &Object) {
        if claim.text("/status/phase") == Some("Bound") {
            return;
        }
        let mut bound = claim.clone();
        let storage = claim.pointer("/spec/resources/requests/storage").cloned();
        let modes = claim.pointer("/spec/accessModes").cloned();
        bound.set(
            "status",
            json!({
                "phase": "Bound",
                "accessModes": modes.unwrap_or_else(|| json!(["ReadWriteOnce"])),
                "capacity": {"storage": storage.unwrap_or_else(|| json!("0"))},
            }),
        );
        if let Err(error) = self.node.resources.update_status(bound) {
            // The change that came between is seen next.
            tracing::debug!(%error, %claim, "cannot bind a claim");
        }
    }

    fn remove_claim(&self, claim: &Object) {
        let dir = self.node.claims_dir().join(claim.uid());
        if let Err(error) = remove_tree(&dir) {
            tracing::warn!(%error, %claim, "cannot remove the volume of a claim");
        }
    }
}

/// Waits for the end of a pod, and returns its last status when that could not be written.
fn join(active: Active) -> Option<Value> {
    let ended = active.thread.join();
    ended.unwrap_or_else(|_| {
        tracing::error!("the thread of a pod failed");
        None
    })
}

/// Removes what a killed process left, and what belongs to objects that are gone.
fn clean(node: &Node) -> Result<(), StartError> {
    for dir in [node.state_dir(), node.claims_dir()] {
        make_dir(&dir).map_err(|source| io_error("create", &dir, source))?;
    }
    kill_orphans(&node.state_dir());
    for id in names_in(&node.state_dir())? {
        forget(&node.machine, &node.state_dir(), &id);
    }
    let pods = node.pods_dir();
    remove_tree(&pods).map_err(|source| io_error("remove", &pods, source))?;
    make_dir(&pods).map_err(|source| io_error("create", &pods, source))?;
    let uids = |kind| {
        let list = node.resources.list(kind, None, &Selector::default())?;
        Ok::<HashSet<String>, StartError>(list.items.iter().map(|object| object.uid().to_owned()).collect())
    };
    let claims = uids(Kind::PersistentVolumeClaim)?;
    for name in names_in(&node.claims_dir())? {
        if !claims.contains(&name) {
            let dir = node.claims_dir().join(name);
            remove_tree(&dir).map_err(|source| io_error("remove", &dir, source))?;
        }
    }
    if let Err(error) = node.options.logs.retain(&uids(Kind::Pod)?) {
        tracing::warn!(%error, "cannot remove old logs");
    }
    Ok(())
}

fn names_in(dir: &Path) -> Result<Vec<String>, StartError> {
    let list = fs::read_dir(dir).map_err(|source| io_error("list", dir, source))?;
    let names = list.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names
        .collect::<std::io::Result<_>>()
        .map_err(|source| io_error("list", dir, source))
}

/// Nobody else may look into running containers.
fn make_dir(dir: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn lock_dir(dir: &Path) -> Result<fs::File, StartError> {
    let path = dir.join("lock");
    let file = fs::File::create(&path).map_err(|source| io_error("create", &path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::InUse { path: dir.to_owned() }),
        Err(errno) => Err(io_error("lock", &path, errno.into())),
    }
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> StartError {
    StartError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use cnb_layers::ImageSource;
    use registry_auth::{Keychain, Reference};

    use super::*;
    use crate::logs::LogStore;
    use crate::runner::{ImageRouter, RouteError};
    use crate::store::{Store, StoreOptions};

    /// No image is ever there.
    struct NoImages;

    impl ImageRouter for NoImages {
        fn route(&self, reference: &Reference, _: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
            Err(RouteError {
                reference: reference.to_string(),
                source: "there are no images".into(),
            })
        }
    }

    /// A supervisor of at most one pod, that starts nothing unless it is told to.
    fn supervisor(dir: &Path) -> (Supervisor, Store) {
        let store = Store::open(StoreOptions {
            dir: dir.join("store"),
            clock: Arc::new(jiff::Timestamp::now),
        })
        .unwrap();
        let namespace = Object::new(Kind::Namespace, None, "demo");
        store.create(namespace).unwrap();
        let images = Arc::new(NoImages);
        let mut options = RunnerOptions::new(dir, LogStore::open(dir.join("logs")).unwrap(), images.clone());
        options.max_pods = 1;
        let node = Node {
            resources: Arc::new(store.clone()),
            options,
            machine: Machine {
                runtime: "runc".into(),
                uids: Vec::new(),
                gids: Vec::new(),
                cgroups: false,
                overlay: None,
                architecture: "amd64",
            },
            puller: Puller {
                router: images,
                roots: Arc::new(Roots::open(dir.join("roots")).unwrap()),
                architecture: "amd64",
            },
        };
        (Supervisor::new(node, Arc::default()), store)
    }

    fn pod(store: &Store, name: &str) -> Object {
        let mut pod = Object::new(Kind::Pod, Some("demo"), name);
        let container = json!({"name": "main", "image": "reg.example/app:1"});
        pod.set("spec", json!({"restartPolicy": "Never", "containers": [container]}));
        store.create(pod).unwrap()
    }

    /// Returns the pod as it was while it ran, and as it is now: through.
    fn ended_pod(store: &Store) -> (Object, Object) {
        let mut pod = pod(store, "ended");
        pod.set("status", json!({"phase": "Running"}));
        let late = store.update_status(pod).unwrap();
        let mut pod = late.clone();
        pod.set("status", json!({"phase": "Succeeded"}));
        (late, store.update_status(pod).unwrap())
    }

    fn modified(object: Object) -> WatchEvent {
        let change = Change::Modified;
        WatchEvent { change, object }
    }

    #[test]
    fn a_pod_that_has_ended_is_not_run_again_for_an_event_that_comes_late() {
        let dir = tempfile::tempdir().unwrap();
        let (mut supervisor, store) = supervisor(dir.path());
        let (late, ended) = ended_pod(&store);
        supervisor.handle(modified(late));
        supervisor.start_waiting();
        assert!(supervisor.running.is_empty() && supervisor.waiting.is_empty());
        assert_eq!(store.get(Kind::Pod, Some("demo"), "ended").unwrap(), Some(ended));
    }

    #[test]
    fn a_pod_that_has_ended_is_not_said_to_wait_when_an_event_comes_late() {
        let dir = tempfile::tempdir().unwrap();
        let (mut supervisor, store) = supervisor(dir.path());
        let other = pod(&store, "other");
        let spec = serde_json::from_value(other.pointer("/spec").cloned().unwrap()).unwrap();
        let uid = other.uid().to_owned();
        let run = Arc::new(PodRun::new(supervisor.node.clone(), other, spec));
        let active = Active {
            stop: run.stop(),
            run,
            thread: std::thread::spawn(|| None),
        };
        supervisor.running.insert(uid, active);
        let (late, ended) = ended_pod(&store);
        supervisor.handle(modified(late));
        assert_eq!(store.get(Kind::Pod, Some("demo"), "ended").unwrap(), Some(ended));
    }
}

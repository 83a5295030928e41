//! [`Controllers`]: reconcilers at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::complaints::Complaints;
use super::{Key, ReconcileOptions, Reconciler, Wake, WorkQueue};
use crate::{ApiError, Kind, Resources, Selector, Watch};

/// How long a watch is waited for before the stop flag is looked at again.
const TICK: Duration = Duration::from_millis(250);
/// How long to wait after objects could not be watched.
const PAUSE: Duration = Duration::from_secs(1);

/// Running reconcilers: one thread watches, some work. Dropping it stops them.
#[derive(Debug)]
pub struct Controllers {
    queue: Arc<WorkQueue>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Controllers {
    /// Starts to reconcile all objects, now and whenever something that concerns them changes.
    pub fn start(resources: Arc<dyn Resources>, options: ReconcileOptions) -> Self {
        let workers = options.workers.max(1);
        let resync = options.resync_interval;
        let reconciler = Reconciler::new(resources.clone(), options);
        let queue = Arc::new(WorkQueue::new());
        let stopping = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        threads.extend(spawn("reconcile-watch", {
            let (queue, stopping) = (queue.clone(), stopping.clone());
            move || watch(&*resources, &queue, &stopping, resync)
        }));
        let complaints = Arc::new(Complaints::default());
        for worker in 0..workers {
            let (queue, reconciler, complaints) = (queue.clone(), reconciler.clone(), complaints.clone());
            threads.extend(spawn(&format!("reconcile-{worker}"), move || {
                work(&queue, &reconciler, &complaints);
            }));
        }
        Self {
            queue,
            stopping,
            threads,
        }
    }

    /// Stops: what is being worked on is finished, nothing new is begun.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.queue.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reconciler's thread has panicked");
            }
        }
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    thread
        .inspect_err(|error| tracing::error!(%error, name, "cannot start a thread"))
        .ok()
}

fn watch(resources: &dyn Resources, queue: &WorkQueue, stopping: &AtomicBool, resync: Duration) {
    while !stopping.load(Ordering::Relaxed) {
        // Without a version to start from, every object is delivered first: nothing is missed after an interruption.
        let failed = resources
            .watch(Wake::filter(), None)
            .and_then(|watch| follow(resources, queue, stopping, resync, watch));
        if let Err(error) = failed {
            tracing::warn!(%error, "cannot watch objects; trying again");
            std::thread::sleep(PAUSE);
        }
    }
}

fn follow(
    resources: &dyn Resources,
    queue: &WorkQueue,
    stopping: &AtomicBool,
    resync: Duration,
    mut watch: Watch,
) -> Result<(), ApiError> {
    let mut wake = Wake::default();
    let mut resync_at = Instant::now() + resync;
    while !stopping.load(Ordering::Relaxed) {
        match watch.recv_timeout(TICK) {
            Some(event) => wake.keys(&event, resources)?.into_iter().for_each(|key| queue.add(key)),
            None if watch.ended().is_some() => return Ok(()),
            None => {}
        }
        if Instant::now() >= resync_at {
            resync_at = Instant::now() + resync;
            for kind in Kind::all().filter(|kind| kind.is_kpack()) {
                let objects = resources.list(kind, None, &Selector::everything())?.items;
                for object in &objects {
                    queue.add(Key::of(object));
                }
            }
        }
    }
    Ok(())
}

fn work(queue: &WorkQueue, reconciler: &Reconciler, complaints: &Complaints) {
    while let Some(key) = queue.next() {
        // A panic in one object's step must not end the work on all others.
        let step = std::panic::AssertUnwindSafe(|| reconciler.reconcile(&key));
        let success = match std::panic::catch_unwind(step) {
            Ok(Ok(outcome)) => {
                complaints.settle(&key);
                if let Some(delay) = outcome.again_after {
                    queue.add_after(key.clone(), delay);
                }
                true
            }
            Ok(Err(error)) if error.is_conflict() => {
                queue.add(key.clone());
                true
            }
            Ok(Err(error)) => {
                let again = error.is_retryable();
                if complaints.is_news(&key, &error.to_string()) {
                    tracing::warn!(%key, %error, again, "not reconciled; tried again later, or when something changes");
                } else {
                    tracing::debug!(%key, %error, again, "still not reconciled");
                }
                !again
            }
            Err(_) => {
                tracing::error!(%key, "reconciling has panicked; trying again later");
                false
            }
        };
        queue.done(&key, success);
    }
}

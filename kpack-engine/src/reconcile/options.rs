//! [`ReconcileOptions`]: what reconcilers are told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rebuild_policy::PodOptions;

use super::{SourceReader, StepLogs, Warehouse};
use crate::store::Clock;

/// What reconcilers are told.
#[derive(Clone)]
pub struct ReconcileOptions {
    /// How long a branch or tag is left alone before it is looked at again.
    pub poll_interval: Duration,
    /// How long an object is left alone before it is reconciled without any event: references to stacks, stores and
    /// lifecycles are read again then.
    pub resync_interval: Duration,
    /// How many objects are worked on at a time. At least 1.
    pub workers: usize,
    /// Helper images and other choices for build pods.
    pub pods: PodOptions,
    /// Whether build pods get a priority class.
    pub priority_classes: bool,
    /// Whether a commit that does not touch the app's directory is no reason to build.
    pub path_aware: bool,
    /// Where images come from and go to.
    pub warehouse: Arc<dyn Warehouse>,
    /// Where sources come from.
    pub sources: Arc<dyn SourceReader>,
    /// What steps printed.
    pub logs: Arc<dyn StepLogs>,
    /// Tells the time.
    pub clock: Clock,
}

impl ReconcileOptions {
    /// Chooses a minute between polls, 10 hours between resyncs and 4 workers, as the reference does.
    pub fn new(warehouse: Arc<dyn Warehouse>, sources: Arc<dyn SourceReader>, clock: Clock) -> Self {
        Self {
            poll_interval: Duration::from_secs(60),
            resync_interval: Duration::from_secs(10 * 3600),
            workers: 4,
            pods: PodOptions {
                ssh_trust_unknown_hosts: true,
                ..PodOptions::default()
            },
            priority_classes: false,
            path_aware: false,
            warehouse,
            sources,
            logs: Arc::new(()),
            clock,
        }
    }
}

impl fmt::Debug for ReconcileOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconcileOptions")
            .field("poll_interval", &self.poll_interval)
            .field("resync_interval", &self.resync_interval)
            .field("workers", &self.workers)
            .field("pods", &self.pods)
            .finish_non_exhaustive()
    }
}

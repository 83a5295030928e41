//! A fair queue over namespaces: who had least of their share is served next.

use std::collections::{BTreeMap, BTreeSet};

use super::{Freeze, Job, JobId, Work};
use crate::change::Priority;

/// Since when a job could start, its number of arrival, its name.
type Place = (u64, u64, JobId);

#[derive(Clone, Debug, Default)]
struct Queues {
    /// By urgency and kind of work; the oldest first.
    waiting: BTreeMap<(Priority, Work), BTreeSet<Place>>,
    /// How much was started, in seconds, moved up to the common mark when the namespace comes back after a pause.
    served: u64,
    running_builds: usize,
}

impl Queues {
    fn is_idle(&self) -> bool {
        self.waiting.values().all(BTreeSet::is_empty)
    }
}

/// The queues of all namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespaces {
    queues: BTreeMap<String, Queues>,
    /// `served` of the namespace that was served last, before it was: a newcomer begins here and not at 0.
    mark: u64,
    waiting: usize,
}

/// What may be chosen just now.
pub(super) struct Choice<'a> {
    pub(super) now: u64,
    /// A background job that waits longer than this counts as one that a user waits for.
    pub(super) patience: u64,
    pub(super) freezes: &'a BTreeMap<String, Freeze>,
    pub(super) rebuilds: bool,
    pub(super) rebases: bool,
    pub(super) builds_per_namespace: usize,
}

impl Namespaces {
    pub(super) fn add(&mut self, job: &Job, since: u64, arrival: u64) {
        let queues = self.queues.entry(job.namespace.clone()).or_default();
        if queues.is_idle() {
            queues.served = queues.served.max(self.mark);
        }
        let queue = queues.waiting.entry((job.priority, job.work)).or_default();
        self.waiting += usize::from(queue.insert((since, arrival, job.id)));
    }

    /// Whether any job waits for a place.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn remove(&mut self, job: &Job, since: u64, arrival: u64) {
        if let Some(queues) = self.queues.get_mut(&job.namespace)
            && let Some(queue) = queues.waiting.get_mut(&(job.priority, job.work))
        {
            self.waiting -= usize::from(queue.remove(&(since, arrival, job.id)));
        }
    }

    /// The job that is next: what users wait for first; then the namespace that had least; there the oldest.
    pub(super) fn next(&self, choice: &Choice<'_>) -> Option<JobId> {
        let best = self.queues.iter().filter_map(|(name, queues)| {
            let (class, place) = queues.best(name, choice)?;
            Some((class, queues.served, name, place))
        });
        best.min().map(|(_, _, _, (_, _, id))| id)
    }

    pub(super) fn started(&mut self, job: &Job) {
        if let Some(queues) = self.queues.get_mut(&job.namespace) {
            self.mark = self.mark.max(queues.served);
            queues.served = queues.served.saturating_add(job.seconds.max(1));
            queues.running_builds += usize::from(job.work == Work::Rebuild);
        }
    }

    pub(super) fn finished(&mut self, job: &Job) {
        if let Some(queues) = self.queues.get_mut(&job.namespace) {
            queues.running_builds = queues
                .running_builds
                .saturating_sub(usize::from(job.work == Work::Rebuild));
        }
    }
}

impl Queues {
    /// The best job of this namespace with its class: 0 is urgent.
    fn best(&self, name: &str, choice: &Choice<'_>) -> Option<(u8, Place)> {
        let heads = self.waiting.iter().filter_map(|(&(priority, work), queue)| {
            let place = *queue.first()?;
            let free = match work {
                Work::Rebuild => choice.rebuilds && self.running_builds < choice.builds_per_namespace,
                Work::Rebase => choice.rebases,
            };
            let frozen = choice
                .freezes
                .values()
                .any(|freeze| freeze.holds(name, priority, choice.now));
            let is_urgent = priority == Priority::High || choice.now.saturating_sub(place.0) > choice.patience;
            (free && !frozen).then_some((u8::from(!is_urgent), place))
        });
        heads.min()
    }
}

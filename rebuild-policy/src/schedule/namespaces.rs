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
    /// Those with jobs that wait, who had least first.
    order: BTreeSet<(u64, String)>,
    /// `served` of the namespace that was served last, before it was: a newcomer begins here and not at 0.
    mark: u64,
    /// How many jobs wait that users wait for.
    urgent: usize,
    /// The others that wait, the oldest first.
    background: BTreeSet<Place>,
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
            self.order.insert((queues.served, job.namespace.clone()));
        }
        let place = (since, arrival, job.id);
        queues
            .waiting
            .entry((job.priority, job.work))
            .or_default()
            .insert(place);
        match job.priority {
            Priority::High => self.urgent += 1,
            Priority::Low => {
                self.background.insert(place);
            }
        }
    }

    pub(super) fn remove(&mut self, job: &Job, since: u64, arrival: u64) {
        let place = (since, arrival, job.id);
        let Some(queues) = self.queues.get_mut(&job.namespace) else {
            return;
        };
        let queue = queues.waiting.entry((job.priority, job.work)).or_default();
        if !queue.remove(&place) {
            return;
        }
        if queues.is_idle() {
            self.order.remove(&(queues.served, job.namespace.clone()));
        }
        match job.priority {
            Priority::High => self.urgent -= 1,
            Priority::Low => {
                self.background.remove(&place);
            }
        }
    }

    /// Whether any job waits for a place.
    pub(super) fn has_waiting(&self) -> bool {
        !self.order.is_empty()
    }

    /// The job that is next: what users wait for first; then the namespace that had least; there the oldest.
    pub(super) fn next(&self, choice: &Choice<'_>) -> Option<JobId> {
        if !(choice.rebuilds || choice.rebases) {
            return None;
        }
        let has_aged = self.background.first().is_some_and(|place| choice.is_aged(*place));
        let any_urgent = self.urgent > 0 || has_aged;
        let mut best = None;
        for (_, name) in &self.order {
            let Some((class, (_, _, id))) = self.queues.get(name).and_then(|queues| queues.best(name, choice)) else {
                continue;
            };
            // In the order of what they had, the first of the better class is the one.
            if class == 0 || !any_urgent {
                return Some(id);
            }
            best = best.or(Some(id));
        }
        best
    }

    /// A job that was taken out of its queue has started.
    pub(super) fn started(&mut self, job: &Job) {
        if let Some(queues) = self.queues.get_mut(&job.namespace) {
            self.mark = self.mark.max(queues.served);
            let waits = self.order.remove(&(queues.served, job.namespace.clone()));
            queues.served = queues.served.saturating_add(job.seconds.max(1));
            if waits {
                self.order.insert((queues.served, job.namespace.clone()));
            }
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

impl Choice<'_> {
    fn is_aged(&self, (since, ..): Place) -> bool {
        self.now.saturating_sub(since) > self.patience
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
            let is_urgent = priority == Priority::High || choice.is_aged(place);
            (free && !frozen).then_some((u8::from(!is_urgent), place))
        });
        heads.min()
    }
}

//! Waves: what belongs to a rollout waits until its wave is reached.

use std::collections::{BTreeMap, BTreeSet};

use super::{JobId, RolloutId};

/// When a rollout is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimit {
    /// More than this share of the finished jobs of a wave failed, in percent.
    pub percent: u8,
    /// Within a wave the share counts once so many have finished; at its end it always does.
    pub at_least: usize,
}

impl Default for FailureLimit {
    /// More than 20 percent of at least 5.
    fn default() -> Self {
        Self {
            percent: 20,
            at_least: 5,
        }
    }
}

impl FailureLimit {
    fn is_exceeded(self, wave: &WaveState) -> bool {
        let enough = wave.open == 0 || wave.finished >= self.at_least;
        enough && wave.failed * 100 > wave.finished * usize::from(self.percent)
    }
}

#[derive(Clone, Debug, Default)]
struct WaveState {
    /// Jobs that have not ended.
    open: usize,
    finished: usize,
    failed: usize,
    /// Jobs that may not start yet.
    parked: BTreeSet<JobId>,
}

#[derive(Clone, Debug, Default)]
struct Rollout {
    waves: BTreeMap<u32, WaveState>,
    stopped: bool,
}

impl Rollout {
    /// The wave that is worked on: the first with jobs that have not ended.
    fn reached(&self) -> Option<u32> {
        self.waves
            .iter()
            .find(|(_, wave)| wave.open > 0)
            .map(|(number, _)| *number)
    }
}

/// All rollouts.
#[derive(Clone, Debug, Default)]
pub(super) struct Rollouts {
    limit: FailureLimit,
    rollouts: BTreeMap<RolloutId, Rollout>,
}

/// How many of a wave failed, when that stops the rollout.
pub(super) struct Stopped {
    pub(super) failed: usize,
    pub(super) finished: usize,
}

impl Rollouts {
    pub(super) fn new(limit: FailureLimit) -> Self {
        Self {
            limit,
            rollouts: BTreeMap::new(),
        }
    }

    /// A job joins; it is parked until [`Rollouts::take_ready`] gives it. Tells whether it is of an earlier wave than the
    /// one reached, so that what waits for a place has to wait for it first.
    pub(super) fn join(&mut self, id: JobId, (rollout, number): (RolloutId, u32)) -> bool {
        let reached = self.rollouts.get(&rollout).and_then(Rollout::reached);
        let wave = self
            .rollouts
            .entry(rollout)
            .or_default()
            .waves
            .entry(number)
            .or_default();
        wave.open += 1;
        wave.parked.insert(id);
        reached.is_some_and(|reached| number < reached)
    }

    /// A job that has not ended goes back to where it waits for its wave.
    pub(super) fn park(&mut self, id: JobId, (rollout, wave): (RolloutId, u32)) {
        let wave = self.rollouts.entry(rollout).or_default().waves.entry(wave).or_default();
        wave.parked.insert(id);
    }

    /// A job leaves without having ended.
    pub(super) fn leave(&mut self, id: JobId, (rollout, wave): (RolloutId, u32)) {
        if let Some(wave) = self.wave(rollout, wave) {
            wave.open = wave.open.saturating_sub(1);
            wave.parked.remove(&id);
        }
    }

    /// A job has ended; tells when that stops the rollout.
    pub(super) fn end(&mut self, (rollout, wave): (RolloutId, u32), failed: bool) -> Option<Stopped> {
        let limit = self.limit;
        let state = self.wave(rollout, wave)?;
        state.open = state.open.saturating_sub(1);
        state.finished += 1;
        state.failed += usize::from(failed);
        let stopped = limit.is_exceeded(state).then_some(Stopped {
            failed: state.failed,
            finished: state.finished,
        })?;
        let rollout = self.rollouts.get_mut(&rollout)?;
        (!std::mem::replace(&mut rollout.stopped, true)).then_some(stopped)
    }

    pub(super) fn resume(&mut self, rollout: RolloutId) {
        if let Some(rollout) = self.rollouts.get_mut(&rollout) {
            rollout.stopped = false;
            for wave in rollout.waves.values_mut() {
                (wave.finished, wave.failed) = (0, 0);
            }
        }
    }

    /// Whether a job of that wave may start now.
    pub(super) fn is_open(&self, (rollout, wave): (RolloutId, u32)) -> bool {
        self.rollouts
            .get(&rollout)
            .is_none_or(|rollout| !rollout.stopped && rollout.reached().is_none_or(|reached| wave <= reached))
    }

    /// Takes the parked jobs that may start now.
    pub(super) fn take_ready(&mut self) -> Vec<JobId> {
        let mut ready = Vec::new();
        for rollout in self.rollouts.values_mut().filter(|rollout| !rollout.stopped) {
            let Some(reached) = rollout.reached() else {
                continue;
            };
            for wave in rollout.waves.range_mut(..=reached).map(|(_, wave)| wave) {
                ready.extend(std::mem::take(&mut wave.parked));
            }
        }
        ready
    }

    fn wave(&mut self, rollout: RolloutId, wave: u32) -> Option<&mut WaveState> {
        self.rollouts.get_mut(&rollout)?.waves.get_mut(&wave)
    }
}

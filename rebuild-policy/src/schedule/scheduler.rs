//! [`Scheduler`]: from what happened to what is done.

use std::collections::{BTreeMap, BTreeSet};

use super::namespaces::{Choice, Namespaces};
use super::rollouts::Rollouts;
use super::tokens::Tokens;
use super::{Backoff, Command, Event, FailureClass, FailureLimit, Freeze, Job, JobId, Outcome, Work};
use crate::change::Priority;

/// How much may be done at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Builds that run at the same time.
    pub builds: usize,
    /// Rebases that run at the same time.
    pub rebases: usize,
    /// Builds of one namespace that run at the same time.
    pub builds_per_namespace: usize,
    /// Requests to registries in a second, in the long run; 0 = no limit.
    pub requests_per_second: u64,
    /// Requests that may come at once.
    pub request_burst: u64,
}

impl Default for Limits {
    /// 4 builds, 16 rebases, no limit for namespaces and requests.
    fn default() -> Self {
        Self {
            builds: 4,
            rebases: 16,
            builds_per_namespace: usize::MAX,
            requests_per_second: 0,
            request_burst: 100,
        }
    }
}

/// How a scheduler decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// Budgets.
    pub limits: Limits,
    /// When a rollout is stopped.
    pub failures: FailureLimit,
    /// How transient failures are tried again.
    pub backoff: Backoff,
    /// How long background work may wait for a place, in milliseconds, before it counts as urgent: nothing starves.
    pub patience: u64,
}

impl Default for SchedulerOptions {
    /// An hour of patience.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            failures: FailureLimit::default(),
            backoff: Backoff::default(),
            patience: 3_600_000,
        }
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Waits for its wave.
    Parked,
    /// Waits for a place, since then.
    Queued(u64),
    /// Waits to be tried again, until then.
    Delayed(u64),
    Running,
}

#[derive(Clone, Debug)]
struct Entry {
    job: Job,
    arrival: u64,
    place: Place,
    failed: u32,
    /// What is to be done after the run that is under way: the same again (perhaps another), or nothing.
    next: Option<Job>,
    withdrawn: bool,
}

/// Decides which work may start now. See [`Scheduler::step`].
///
/// Laws, each of them a property test: limits are never exceeded; nothing starts in a freeze or of a stopped rollout;
/// no wave begins before the one before it has ended; what users wait for starts before the background; every job whose
/// rollout is not stopped starts at last; equal events give equal commands.
#[derive(Clone, Debug)]
pub struct Scheduler {
    options: SchedulerOptions,
    jobs: BTreeMap<JobId, Entry>,
    namespaces: Namespaces,
    rollouts: Rollouts,
    freezes: BTreeMap<String, Freeze>,
    delayed: BTreeSet<(u64, JobId)>,
    tokens: Tokens,
    arrivals: u64,
    running: [usize; 2],
    now: u64,
}

impl Scheduler {
    /// Makes a scheduler without work, at time 0.
    pub fn new(options: SchedulerOptions) -> Self {
        let limits = options.limits;
        Self {
            options,
            jobs: BTreeMap::new(),
            namespaces: Namespaces::default(),
            rollouts: Rollouts::new(options.failures),
            freezes: BTreeMap::new(),
            delayed: BTreeSet::new(),
            tokens: Tokens::new(limits.requests_per_second, limits.request_burst),
            arrivals: 0,
            running: [0, 0],
            now: 0,
        }
    }

    /// Returns how many jobs are known: waiting or running.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes what happened at `now` (milliseconds since any fixed moment; never goes back) and says what to do.
    pub fn step(&mut self, now: u64, event: Event) -> Vec<Command> {
        self.now = self.now.max(now);
        self.tokens.advance(self.now);
        let mut commands = Vec::new();
        match event {
            Event::Wanted(job) => self.want(job),
            Event::Unwanted(id) => self.withdraw(id),
            Event::Finished(id, outcome) => self.finish(id, outcome, &mut commands),
            Event::Frozen(freeze) => {
                self.freezes.insert(freeze.name.clone(), freeze);
            }
            Event::Thawed(name) => {
                self.freezes.remove(&name);
            }
            Event::Resumed(rollout) => self.rollouts.resume(rollout),
            Event::TimePassed => {}
        }
        let now = self.now;
        self.freezes.retain(|_, freeze| now < freeze.until);
        self.wake_delayed();
        self.open_waves();
        self.start(&mut commands);
        commands
    }

    fn want(&mut self, mut job: Job) {
        if job.priority == Priority::High {
            job.rollout = None;
        }
        let id = job.id;
        if let Some(entry) = self.jobs.get_mut(&id)
            && entry.place == Place::Running
        {
            entry.next = Some(job);
            entry.withdrawn = false;
            return;
        }
        // Replaced by what is wanted now, the job keeps its place in the queue.
        let arrival = match self.forget(id) {
            Some(entry) => entry.arrival,
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        self.insert(job, arrival, 0);
    }

    fn insert(&mut self, job: Job, arrival: u64, failed: u32) {
        let place = match job.rollout {
            Some(wave) => {
                if self.rollouts.join(job.id, wave) {
                    self.park_closed();
                }
                Place::Parked
            }
            None => {
                self.namespaces.add(&job, self.now, arrival);
                Place::Queued(self.now)
            }
        };
        let entry = Entry {
            job,
            arrival,
            place,
            failed,
            next: None,
            withdrawn: false,
        };
        self.jobs.insert(entry.job.id, entry);
    }

    /// Removes a job that does not run.
    fn forget(&mut self, id: JobId) -> Option<Entry> {
        let entry = self.jobs.remove(&id)?;
        match entry.place {
            Place::Queued(since) => self.namespaces.remove(&entry.job, since, entry.arrival),
            Place::Delayed(until) => {
                self.delayed.remove(&(until, id));
            }
            Place::Parked | Place::Running => {}
        }
        if let Some(wave) = entry.job.rollout {
            self.rollouts.leave(id, wave);
        }
        Some(entry)
    }

    fn withdraw(&mut self, id: JobId) {
        match self.jobs.get_mut(&id) {
            Some(entry) if entry.place == Place::Running => {
                entry.next = None;
                entry.withdrawn = true;
            }
            Some(_) => {
                self.forget(id);
            }
            None => {}
        }
    }

    fn finish(&mut self, id: JobId, outcome: Outcome, commands: &mut Vec<Command>) {
        let is_running = self.jobs.get(&id).is_some_and(|entry| entry.place == Place::Running);
        let Some(mut entry) = self.jobs.remove(&id).filter(|_| is_running) else {
            return;
        };
        self.running[slot(entry.job.work)] -= 1;
        self.namespaces.finished(&entry.job);
        let failed = outcome != Outcome::Succeeded;
        entry.failed += u32::from(failed);
        let again = match outcome {
            Outcome::Failed(FailureClass::Transient) => self.options.backoff.wait(entry.failed),
            _ => None,
        };
        let is_over = entry.withdrawn || entry.next.is_some();
        if let (Some(wait), false) = (again, is_over) {
            let until = self.now.saturating_add(wait);
            entry.place = Place::Delayed(until);
            self.delayed.insert((until, id));
            self.jobs.insert(id, entry);
            return;
        }
        if let Some(wave) = entry.job.rollout
            && let Some(stopped) = self.rollouts.end(wave, failed && !is_over)
        {
            commands.push(Command::Stop {
                rollout: wave.0,
                failed: stopped.failed,
                finished: stopped.finished,
            });
            self.park_closed();
        }
        match entry.next {
            Some(next) => {
                self.arrivals += 1;
                self.insert(next, self.arrivals, 0);
            }
            None if failed && !entry.withdrawn => commands.push(Command::GiveUp(id, entry.failed)),
            None => {}
        }
    }

    /// Takes what may not start any more out of the queues: a rollout was stopped, or an earlier wave has work again.
    fn park_closed(&mut self) {
        for (id, entry) in &mut self.jobs {
            if let (Place::Queued(since), Some(wave)) = (entry.place, entry.job.rollout)
                && !self.rollouts.is_open(wave)
            {
                self.namespaces.remove(&entry.job, since, entry.arrival);
                self.rollouts.park(*id, wave);
                entry.place = Place::Parked;
            }
        }
    }

    fn wake_delayed(&mut self) {
        while let Some(&(until, id)) = self.delayed.first().filter(|(until, _)| *until <= self.now) {
            self.delayed.remove(&(until, id));
            let Some(entry) = self.jobs.get_mut(&id) else {
                continue;
            };
            match entry.job.rollout {
                Some(wave) if !self.rollouts.is_open(wave) => {
                    self.rollouts.park(id, wave);
                    entry.place = Place::Parked;
                }
                _ => {
                    self.namespaces.add(&entry.job, self.now, entry.arrival);
                    entry.place = Place::Queued(self.now);
                }
            }
        }
    }

    fn open_waves(&mut self) {
        for id in self.rollouts.take_ready() {
            if let Some(entry) = self.jobs.get_mut(&id) {
                self.namespaces.add(&entry.job, self.now, entry.arrival);
                entry.place = Place::Queued(self.now);
            }
        }
    }

    fn start(&mut self, commands: &mut Vec<Command>) {
        let mut wake = self.next_boundary();
        loop {
            let limits = self.options.limits;
            let choice = Choice {
                now: self.now,
                patience: self.options.patience,
                freezes: &self.freezes,
                rebuilds: self.running[slot(Work::Rebuild)] < limits.builds,
                rebases: self.running[slot(Work::Rebase)] < limits.rebases,
                builds_per_namespace: limits.builds_per_namespace,
            };
            let Some(id) = self.namespaces.next(&choice) else {
                break;
            };
            let Some(entry) = self.jobs.get_mut(&id) else {
                break;
            };
            if !self.tokens.has(entry.job.requests) {
                // Nobody overtakes: else a job with many requests would never find enough.
                wake = Some(wake.unwrap_or(u64::MAX).min(self.tokens.when(entry.job.requests)));
                break;
            }
            if let Place::Queued(since) = entry.place {
                self.namespaces.remove(&entry.job, since, entry.arrival);
            }
            entry.place = Place::Running;
            self.tokens.take(entry.job.requests);
            self.namespaces.started(&entry.job);
            self.running[slot(entry.job.work)] += 1;
            commands.push(Command::Start(id));
        }
        commands.extend(wake.map(Command::WakeAt));
    }

    /// The next time at which something changes by itself.
    fn next_boundary(&self) -> Option<u64> {
        let delayed = self.delayed.first().map(|(until, _)| *until);
        let has_waiting = self.namespaces.has_waiting();
        let ends = self.freezes.values().map(|freeze| freeze.until).filter(|_| has_waiting);
        ends.chain(delayed).filter(|time| *time > self.now).min()
    }
}

fn slot(work: Work) -> usize {
    match work {
        Work::Rebuild => 0,
        Work::Rebase => 1,
    }
}

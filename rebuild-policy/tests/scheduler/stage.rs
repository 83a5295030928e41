//! A world in which jobs run and end, and whoever breaks a law is found out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rebuild_policy::{
    Backoff, Command, Event, FailureClass, FailureLimit, Freeze, Frozen, Job, JobId, Limits, Outcome, Priority,
    RolloutId, Scheduler, SchedulerOptions, Work,
};

/// Something that comes from outside.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Want(Job, u64, Vec<Option<FailureClass>>),
    Withdraw(u64),
    Freeze(Freeze),
    Thaw(String),
    Resume,
}

pub(crate) fn options() -> impl Strategy<Value = SchedulerOptions> {
    (
        1..4_usize,
        1..4_usize,
        1..4_usize,
        0..30_u64,
        10..60_u64,
        0..60_u8,
        1..5_usize,
        1..4_u32,
        1..40_u64,
    )
        .prop_map(
            |(builds, rebases, builds_per_namespace, rate, request_burst, percent, at_least, attempts, patience)| {
                SchedulerOptions {
                    limits: Limits {
                        builds,
                        rebases,
                        builds_per_namespace,
                        requests_per_second: if rate < 5 { 0 } else { rate },
                        request_burst,
                    },
                    failures: FailureLimit { percent, at_least },
                    backoff: Backoff {
                        first: 700,
                        longest: 2_000,
                        attempts,
                    },
                    patience: patience * 500,
                }
            },
        )
}

fn wanted() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        6 => Just(None),
        1 => Just(Some(FailureClass::Permanent)),
        2 => Just(Some(FailureClass::Transient)),
    ];
    (
        0..14_u64,
        0..4_u8,
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.7, (0..2_u64, 0..3_u32)),
        (1..6_u64, 1..10_u64),
        prop::collection::vec(outcome, 4),
    )
        .prop_map(
            |(id, namespace, rebase, urgent, rollout, (seconds, requests), outcomes)| {
                let job = Job {
                    id: JobId(id),
                    namespace: format!("team-{namespace}"),
                    work: if rebase { Work::Rebase } else { Work::Rebuild },
                    priority: if urgent { Priority::High } else { Priority::Low },
                    rollout: rollout
                        .filter(|_| !urgent)
                        .map(|(rollout, wave)| (RolloutId(rollout), wave)),
                    seconds,
                    requests,
                };
                Act::Want(job, seconds * 1000, outcomes)
            },
        )
}

fn freeze() -> impl Strategy<Value = Act> {
    (0..3_u8, prop::option::of(0..4_u8), any::<bool>(), 0..20_u64, 1..20_u64).prop_map(
        |(name, namespace, everything, from, length)| {
            Act::Freeze(Freeze {
                name: format!("freeze-{name}"),
                namespace: namespace.map(|namespace| format!("team-{namespace}")),
                what: if everything {
                    Frozen::Everything
                } else {
                    Frozen::Background
                },
                from: from * 700,
                until: (from + length) * 700,
            })
        },
    )
}

pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => wanted(),
        1 => (0..14_u64).prop_map(Act::Withdraw),
        1 => freeze(),
        1 => (0..3_u8).prop_map(|name| Act::Thaw(format!("freeze-{name}"))),
        1 => Just(Act::Resume),
    ];
    prop::collection::vec(act, 1..40)
}

pub(crate) struct Stage {
    options: SchedulerOptions,
    /// What is still to happen: time, number.
    coming: BTreeMap<(u64, u64), Event>,
    numbers: u64,
    facts: BTreeMap<JobId, (Job, u64, Vec<Option<FailureClass>>)>,
    runs: BTreeMap<JobId, usize>,
    waiting: BTreeSet<JobId>,
    running: BTreeMap<JobId, Job>,
    freezes: BTreeMap<String, Freeze>,
    stopped: BTreeSet<RolloutId>,
    requests: Vec<(u64, u64)>,
    planned: Vec<(u64, Act)>,
}

impl Stage {
    pub(crate) fn new(options: SchedulerOptions, acts: &[Act]) -> Self {
        let mut stage = Self {
            options,
            coming: BTreeMap::new(),
            numbers: 0,
            facts: BTreeMap::new(),
            runs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            running: BTreeMap::new(),
            freezes: BTreeMap::new(),
            stopped: BTreeSet::new(),
            requests: Vec::new(),
            planned: Vec::new(),
        };
        for (at, act) in (0..).zip(acts) {
            stage.planned.push((at * 400, act.clone()));
        }
        stage.planned.reverse();
        stage
    }

    fn push(&mut self, at: u64, event: Event) {
        self.numbers += 1;
        self.coming.insert((at, self.numbers), event);
    }

    pub(crate) fn next_event(&mut self) -> Option<(u64, Event)> {
        let planned = self.planned.last().map(|(at, _)| *at);
        let coming = self.coming.keys().next().map(|(at, _)| *at);
        if planned.is_some_and(|planned| coming.is_none_or(|coming| planned <= coming)) {
            let (at, act) = self.planned.pop()?;
            let event = match act {
                Act::Want(job, length, outcomes) => {
                    self.facts.insert(job.id, (job.clone(), length, outcomes));
                    Event::Wanted(job)
                }
                Act::Withdraw(id) => Event::Unwanted(JobId(id)),
                Act::Freeze(freeze) => Event::Frozen(freeze),
                Act::Thaw(name) => Event::Thawed(name),
                Act::Resume => Event::Resumed(RolloutId(0)),
            };
            return Some((at, event));
        }
        let ((at, _), event) = self.coming.pop_first()?;
        Some((at, event))
    }

    /// Follows what happened and checks every start.
    pub(crate) fn note(&mut self, now: u64, event: &Event, commands: &[Command]) -> Result<(), TestCaseError> {
        match event {
            Event::Wanted(job) => {
                self.waiting.insert(job.id);
            }
            Event::Unwanted(id) => {
                self.waiting.remove(id);
            }
            Event::Finished(id, outcome) => {
                self.running.remove(id);
                if *outcome == Outcome::Failed(FailureClass::Transient) {
                    // Perhaps it is tried again; whether it waits is the scheduler's to say.
                    self.waiting.insert(*id);
                }
            }
            Event::Frozen(freeze) => {
                self.freezes.insert(freeze.name.clone(), freeze.clone());
            }
            Event::Thawed(name) => {
                self.freezes.remove(name);
            }
            Event::Resumed(rollout) => {
                self.stopped.remove(rollout);
            }
            _ => {}
        }
        for command in commands {
            match command {
                Command::Start(id) => self.start(now, *id)?,
                Command::GiveUp(id, _) => {
                    self.waiting.remove(id);
                }
                Command::Stop {
                    rollout,
                    failed,
                    finished,
                } => {
                    prop_assert!(failed * 100 > finished * usize::from(self.options.failures.percent));
                    self.stopped.insert(*rollout);
                }
                Command::WakeAt(at) => {
                    prop_assert!(*at > now, "woken at {at}, which is not after {now}");
                    self.push(*at, Event::TimePassed);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, now: u64, id: JobId) -> Result<(), TestCaseError> {
        let (job, length, outcomes) = self.facts[&id].clone();
        prop_assert!(!self.running.contains_key(&id), "{id:?} runs twice");
        let frozen = self
            .freezes
            .values()
            .any(|freeze| freeze.holds(&job.namespace, job.priority, now));
        prop_assert!(!frozen, "{job:?} starts in a freeze");
        if let Some((rollout, wave)) = job.rollout.filter(|_| job.priority == Priority::Low) {
            prop_assert!(
                !self.stopped.contains(&rollout),
                "{job:?} starts though its rollout is stopped"
            );
            let earlier = self.running.values().filter(|other| other.priority == Priority::Low);
            let earlier = earlier
                .filter_map(|other| other.rollout)
                .any(|(other, before)| other == rollout && before < wave);
            prop_assert!(!earlier, "{job:?} starts before an earlier wave has ended");
        }
        self.waiting.remove(&id);
        self.running.insert(id, job.clone());
        let limits = self.options.limits;
        let count = |work: Work| self.running.values().filter(|job| job.work == work).count();
        prop_assert!(count(Work::Rebuild) <= limits.builds && count(Work::Rebase) <= limits.rebases);
        let here = self
            .running
            .values()
            .filter(|other| other.work == Work::Rebuild && other.namespace == job.namespace);
        prop_assert!(here.count() <= limits.builds_per_namespace);
        self.requests.push((now, job.requests));
        self.check_requests(now)?;

        let run = self.runs.entry(id).or_default();
        let outcome = match outcomes.get(*run).copied().flatten() {
            None => Outcome::Succeeded,
            Some(class) => Outcome::Failed(class),
        };
        *run += 1;
        self.push(now + length, Event::Finished(id, outcome));
        Ok(())
    }

    /// In no window of time are more requests begun than fit into the bucket and flow into it meanwhile.
    fn check_requests(&self, now: u64) -> Result<(), TestCaseError> {
        let limits = self.options.limits;
        if limits.requests_per_second == 0 {
            return Ok(());
        }
        let mut sum = 0;
        for (at, requests) in self.requests.iter().rev() {
            sum += requests;
            let most = limits.request_burst * 1000 + (now - at) * limits.requests_per_second;
            prop_assert!(sum * 1000 <= most, "{sum} requests in {} ms", now - at);
        }
        Ok(())
    }

    /// When nothing happens any more, nothing waits but what belongs to a stopped rollout.
    pub(crate) fn all_ended(&self, scheduler: &Scheduler) -> Result<(), TestCaseError> {
        prop_assert!(self.running.is_empty());
        if self.stopped.is_empty() {
            prop_assert!(
                scheduler.is_empty(),
                "{} jobs never started: {scheduler:?}",
                scheduler.len()
            );
        }
        Ok(())
    }
}

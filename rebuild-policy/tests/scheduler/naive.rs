//! The scheduler, slow and obvious: one list of jobs, everything else counted anew from it each time.

use std::collections::BTreeMap;

use rebuild_policy::{
    Command, Event, FailureClass, Freeze, Job, JobId, Outcome, Priority, RolloutId, SchedulerOptions, Work,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Parked,
    Queued(u64),
    Delayed(u64),
    Running,
}

struct Row {
    job: Job,
    arrival: u64,
    state: State,
    failed: u32,
    next: Option<Job>,
    withdrawn: bool,
}

pub(crate) struct Naive {
    options: SchedulerOptions,
    rows: Vec<Row>,
    ended: Vec<(RolloutId, u32, bool)>,
    stopped: Vec<RolloutId>,
    freezes: Vec<Freeze>,
    arrivals: u64,
    served: BTreeMap<String, u64>,
    mark: u64,
    /// When how many requests began.
    began: Vec<(u64, u64)>,
}

impl Naive {
    pub(crate) fn new(options: SchedulerOptions) -> Self {
        Self {
            options,
            rows: Vec::new(),
            ended: Vec::new(),
            stopped: Vec::new(),
            freezes: Vec::new(),
            arrivals: 0,
            served: BTreeMap::new(),
            mark: 0,
            began: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, now: u64, event: &Event) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Wanted(job) => self.want(job.clone(), now),
            Event::Unwanted(id) => {
                let running = self
                    .rows
                    .iter_mut()
                    .find(|row| row.job.id == *id && row.state == State::Running);
                match running {
                    Some(row) => (row.next, row.withdrawn) = (None, true),
                    None => self.rows.retain(|row| row.job.id != *id),
                }
            }
            Event::Finished(id, outcome) => self.finish(*id, *outcome, now, &mut commands),
            Event::Frozen(freeze) => {
                self.freezes.retain(|other| other.name != freeze.name);
                self.freezes.push(freeze.clone());
            }
            Event::Thawed(name) => self.freezes.retain(|freeze| freeze.name != *name),
            Event::Resumed(rollout) => {
                self.stopped.retain(|other| other != rollout);
                self.ended.retain(|(other, ..)| other != rollout);
            }
            _ => {}
        }
        self.freezes.retain(|freeze| now < freeze.until);
        self.move_on(now);
        self.start(now, &mut commands);
        commands
    }

    fn want(&mut self, mut job: Job, now: u64) {
        if job.priority == Priority::High {
            job.rollout = None;
        }
        if let Some(row) = self
            .rows
            .iter_mut()
            .find(|row| row.job.id == job.id && row.state == State::Running)
        {
            (row.next, row.withdrawn) = (Some(job), false);
            return;
        }
        let old = self
            .rows
            .iter()
            .position(|row| row.job.id == job.id)
            .map(|at| self.rows.remove(at));
        let arrival = match old {
            Some(row) => row.arrival,
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        self.insert(job, arrival, now);
    }

    fn insert(&mut self, job: Job, arrival: u64, now: u64) {
        let state = if job.rollout.is_some() {
            State::Parked
        } else {
            self.queue(&job, now)
        };
        self.rows.push(Row {
            job,
            arrival,
            state,
            failed: 0,
            next: None,
            withdrawn: false,
        });
    }

    /// A namespace that has nothing waiting catches up with the mark.
    fn queue(&mut self, job: &Job, now: u64) -> State {
        let waits = |row: &Row| row.job.namespace == job.namespace && matches!(row.state, State::Queued(_));
        if !self.rows.iter().any(waits) {
            let served = self.served.entry(job.namespace.clone()).or_default();
            *served = (*served).max(self.mark);
        }
        State::Queued(now)
    }

    fn finish(&mut self, id: JobId, outcome: Outcome, now: u64, commands: &mut Vec<Command>) {
        let Some(at) = self
            .rows
            .iter()
            .position(|row| row.job.id == id && row.state == State::Running)
        else {
            return;
        };
        let mut row = self.rows.remove(at);
        let failed = outcome != Outcome::Succeeded;
        row.failed += u32::from(failed);
        let is_over = row.withdrawn || row.next.is_some();
        if outcome == Outcome::Failed(FailureClass::Transient)
            && row.failed < self.options.backoff.attempts.max(1)
            && !is_over
        {
            let mut wait = self.options.backoff.first;
            for _ in 1..row.failed {
                wait *= 2;
            }
            row.state = State::Delayed(now + wait.min(self.options.backoff.longest));
            self.rows.push(row);
            return;
        }
        if let Some((rollout, wave)) = row.job.rollout {
            self.ended.push((rollout, wave, failed && !is_over));
            let of_wave: Vec<_> = self
                .ended
                .iter()
                .filter(|(r, w, _)| (*r, *w) == (rollout, wave))
                .collect();
            let (finished, bad) = (of_wave.len(), of_wave.iter().filter(|(.., failed)| *failed).count());
            let open = self.rows.iter().any(|row| row.job.rollout == Some((rollout, wave)));
            let counts = !open || finished >= self.options.failures.at_least;
            if counts
                && bad * 100 > finished * usize::from(self.options.failures.percent)
                && !self.stopped.contains(&rollout)
            {
                self.stopped.push(rollout);
                commands.push(Command::Stop {
                    rollout,
                    failed: bad,
                    finished,
                });
            }
        }
        match row.next {
            Some(next) => {
                self.arrivals += 1;
                self.insert(next, self.arrivals, now);
            }
            None if failed && !row.withdrawn => commands.push(Command::GiveUp(id, row.failed)),
            None => {}
        }
    }

    /// Whether a job may be in the queue at all.
    fn is_open(&self, job: &Job) -> bool {
        let Some((rollout, wave)) = job.rollout else {
            return true;
        };
        let earlier = |row: &Row| {
            row.job
                .rollout
                .is_some_and(|(other, before)| other == rollout && before < wave)
        };
        !self.stopped.contains(&rollout) && !self.rows.iter().any(earlier)
    }

    /// Out of the queue with what may not start any more, then into it with what may go there.
    fn move_on(&mut self, now: u64) {
        for at in 0..self.rows.len() {
            if matches!(self.rows[at].state, State::Queued(_)) && !self.is_open(&self.rows[at].job) {
                self.rows[at].state = State::Parked;
            }
        }
        let due = |row: &Row| matches!(row.state, State::Delayed(until) if until <= now);
        let mut delayed: Vec<usize> = (0..self.rows.len()).filter(|&at| due(&self.rows[at])).collect();
        let until = |row: &Row| match row.state {
            State::Delayed(until) => until,
            _ => 0,
        };
        delayed.sort_by_key(|&at| (until(&self.rows[at]), self.rows[at].job.id));
        for at in delayed {
            let job = self.rows[at].job.clone();
            self.rows[at].state = if self.is_open(&job) {
                self.queue(&job, now)
            } else {
                State::Parked
            };
        }
        let mut parked: Vec<usize> = (0..self.rows.len())
            .filter(|&at| self.rows[at].state == State::Parked)
            .collect();
        parked.sort_by_key(|&at| (self.rows[at].job.rollout, self.rows[at].job.id));
        for at in parked {
            let job = self.rows[at].job.clone();
            if self.is_open(&job) {
                self.rows[at].state = self.queue(&job, now);
            }
        }
    }

    /// Thousandths of requests in the bucket.
    fn level(&self, now: u64) -> i128 {
        let limits = self.options.limits;
        let capacity = i128::from(limits.request_burst) * 1000;
        let (mut level, mut at) = (capacity, 0);
        for (time, requests) in &self.began {
            level = capacity.min(level + i128::from(time - at) * i128::from(limits.requests_per_second));
            level -= i128::from(*requests) * 1000;
            at = *time;
        }
        capacity.min(level + i128::from(now - at) * i128::from(limits.requests_per_second))
    }

    fn start(&mut self, now: u64, commands: &mut Vec<Command>) {
        let limits = self.options.limits;
        let has_waiting = self.rows.iter().any(|row| matches!(row.state, State::Queued(_)));
        let delays = self.rows.iter().filter_map(|row| match row.state {
            State::Delayed(until) => Some(until),
            _ => None,
        });
        let ends = self.freezes.iter().filter(|_| has_waiting).map(|freeze| freeze.until);
        let mut wake: Option<u64> = delays.chain(ends).filter(|time| *time > now).min();
        loop {
            let running = |work: Work, namespace: Option<&str>| {
                let is = |row: &&Row| {
                    row.state == State::Running
                        && row.job.work == work
                        && namespace.is_none_or(|namespace| row.job.namespace == namespace)
                };
                self.rows.iter().filter(is).count()
            };
            let best = (0..self.rows.len()).filter_map(|at| {
                let row = &self.rows[at];
                let State::Queued(since) = row.state else { return None };
                let job = &row.job;
                let free = match job.work {
                    Work::Rebuild => {
                        running(Work::Rebuild, None) < limits.builds
                            && running(Work::Rebuild, Some(&job.namespace)) < limits.builds_per_namespace
                    }
                    Work::Rebase => running(Work::Rebase, None) < limits.rebases,
                };
                let frozen = self
                    .freezes
                    .iter()
                    .any(|freeze| freeze.holds(&job.namespace, job.priority, now));
                let urgent = job.priority == Priority::High || now - since > self.options.patience;
                let served = self.served.get(&job.namespace).copied().unwrap_or(0);
                (free && !frozen).then_some(((!urgent, served, job.namespace.clone(), since, row.arrival), at))
            });
            let Some((_, at)) = best.min() else { break };
            let job = self.rows[at].job.clone();
            let needed = i128::from(job.requests.min(limits.request_burst)) * 1000;
            if limits.requests_per_second > 0 && self.level(now) < needed {
                let rate = i128::from(limits.requests_per_second);
                let wait = (needed - self.level(now) + rate - 1) / rate;
                wake = Some(
                    wake.unwrap_or(u64::MAX)
                        .min(now + u64::try_from(wait).expect("positive")),
                );
                break;
            }
            self.rows[at].state = State::Running;
            if limits.requests_per_second > 0 {
                self.began.push((now, job.requests));
            }
            let served = self.served.entry(job.namespace.clone()).or_default();
            self.mark = self.mark.max(*served);
            *served += job.seconds.max(1);
            commands.push(Command::Start(job.id));
        }
        commands.extend(wake.map(Command::WakeAt));
    }
}

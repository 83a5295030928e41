//! Images, builders whose run image moves, users, and time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rebuild_policy::{
    Action, Command, Event, FailureClass, Job, JobId, Outcome, PlanOptions, Present, Priority, Proposal, RolloutId,
    Scheduler, SchedulerOptions, Work, plan,
};

use crate::fleet::{NOW, digest, fleet, stack};

/// What happens from outside.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// When the run image's tag moves, in seconds.
    pub(crate) moves: Vec<u64>,
    /// Whether apps do not start on the new run image.
    pub(crate) broken: bool,
    /// Whether work goes in waves; otherwise all of it may start at once.
    pub(crate) waves: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) waves: usize,
    pub(crate) rebases: usize,
    pub(crate) rebuilds: usize,
    /// Builds given up.
    pub(crate) failed: usize,
    /// Transient failures, tried again.
    pub(crate) retried: usize,
    /// Builds whose run image was no longer the wanted one when they were through.
    pub(crate) wasted: usize,
    /// Images that had a run image already when the tag moved on.
    pub(crate) overtaken: usize,
    /// Images that are not up to date at the end, of those that did not fail.
    pub(crate) behind: usize,
    /// Seconds until the last build.
    pub(crate) makespan: u64,
    /// Jain's index of what namespaces had got half-way, in percent: 100 = all the same.
    pub(crate) fairness: usize,
    /// Seconds that 95 of 100 user builds waited at most for their start.
    pub(crate) user_wait: u64,
    /// The most requests in ten seconds.
    pub(crate) peak_requests: u64,
}

/// What has to be done again comes after all else.
const LAST_WAVE: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Move(usize),
    Commit(usize),
    Finish(usize),
    Wake,
}

pub(crate) struct World {
    present: Present,
    scheduler: Scheduler,
    story: Story,
    coming: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    numbers: u64,
    /// When the scheduler will be woken.
    wakes: BTreeSet<u64>,
    /// What each running job was started with: the run image's number, and the commit.
    started: BTreeMap<usize, (usize, Option<usize>, Work)>,
    /// The commits that wait to be built, and since when.
    commits: BTreeMap<usize, (usize, u64)>,
    wanted: BTreeMap<usize, Job>,
    run_image: usize,
    rollout: u64,
    random: u64,
    ends: Vec<(u64, usize)>,
    user_waits: Vec<u64>,
    requests: Vec<(u64, u64)>,
    tally: Tally,
}

impl World {
    pub(crate) fn new(images: usize, namespaces: usize, options: SchedulerOptions, story: Story) -> Self {
        let mut world = Self {
            present: fleet(images, namespaces, 1),
            scheduler: Scheduler::new(options),
            coming: BinaryHeap::new(),
            numbers: 0,
            wakes: BTreeSet::new(),
            started: BTreeMap::new(),
            commits: BTreeMap::new(),
            wanted: BTreeMap::new(),
            run_image: 0,
            rollout: 0,
            random: 7,
            ends: Vec::new(),
            user_waits: Vec::new(),
            requests: Vec::new(),
            tally: Tally::default(),
            story,
        };
        for (number, at) in world.story.moves.clone().into_iter().enumerate() {
            world.push(at * 1000, Happening::Move(1000 + number));
        }
        // A user pushes every 40 seconds for three hours.
        for number in 0..270 {
            let image = world.below(images);
            world.push(20_000 + number * 40_000, Happening::Commit(image));
        }
        world
    }

    /// A number that looks random and is the same in every run.
    fn below(&mut self, end: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).expect("31 bits") % end
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.numbers += 1;
        self.coming.push(Reverse((at, self.numbers, happening)));
    }

    pub(crate) fn run(&mut self) {
        while let Some(Reverse((now, _, happening))) = self.coming.pop() {
            match happening {
                Happening::Move(run_image) => self.move_tag(now, run_image),
                Happening::Commit(image) => self.commit(now, image),
                Happening::Finish(image) => self.finish(now, image),
                Happening::Wake => {
                    self.wakes.remove(&now);
                    self.step(now, Event::TimePassed);
                }
            }
        }
    }

    fn step(&mut self, now: u64, event: Event) {
        for command in self.scheduler.step(now, event) {
            match command {
                Command::Start(JobId(id)) => self.start(now, usize::try_from(id).expect("small")),
                Command::GiveUp(..) => self.tally.failed += 1,
                Command::WakeAt(at) if self.wakes.insert(at) => self.push(at, Happening::Wake),
                _ => {}
            }
        }
    }

    /// The stack is read again: the plan says who is concerned, with the digest that the tag has now.
    fn move_tag(&mut self, now: u64, run_image: usize) {
        let previous = digest(self.run_image);
        if self.run_image != 0 {
            let has_it = |build: &&rebuild_policy::Build| build.status.stack.run_image.ends_with(&previous);
            self.tally.overtaken += self.present.builds.iter().filter(has_it).count();
        }
        self.run_image = run_image;
        self.rollout += 1;
        let stack = serde_json::to_value(stack(0, run_image)).expect("JSON");
        let proposal = Proposal::from_objects([&stack]).expect("a digest");
        let options = PlanOptions::at(NOW.parse().expect("a time"));
        let plan = plan(&self.present, &proposal, &options);
        self.tally.waves = self
            .tally
            .waves
            .max(if self.story.waves { plan.waves.len() } else { 1 });
        let jobs: Vec<Job> = plan
            .work()
            .map(|planned| Job {
                id: JobId(number_of(&planned.image.metadata.name) as u64),
                namespace: planned.image.metadata.namespace.clone(),
                work: if matches!(planned.action, Action::Rebase(_)) {
                    Work::Rebase
                } else {
                    Work::Rebuild
                },
                priority: planned.action.priority(),
                rollout: self.story.waves.then_some((RolloutId(self.rollout), planned.wave)),
                seconds: planned.cost.seconds,
                requests: planned.cost.requests,
            })
            .collect();
        self.present.cluster_builders[0].status.stack.run_image =
            format!("reg.example/builders/0:b-run-image@{}", digest(run_image));
        for job in jobs {
            let id = usize::try_from(job.id.0).expect("small");
            // What already runs with the older image is looked at again when it is through; a user's build takes the
            // newest run image anyway.
            if self.started.contains_key(&id) || self.commits.contains_key(&id) {
                continue;
            }
            self.wanted.insert(id, job.clone());
            self.step(now, Event::Wanted(job));
        }
    }

    fn commit(&mut self, now: u64, image: usize) {
        self.commits.insert(image, (usize::try_from(now).expect("small"), now));
        if !self.started.contains_key(&image) {
            self.want_user_build(now, image);
        }
    }

    fn want_user_build(&mut self, now: u64, image: usize) {
        let job = Job {
            id: JobId(image as u64),
            namespace: self.present.images[image].metadata.namespace.clone(),
            work: Work::Rebuild,
            priority: Priority::High,
            rollout: None,
            seconds: 120,
            requests: 60,
        };
        self.wanted.insert(image, job.clone());
        self.step(now, Event::Wanted(job));
    }

    fn start(&mut self, now: u64, image: usize) {
        let job = self.wanted[&image].clone();
        let commit = self.commits.remove(&image);
        if let Some((_, since)) = commit {
            self.user_waits.push((now - since) / 1000);
        }
        self.started
            .insert(image, (self.run_image, commit.map(|(commit, _)| commit), job.work));
        self.requests.push((now, job.requests));
        let length = job.seconds * 700 + self.below(usize::try_from(job.seconds * 600).expect("small")) as u64;
        self.push(now + length, Happening::Finish(image));
    }

    fn finish(&mut self, now: u64, image: usize) {
        let Some((run_image, commit, work)) = self.started.remove(&image) else {
            return;
        };
        self.tally.makespan = now / 1000;
        let chance = self.below(1000);
        let outcome = match chance {
            _ if self.story.broken && run_image != 0 && commit.is_none() => Outcome::Failed(FailureClass::Permanent),
            0..20 => Outcome::Failed(FailureClass::Transient),
            _ => Outcome::Succeeded,
        };
        match work {
            Work::Rebuild => self.tally.rebuilds += 1,
            Work::Rebase => self.tally.rebases += 1,
        }
        if outcome == Outcome::Succeeded {
            self.present.builds[image].status.stack.run_image =
                format!("reg.example/builders/0:b-run-image@{}", digest(run_image));
            self.ends.push((now, image % 200));
            self.tally.wasted += usize::from(run_image != self.run_image && commit.is_none());
        } else if outcome == Outcome::Failed(FailureClass::Transient) {
            self.tally.retried += 1;
            if let Some(commit) = commit {
                self.commits.entry(image).or_insert((commit, now));
            }
        }
        self.step(now, Event::Finished(JobId(image as u64), outcome));
        // What changed while it ran.
        if outcome == Outcome::Succeeded {
            if self.commits.contains_key(&image) {
                self.want_user_build(now, image);
            } else if run_image != self.run_image {
                let mut job = self.wanted[&image].clone();
                (job.work, job.priority, job.seconds, job.requests) = (Work::Rebase, Priority::Low, 5, 12);
                job.rollout = self.story.waves.then_some((RolloutId(self.rollout), LAST_WAVE));
                self.wanted.insert(image, job.clone());
                self.step(now, Event::Wanted(job));
            }
        }
    }

    pub(crate) fn tally(mut self) -> Tally {
        let newest = digest(self.run_image);
        let behind = |build: &&rebuild_policy::Build| !build.status.stack.run_image.ends_with(&newest);
        if !self.story.broken {
            self.tally.behind = self.present.builds.iter().filter(behind).count();
        }
        self.user_waits.sort_unstable();
        let at = self.user_waits.len() * 95 / 100;
        self.tally.user_wait = self.user_waits.get(at).copied().unwrap_or(0);
        self.tally.fairness = fairness(&self.ends);
        self.tally.peak_requests = peak(&self.requests);
        self.tally
    }
}

fn number_of(name: &str) -> usize {
    name.trim_start_matches("app-").parse().expect("a number")
}

/// Jain's index of the namespaces' shares when half of all work is through: (Σx)² / (n·Σx²), in percent.
fn fairness(ends: &[(u64, usize)]) -> usize {
    let mut shares = [0_usize; 200];
    for (_, namespace) in &ends[..ends.len() / 2] {
        shares[*namespace] += 1;
    }
    let (sum, squares): (usize, usize) = (shares.iter().sum(), shares.iter().map(|share| share * share).sum());
    (sum * sum * 100).checked_div(shares.len() * squares).unwrap_or(100)
}

fn peak(requests: &[(u64, u64)]) -> u64 {
    let (mut first, mut sum, mut peak) = (0, 0, 0);
    for (at, count) in requests {
        sum += count;
        while requests[first].0 + 10_000 <= *at {
            sum -= requests[first].1;
            first += 1;
        }
        peak = peak.max(sum);
    }
    peak
}

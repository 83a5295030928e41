//! What would happen if something changed: which images are rebuilt, rebased or left alone, why, in which order, and
//! at which cost.

mod action;
mod cost;
mod effect;
mod present;
mod proposal;
mod report;
mod rollout;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::thread;

use jiff::Timestamp;

use crate::change::{Changes, Reason};
use crate::decide::{BuilderView, Decision, Situation, decide};
use crate::history::latest_of;
use crate::resource::{Build, Image, SourceResolver};

pub use action::Action;
pub use cost::{Cost, CostModel};
pub use effect::{BuilderEffect, BuilderOutcome};
pub use present::Present;
pub use proposal::{Proposal, ProposalError};
pub use rollout::{Rollout, Wave};

use effect::Effects;
use present::{BuilderKey, Index, NameKey, name_of};

/// What a plan is made with besides objects.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The present time; only shown to users.
    pub now: Timestamp,
    /// How much work builds are that were never seen.
    pub costs: CostModel,
    /// Who goes first, and how many at a time.
    pub rollout: Rollout,
    /// How many threads share the work. The plan is the same for any number.
    pub threads: NonZeroUsize,
}

impl PlanOptions {
    /// Chooses the usual costs, a usual rollout and one thread.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            costs: CostModel::default(),
            rollout: Rollout::default(),
            threads: NonZeroUsize::MIN,
        }
    }
}

/// What would happen to one image.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedImage<'a> {
    /// The image.
    pub image: &'a Image,
    /// What is done to it.
    pub action: Action,
    /// Whether that is so because of the proposed change; `false` when it is due without it.
    pub caused: bool,
    /// Whether a build is running now, after which it is decided anew.
    pub after_running: bool,
    /// In which wave; 0 are the canaries. Meaningless for images that stay.
    pub wave: u32,
    /// What it costs, estimated.
    pub cost: Cost,
}

impl PlannedImage<'_> {
    /// Returns whether anything is built.
    pub fn is_work(&self) -> bool {
        self.action.changes().is_some()
    }

    /// Tells people what happens and why, in one line.
    pub fn explain(&self) -> String {
        let metadata = &self.image.metadata;
        let name = format!("{}/{}", metadata.namespace, metadata.name);
        let running = if self.after_running {
            " (after the running build)"
        } else {
            ""
        };
        let already = if self.is_work() && !self.caused {
            ", which is due already"
        } else {
            ""
        };
        format!("{name}: {}{already}{running}", self.action.explain())
    }
}

/// What would happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// The builders that are made anew, and what becomes of them.
    pub builders: Vec<BuilderEffect>,
    /// Every image: first those with work, in the order in which it is done; then the others by namespace and name.
    pub images: Vec<PlannedImage<'a>>,
    /// The waves, in order.
    pub waves: Vec<Wave>,
}

impl<'a> Plan<'a> {
    /// Returns the images with work, in order.
    pub fn work(&self) -> impl Iterator<Item = &PlannedImage<'a>> {
        self.images.iter().filter(|planned| planned.is_work())
    }

    /// Returns what all of it costs.
    pub fn cost(&self) -> Cost {
        self.work().map(|planned| planned.cost).sum()
    }
}

/// Says what would happen if the objects of `proposal` replaced the present ones of their kinds and names.
///
/// Pure: nothing is read or applied, equal arguments give equal plans. Run images are compared by digest, so a plan
/// holds for the images it was made with, however tags move meanwhile. Mixins and API versions of buildpacks are not
/// checked against a new stack or lifecycle; whether such a builder can be made shows when it is made.
pub fn plan<'a>(present: &'a Present, proposal: &'a Proposal, options: &PlanOptions) -> Plan<'a> {
    let index = Index::new(present, &proposal.images, options.threads);
    let effects = Effects::new(present, proposal);
    let changed: HashMap<NameKey<'_>, &Image> = proposal
        .images
        .iter()
        .map(|image| (name_of(&image.metadata), image))
        .collect();
    let known: HashSet<NameKey<'_>> = match changed.is_empty() {
        true => HashSet::new(),
        false => present.images.iter().map(|image| name_of(&image.metadata)).collect(),
    };
    let new_images = proposal
        .images
        .iter()
        .filter(|image| !known.contains(&name_of(&image.metadata)));
    let planner = Planner {
        index: &index,
        effects: &effects,
        options,
    };
    let images: Vec<&'a Image> = present.images.iter().chain(new_images).collect();
    let planned = |image: &&'a Image| planner.image(image, changed.get(&name_of(&image.metadata)).copied());
    let mut images = in_parallel(&images, options.threads, planned);
    let waves = options.rollout.arrange(&mut images);
    Plan {
        builders: effects.into_list(),
        images,
        waves,
    }
}

/// Does the same with each item, in order, by several threads.
fn in_parallel<T: Sync, R: Send>(items: &[T], threads: NonZeroUsize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(threads.get()).max(1);
    let Some((own, others)) = items.split_at_checked(share) else {
        return items.iter().map(each).collect();
    };
    thread::scope(|scope| {
        let each = &each;
        let others: Vec<_> = others
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(each).collect::<Vec<R>>()))
            .collect();
        let mut results = Vec::with_capacity(items.len());
        results.extend(own.iter().map(each));
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

struct Planner<'p, 'a> {
    index: &'p Index<'a>,
    effects: &'p Effects<'a>,
    options: &'p PlanOptions,
}

impl<'a> Planner<'_, 'a> {
    fn image(&self, present: &'a Image, changed: Option<&'a Image>) -> PlannedImage<'a> {
        let image = changed.unwrap_or(present);
        let builds = self.index.builds(present);
        let last = latest_of(builds.iter().copied());
        let source = self.index.source(present);
        let now = self.decide(image, last, source);
        let affected = changed.is_some() || self.effects.concern(&BuilderKey::of(image));
        let caused = affected && {
            let before = self.reasons(present, last, source);
            !now.changes().into_iter().flat_map(Changes::each_reason).eq(before)
        };
        let cost = match &now {
            Action::Rebuild(_) => self.options.costs.rebuild(builds.iter().copied()),
            Action::Rebase(_) => self.options.costs.rebase(builds.iter().copied()),
            _ => Cost::default(),
        };
        PlannedImage {
            image,
            action: now,
            caused,
            after_running: last.is_some_and(Build::is_running),
            wave: 0,
            cost,
        }
    }

    /// The reasons there are without the change.
    fn reasons(&self, image: &'a Image, last: Option<&'a Build>, source: Option<&'a SourceResolver>) -> Vec<Reason> {
        let (Some(builder), Some(source)) = (self.index.builder(&BuilderKey::of(image)), source) else {
            return Vec::new();
        };
        let situation = Situation {
            image,
            last_build: last,
            source,
            builder,
            now: self.options.now,
        };
        situation.reasons()
    }

    /// Decides with the builder as it would be.
    fn decide(&self, image: &'a Image, last: Option<&'a Build>, source: Option<&'a SourceResolver>) -> Action {
        let key = BuilderKey::of(image);
        let builder = self.effects.after(&key).or_else(|| self.index.builder(&key));
        let (Some(builder), Some(source)) = (builder, source) else {
            return match builder {
                None => Action::NoBuilder,
                Some(_) => Action::Wait(crate::decide::Waiting::Source),
            };
        };
        let situation = Situation {
            image,
            last_build: last,
            source,
            builder,
            now: self.options.now,
        };
        match decide(&situation) {
            Ok(Decision::UpToDate) => Action::Stay,
            Ok(Decision::Wait(what)) => Action::Wait(what),
            Ok(Decision::Build(changes)) if can_rebase(&changes, last, builder) => Action::Rebase(changes),
            Ok(Decision::Build(changes)) => Action::Rebuild(changes),
            Err(error) => Action::Undecided(error),
        }
    }
}

/// As [`crate::is_rebase`] will say of the Build: only the run image changed, and the stack is still the same.
fn can_rebase(changes: &Changes, last: Option<&Build>, builder: BuilderView<'_>) -> bool {
    changes.is_run_image_only() && last.is_some_and(|last| last.status.stack.id == builder.status.stack.id)
}

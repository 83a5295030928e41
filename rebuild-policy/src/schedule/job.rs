//! What is scheduled, what happens, and what is to be done.

use super::{FailureClass, Freeze};
use crate::change::Priority;

/// Names a job; chosen by the caller, one for each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Names a rollout: all work that one change makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId(pub u64);

/// Kinds of work, each with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// A whole build.
    Rebuild,
    /// A new run image beneath the app.
    Rebase,
}

/// Work on one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Whose share it takes.
    pub namespace: String,
    /// What is done.
    pub work: Work,
    /// Whether a user waits for it.
    pub priority: Priority,
    /// The rollout it belongs to, and its wave there. What a user waits for belongs to none.
    pub rollout: Option<(RolloutId, u32)>,
    /// How long it will take, in seconds: how much of its namespace's share it uses up.
    pub seconds: u64,
    /// How many requests it will send to registries.
    pub requests: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is work to do. A job of the same name that waits is replaced and keeps its place; one that runs is done
    /// again afterwards.
    Wanted(Job),
    /// The work is not needed any more. If it runs, it still holds its place until it is finished.
    Unwanted(JobId),
    /// The work is through.
    Finished(JobId, Outcome),
    /// Starts are to be held back. A freeze of the same name is replaced.
    Frozen(Freeze),
    /// A freeze ends before its time.
    Thawed(String),
    /// A rollout that was stopped goes on; what failed is forgotten.
    Resumed(RolloutId),
    /// Nothing but time passed.
    TimePassed,
}

/// How work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed(FailureClass),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Start this work.
    Start(JobId),
    /// This work failed for good, after so many attempts: tell somebody.
    GiveUp(JobId, u32),
    /// Too much of this rollout failed: nothing more of it starts until it is resumed. Tell somebody.
    Stop {
        /// The rollout.
        rollout: RolloutId,
        /// How many jobs failed for good.
        failed: usize,
        /// How many have ended.
        finished: usize,
    },
    /// Unless something happens before, step again at this time: then something may start.
    WakeAt(u64),
}

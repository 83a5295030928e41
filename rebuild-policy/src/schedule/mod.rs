//! Which work may start now: canaries before the rest, users before the background, every namespace its share, within
//! budgets, outside of freezes.
//!
//! A pure state machine: [`Scheduler::step`] takes what happened and the time, and says what to do.

mod freeze;
mod job;
mod namespaces;
mod retry;
mod rollouts;
mod scheduler;
mod tokens;

pub use freeze::{Freeze, Frozen};
pub use job::{Command, Event, Job, JobId, Outcome, RolloutId, Work};
pub use retry::{Backoff, FailureClass, failure_class};
pub use rollouts::FailureLimit;
pub use scheduler::{Limits, Scheduler, SchedulerOptions};

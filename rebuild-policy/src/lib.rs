//! Decides which images must be rebuilt or rebased, why, and what the build looks like, as pure functions.
//!
//! ```
//! use rebuild_policy::{AdmissionContext, Operation, admit};
//! use serde_json::json;
//!
//! let image = json!({
//!     "apiVersion": "kpack.io/v1alpha2", "kind": "Image", "metadata": {"name": "app", "namespace": "demo"},
//!     "spec": {"tag": "reg.example/demo/app", "builder": {"name": "base", "kind": "ClusterBuilder"}, "source": {}},
//! });
//! let refusal = admit(&image, Operation::Create, AdmissionContext::default()).unwrap_err();
//! assert_eq!(
//!     refusal.to_string(),
//!     "validation failed: expected exactly one, got neither: spec.source.blob, spec.source.git, spec.source.registry"
//! );
//! ```
//!
//! - The resources of `kpack.io/v1alpha2`: [`Image`], [`Build`], [`Builder`], [`ClusterBuilder`], [`Buildpack`],
//!   [`ClusterBuildpack`], [`ClusterStore`], [`ClusterStack`], [`ClusterLifecycle`], [`SourceResolver`]; read them
//!   with [`decode()`], check and complete them with [`admit()`];
//!   from and to `v1alpha1` with [`convert()`].
//! - Should we build, and why: [`decide()`] on a [`Situation`] gives a [`Decision`] with [`Changes`].
//! - What would happen if something changed: [`plan()`] of the [`Present`] and a [`Proposal`] gives a [`Plan`].
//! - Which work may start now: a [`Scheduler`] takes an [`Event`] and gives [`Command`]s, within [`Limits`]; what is
//!   tried again: [`failure_class()`].
//! - What an Image makes: [`next_build()`], [`source_resolver`], [`cache_claim`]; what it drops: [`surplus_builds`];
//!   how it stands: [`settled_status`], [`created_status`], [`running_status`], [`builder_missing_status`].
//! - The Pod of a Build: [`plan_pod`] asks a [`PodWorld`] and makes it with [`build_pod`].
//! - How things stand: [`build_status()`] (from the Pod), [`resolved_status`], [`builder_failed_status`],
//!   [`ready_conditions`]. What a build tells: [`BuildMetadata`], [`change_log()`].
//!
//! Not here: clocks, files, registries, clusters (see `kpack-engine`), reading and assembling builder images (see
//! `cnb-order`, `cnb-layers`).
//! Specification: kpack 0.17.2, `kpack.io/v1alpha2`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admit;
mod build_status;
mod builder_status;
mod change;
mod change_log;
mod convert;
mod decide;
mod decode;
mod dependents;
mod go_fields;
mod go_yaml;
mod history;
mod image_status;
mod key;
mod md5;
mod name;
mod next_build;
mod plan;
mod pod;
mod rebase;
mod resource;
mod schedule;
#[cfg(any(test, feature = "schema"))]
mod schema;
mod source_status;
mod strconv;
mod strict;
mod termination;

pub use admit::{Admission, AdmissionContext, CONTROLLER_USER, FieldError, FieldErrors, Operation, Refusal, admit};
pub use build_status::{BuildStatusError, build_rejected_status, build_status, failed_step};
pub use builder_status::{
    builder_failed_status, builder_ready_conditions, not_ready_conditions, ready_conditions, resolved_builder_tag,
};
pub use change::{BuildConfig, BuildpackVersion, Change, Changes, Priority, Reason};
pub use change_log::{ChangeLogError, change_lines, change_log, value_diff};
pub use convert::{ConvertError, OLD_API_VERSION, convert};
pub use decide::{BuilderView, DecideError, Decision, Situation, Waiting, decide};
pub use decode::{DecodeError, decode};
pub use dependents::{cache_claim, cache_claim_name, source_resolver, source_resolver_name};
pub use go_yaml::go_yaml;
pub use history::{latest_build, surplus_builds};
pub use image_status::{builder_missing_status, created_status, running_status, settled_status};
pub use key::*;
pub use name::child_name;
pub use next_build::{InvalidBuildNumber, NextBuild, build_number, next_build, next_build_number};
pub use plan::{
    Action, BuilderEffect, BuilderOutcome, Cost, CostModel, Plan, PlanOptions, PlannedImage, Present, Proposal,
    ProposalError, Rollout, Wave, plan,
};
pub use pod::{
    Binding, BuildAccount, BuilderImage, HelperImages, ImageFacts, LookupError, PlatformApi, PodError, PodInputs,
    PodOptions, PodSecret, PodWorld, build_pod, plan_pod, pod_name, read_builder,
};
pub use rebase::is_rebase;
pub use resource::*;
pub use schedule::{
    Backoff, Command, Event, FailureClass, FailureLimit, Freeze, Frozen, Job, JobId, Limits, Outcome, RolloutId,
    Scheduler, SchedulerOptions, Work, failure_class,
};
#[cfg(feature = "schema")]
pub use schema::{KINDS, open_api};
pub use source_status::resolved_status;
pub use termination::{BuildMetadata, TerminationMessageError};

//! What happens to objects: each is brought from where it is to where it should be.
//!
//! - Starting and stopping: [`Controllers`] with [`ReconcileOptions`].
//! - What reconcilers ask of the world besides [`Resources`](crate::Resources): images through a [`Warehouse`],
//!   sources through a [`SourceReader`], the logs of steps through [`StepLogs`].
//! - The real ones: [`RegistryWarehouse`] over [`ImageStores`] such as [`RegistryImages`], [`SourceFetcher`], and
//!   [`LogStore`](crate::logs::LogStore).
//! - One step for one object, without threads: [`Reconciler::reconcile`] of a [`Key`] gives an [`Outcome`] or a
//!   [`ReconcileError`].
//! - Who is woken by which change: [`Wake`]; in which order keys are worked on: [`WorkQueue`].
//!
//! Decisions are `rebuild-policy`'s; this module moves values between it, the objects and the registry.

mod account;
mod build;
mod builder;
mod buildpacks;
mod complaints;
mod context;
mod controllers;
mod error;
mod image;
mod images;
mod key;
mod lifecycle;
mod options;
mod queue;
mod reconciler;
mod registry_warehouse;
mod source;
mod source_fetcher;
mod source_resolver;
mod stack;
mod step_logs;
mod wake;
mod warehouse;

#[cfg(test)]
mod tests;

pub use account::{Account, AccountError, account_keychain};
pub use controllers::Controllers;
pub use error::ReconcileError;
pub use images::{ImagePlace, ImageStores, RegistryImages};
pub use key::Key;
pub use options::ReconcileOptions;
pub use queue::WorkQueue;
pub use reconciler::{Outcome, Reconciler};
pub use registry_warehouse::RegistryWarehouse;
pub use source::{SourceError, SourceReader};
pub use source_fetcher::SourceFetcher;
pub use step_logs::StepLogs;
pub use wake::Wake;
pub use warehouse::{BuilderInputs, BuilderRecord, Held, Warehouse, WarehouseError};

//! Plays the node: runs the containers of Pods on this machine, each in a sandbox over its image.
//!
//! - How it runs them: [`RunnerOptions`].
//! - Where images come from: [`ImageRouter`].
//! - How builds reach the network as their machine does: [`MachineNetwork`].
//!
//! Not here: which pods there are (`reconcile`), who reads the logs (`server`).
//! Specification: Kubernetes 1.32, "Pod Lifecycle"; OCI runtime-spec 1.0.

mod images;
mod network;
mod options;

pub use images::{ImageRouter, LOCAL_HOST, RouteError};
pub use network::MachineNetwork;
pub use options::RunnerOptions;

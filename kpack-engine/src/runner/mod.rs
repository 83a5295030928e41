//! Plays the node: runs the containers of Pods on this machine, each in a sandbox over its image.
//!
//! - The runner: [`PodRunner`] with [`RunnerOptions`]; why it does not start: [`StartError`].
//! - Where images come from: [`ImageRouter`]; see [`RegistryImages`](crate::reconcile::RegistryImages).
//! - How builds reach the network as their machine does: [`MachineNetwork`].
//! - Without root: [`Privilege`] decides and explains.
//!
//! A sandbox has mount, process, ipc, host name and user namespaces of its own, the network of its machine, an overlay
//! over the image's root, the volumes of its pod and nothing else; no step but one of root has a capability. It
//! ends with the thread that runs its pod, however that ends, and no mount outlives it.
//!
//! Not here: which pods there are (`reconcile`), who reads the logs (`server`).
//! Specification: Kubernetes 1.32, "Pod Lifecycle"; OCI runtime-spec 1.0.

mod beneath;
mod bundle;
mod container;
mod env;
mod expand;
mod images;
mod lookup;
mod machine;
mod network;
mod not_started;
mod options;
mod pod_run;
mod pod_runner;
mod privilege;
mod pull;
mod roots;
mod sandbox;
mod seccomp;
mod spec;
mod start_error;
mod status;
mod stop;
mod user;
mod volumes;

pub use images::{ImageRouter, LOCAL_HOST, RouteError};
pub use network::MachineNetwork;
pub use options::RunnerOptions;
pub use pod_runner::PodRunner;
pub use privilege::{Privilege, PrivilegeFacts};
pub use start_error::StartError;

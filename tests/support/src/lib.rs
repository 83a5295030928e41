//! Real servers on free loopback ports, for tests and for the walk-through.
//!
//! Each server is a real program ([`Registry`] is Debian's `docker-registry`, [`GitServer`] runs
//! `git http-backend`), listens on a port that the system chose, keeps its data in a temporary
//! directory and is stopped when its value is dropped, or by the kernel when this process dies.
//!
//! - What must be installed: [`require`], which installs missing Debian packages when it may.
//! - Servers: [`Registry`], [`GitServer`] with its [`GitRepository`]s.
//! - Any other program that must not outlive this process: [`Process`].
//!
//! Not here: fakes of servers. What a real server can't be made to show is the caller's own proxy.
#![forbid(unsafe_code)]

mod certificate;
mod git;
mod packages;
mod process;
mod registry;

pub use certificate::Authority;
pub use git::{GitRepository, GitServer};
pub use packages::{Program, RequireError, require};
pub use process::Process;
pub use registry::{Registry, RegistryOptions};

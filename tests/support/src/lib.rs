//! Real servers on free loopback ports, for tests and for the walk-through.
//!
//! Each server is a real program ([`Registry`] is Debian's `docker-registry`, [`GitServer`] runs
//! `git http-backend`), listens on a port that the system chose, keeps its data in a temporary
//! directory and is stopped when its value is dropped, or by the kernel when this process dies.
//!
//! - What must be installed: [`require`], which installs missing Debian packages when it may.
//! - Servers: [`Registry`], [`GitServer`] with its [`GitRepository`]s.
//! - Beside a registry: [`TokenServer`], whose tokens it believes; [`FaultProxy`] before it, with a [`Rule`] for each
//!   [`Fault`]; [`ForwardProxy`] on the way to it. They keep each [`Request`] they see.
//! - Any other program that must not outlive this process: [`Process`].
//!
//! Not here: fakes of registries. What a real one can't be made to do by itself is done by the proxy before it.
#![forbid(unsafe_code)]

mod certificate;
mod fault;
mod fault_proxy;
mod forward_proxy;
mod git;
mod http;
mod packages;
mod process;
mod registry;
mod token_server;

pub use certificate::Authority;
pub use fault::{Answer, Fault, Rule};
pub use fault_proxy::FaultProxy;
pub use forward_proxy::ForwardProxy;
pub use git::{GitRepository, GitServer};
pub use http::Request;
pub use packages::{Program, RequireError, require};
pub use process::Process;
pub use registry::{Registry, RegistryOptions};
pub use token_server::{TokenServer, TokenServerOptions};

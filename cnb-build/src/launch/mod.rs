//! Starting a process of a built image: what the launcher does between its own start and `execve`.
//!
//! [`LaunchMetadata`] says which processes there are, [`choose`] picks one, [`prepare`] makes the environment (layer
//! directories, environment files, `exec.d` programs) and says what to execute: a [`Launch`]. [`Launch::exec`] becomes that
//! process. Programs of `exec.d` run through [`ExecD`]; on this machine [`HostExecD`].

mod choose;
mod error;
mod exec;
mod exec_d;
mod look_path;
mod metadata;
mod prepare;
mod shell;

pub use choose::{Chosen, choose};
pub use error::LaunchError;
pub use exec_d::{ExecD, HostExecD};
pub use metadata::LaunchMetadata;
pub use prepare::{Launch, LaunchInputs, base_environment, prepare};

//! The programs that run in build pods beside the lifecycle: prepare (kpack's build-init), completion, rebase.
//!
//! They run inside of containers, as the statically linked engine executable under the names
//! `/cnb/process/build-init`, `/cnb/process/completion` and `/cnb/process/rebase`: see [`Program::for_name`]
//! and [`Program::run`].
//!
//! Specification: kpack 0.17.2, `cmd/build-init`, `cmd/completion`, `cmd/rebase`.

mod completion;
mod error;
mod invocation;
mod mounted;
mod policy;
mod prepare;
mod rebase;
mod source;

pub use error::ProgramError;
pub use invocation::{Invocation, Places, Program};

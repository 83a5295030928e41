//! The whole flow on real parts, as a person would type it: `cargo demo`.
//!
//! - What can be chosen: [`Options`]. Running it: [`run`], which gives a [`Story`] of all that happened.
//!   This project's programs alone: [`build_binaries`].
//! - Parts: `binaries` (this project's programs), `stack` (build and run images from Debian), `stage` (registry, git
//!   server, kpackd and the files around them), `terminal` (command lines and their output), `steps` (W01 to W21),
//!   `app` (the built image, started), `table` (the summary).
//!
//! Specification: the acceptance script of kp, W01–W21.
#![forbid(unsafe_code)]

mod app;
mod binaries;
mod options;
mod registry;
mod stack;
mod stage;
mod steps;
mod story;
mod table;
mod terminal;

pub use binaries::build_binaries;
pub use options::Options;
pub use steps::run;
pub use story::{BuildRecord, Ran, Story};

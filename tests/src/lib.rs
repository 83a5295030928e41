//! A whole world for one end-to-end test: registry, git server, kpackd, and a stack and a buildpack so small that a
//! build takes a second or two.
//!
//! - [`World`]: everything that runs; ends with its value.
//! - What is built: `hello.txt` of the repository `sample`, by the buildpack in `tests/buildpack/`.
#![forbid(unsafe_code)]

mod stack;
mod world;

pub use world::{PASSWORD, USER, World, condition};

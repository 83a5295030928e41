//! Which group of buildpacks applies to a source: detection of Cloud Native Buildpacks.
//!
//! ```
//! use cnb_detect::{detect, DetectInputs, HostRunner, MemoryLog, ModuleStore};
//! # use std::{fs, os::unix::fs::PermissionsExt};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! # let root = root.path();
//! # for (name, file) in [("node", "package.json"), ("go", "go.mod")] {
//! #     let bin = root.join("buildpacks").join(name).join("bin");
//! #     fs::create_dir_all(&bin)?;
//! #     fs::write(bin.join("../buildpack.toml"), format!("api = '0.10'\n[buildpack]\nid = 'acme/{name}'\nversion = '1'\n"))?;
//! #     fs::write(bin.join("detect"), format!("#!/bin/sh\ntest -e {file} || exit 100\n"))?;
//! #     fs::set_permissions(bin.join("detect"), fs::Permissions::from_mode(0o755))?;
//! # }
//! # fs::create_dir(root.join("app"))?;
//! // Buildpacks as they lie on disk, and an order of all of them; `Order::from_toml` reads one of your own.
//! let modules = ModuleStore::scan(root.join("buildpacks"))?;
//! let order = modules.order();
//! let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_path_buf());
//! let runner = HostRunner::default();
//!
//! // In an empty directory nothing applies: the explanation says what happened, here as a tree.
//! let error = detect(&order, &inputs, &modules, &runner, &mut MemoryLog::new()).unwrap_err();
//! let explanation = error.explanation().expect("no group passed").to_string();
//! assert_eq!(
//!     explanation,
//!     "the only group does not fit\n\
//!      └─ group 1: no buildpack passed\n   \
//!         ├─ acme/go@1 (optional) does not apply\n   \
//!         └─ acme/node@1 (optional) does not apply\n"
//! );
//!
//! // With a package.json one of them does.
//! fs::write(root.join("app/package.json"), "{}")?;
//! let detected = detect(&order, &inputs, &modules, &runner, &mut MemoryLog::new())?;
//! assert_eq!(detected.group.to_toml(), "[[group]]\n  id = \"acme/node\"\n  version = \"1\"\n  api = \"0.10\"\n");
//! assert!(detected.plan.entries.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! - The question: [`detect`] with [`DetectInputs`]; the answer: [`Detected`] or [`DetectError`].
//! - Why nothing was selected, as data and as a tree for people: [`Explanation`], from [`DetectError::explanation`].
//! - What image extensions want of the images: [`generate`].
//! - Where buildpack executables run is the caller's choice: [`Runner`], on this machine [`HostRunner`], in tests
//!   [`ScriptedRunner`]; what is run is a [`Command`], how it ended an [`Exit`], what it prints goes to an [`Output`].
//! - Where buildpacks lie: [`ModuleStore`]. What they write is read by [`read_written`]. What they see: [`Environment`], made from
//!   directories ([`DirPath`], [`Listing`]).
//! - The pure heart: [`resolve_plan`], from what modules provide and require to a plan.
//! - What users read: [`Log`], [`Level`], [`MemoryLog`].
//!
//! Not here: running `bin/build` (crate `cnb-build`), images, registries.
//! Specification: Buildpack API 0.12 and Platform API 0.15, "Detection".
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod command;
mod descendants;
mod detect;
mod dir_path;
mod dockerfile;
mod environment;
mod error;
mod explain;
mod explain_text;
mod generate;
mod host;
mod instruction;
mod log;
mod modules;
mod one_run;
mod os_text;
mod plan;
mod scripted;
mod search;
mod targets;
mod temp;
mod written;

pub use command::{Captured, Command, Exit, Output, RunError, Runner, start_text};
pub use detect::{DetectInputs, Detected, check_apis, detect, merge_system};
pub use dir_path::{DirPath, Listing};
pub use environment::{Action, EnvFileError, Environment, LayerUse};
pub use error::{ApiError, DetectError};
pub use explain::{
    Explanation, GroupFailure, GroupOutcome, ModuleOutcome, ModuleVerdict, PlanFailure, PlanProblem, PlanProblemKind,
};
pub use generate::{GenerateError, GenerateInputs, Generated, generate};
pub use host::{Cancel, HostRunner, check_format};
pub use log::{Level, Log, MemoryLog, Record};
pub use modules::ModuleStore;
pub use os_text::{os_text, read_problem};
pub use plan::{Agreement, Candidate, resolve_plan};
pub use scripted::ScriptedRunner;
pub use targets::{BaseTarget, OsReleaseText};
pub use temp::TempDir;
pub use written::{open_written, read_written};

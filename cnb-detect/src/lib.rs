//! Which group of buildpacks applies to a source: detection of Cloud Native Buildpacks.
//!
//! ```
//! use cnb_detect::{detect, DetectInputs, Environment, Exit, MemoryLog, ModuleStore, ScriptedRunner};
//! use cnb_order::Order;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! # let root = root.path();
//! # for (id, file) in [("acme_node", "package.json"), ("acme_go", "go.mod")] {
//! #     let dir = root.join("buildpacks").join(id).join("1");
//! #     std::fs::create_dir_all(&dir)?;
//! #     std::fs::write(dir.join("buildpack.toml"), format!("api = '0.10'\n[buildpack]\nid = '{}'\nversion = '1'\n", id.replace('_', "/")))?;
//! # }
//! let order = Order::from_toml(
//!     "[[order]]\ngroup = [{ id = 'acme/go', version = '1' }]\n[[order]]\ngroup = [{ id = 'acme/node', version = '1' }]\n",
//! )?;
//! let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
//! // Real buildpacks run with `HostRunner`; here one passes and the other does not.
//! let runner = ScriptedRunner::new(|command, _output| {
//!     Ok(Exit::Code(if command.program.to_string_lossy().contains("acme_node") { 0 } else { 100 }))
//! });
//! let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_path_buf());
//! let mut log = MemoryLog::new();
//! let detected = detect(&order, &inputs, &modules, &runner, &mut log)?;
//! assert_eq!(detected.group.to_toml(), "[[group]]\n  id = \"acme/node\"\n  version = \"1\"\n  api = \"0.10\"\n");
//! # Ok(())
//! # }
//! ```
//!
//! - The question: [`detect`] with [`DetectInputs`]; the answer: [`Detected`] or [`DetectError`].
//! - What image extensions want of the images: [`generate`].
//! - Where buildpack executables run is the caller's choice: [`Runner`], on this machine [`HostRunner`], in tests
//!   [`ScriptedRunner`]; what is run is a [`Command`], how it ended an [`Exit`], what it prints goes to an [`Output`].
//! - Where buildpacks lie: [`ModuleStore`]. What they see: [`Environment`].
//! - The pure heart: [`resolve_plan`], from what modules provide and require to a plan.
//! - What users read: [`Log`], [`Level`], [`MemoryLog`].
//!
//! Not here: running `bin/build` (crate `cnb-build`), images, registries.
//! Specification: Buildpack API 0.12 and Platform API 0.15, "Detection".
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod command;
mod detect;
mod dockerfile;
mod environment;
mod error;
mod generate;
mod host;
mod log;
mod modules;
mod one_run;
mod os_text;
mod plan;
mod scripted;
mod search;
mod targets;
mod temp;

pub use command::{Captured, Command, Exit, Output, RunError, Runner};
pub use detect::{DetectInputs, Detected, check_apis, detect, merge_system};
pub use environment::{Action, EnvFileError, Environment, LayerUse};
pub use error::{ApiError, DetectError};
pub use generate::{GenerateError, GenerateInputs, Generated, generate};
pub use host::{Cancel, HostRunner, check_format};
pub use log::{Level, Log, MemoryLog, Record};
pub use modules::ModuleStore;
pub use os_text::os_text;
pub use plan::{Agreement, Candidate, resolve_plan};
pub use scripted::ScriptedRunner;
pub use targets::{BaseTarget, OsReleaseText};
pub use temp::TempDir;

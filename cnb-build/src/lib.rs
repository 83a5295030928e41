//! What buildpacks contribute to an image, and how its processes start.
//!
//! ```
//! use cnb_build::{build, BuildInputs};
//! use cnb_detect::{Exit, MemoryLog, ModuleStore, ScriptedRunner};
//! use cnb_order::{DetectedGroup, Plan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! # let root = root.path();
//! # let dir = root.join("buildpacks/acme_node/1");
//! # std::fs::create_dir_all(&dir)?;
//! # std::fs::write(dir.join("buildpack.toml"), "api = '0.10'\n[buildpack]\nid = 'acme/node'\nversion = '1'\n")?;
//! let group = DetectedGroup::from_toml("[[group]]\nid = 'acme/node'\nversion = '1'\napi = '0.10'\n")?;
//! let modules = ModuleStore::new(root.join("buildpacks"), root.join("extensions"));
//! // Does what `bin/build` would do: its first argument is the layers directory.
//! let runner = ScriptedRunner::new(|command, _output| {
//!     let launch = std::path::Path::new(&command.args[0]).join("launch.toml");
//!     std::fs::write(launch, "[[processes]]\ntype = 'web'\ncommand = ['node', 'server.js']\ndefault = true\n").unwrap();
//!     Ok(Exit::Code(0))
//! });
//! let inputs = BuildInputs::new(root.join("layers"), root.join("app"), root.join("platform"), root.to_path_buf());
//! let metadata = build(&group, Plan::default(), &inputs, &modules, &runner, &mut MemoryLog::new())?;
//! assert_eq!(metadata.default_process_type, "web");
//! # Ok(())
//! # }
//! ```
//!
//! - The build phase: [`build`] with [`BuildInputs`] gives [`BuildMetadata`] (metadata.toml) or a [`BuildError`].
//! - Files that buildpacks write: [`LayerMetadata`] (`<layer>.toml`), [`LaunchToml`], [`BuildToml`], SBOM files ([`SbomFormat`]).
//! - What it all amounts to: [`Process`], [`ProcessList`], [`Label`], [`Slice`], [`BomEntry`].
//! - Starting a process of the image: module [`launch`].
//!
//! Not here: detection (crate `cnb-detect`), images and registries (crate `cnb-layers`).
//! Specification: Buildpack API 0.12 and Platform API 0.15, "Build" and "Launch".
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bom;
mod build;
mod build_toml;
mod error;
pub mod launch;
mod launch_toml;
mod layer;
mod media_type;
mod metadata;
mod process;
mod sbom;

pub use bom::BomEntry;
pub use build::{BuildInputs, build};
pub use build_toml::BuildToml;
pub use error::BuildError;
pub use launch_toml::{Label, LaunchToml, Slice};
pub use layer::{LayerMetadata, LayerTypes};
pub use metadata::{BuildMetadata, LauncherInfo};
pub use process::{Process, ProcessList};
pub use sbom::SbomFormat;

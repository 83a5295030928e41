//! What a builder is made of, and which buildpacks in which order: the pure part of Cloud Native Buildpacks.
//!
//! ```
//! use cnb_order::{expand, BuildpackDescriptor, DescriptorMap, Order};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut buildpacks = DescriptorMap::new();
//! for text in [
//!     "api = '0.10'\n[buildpack]\nid = 'acme/node'\nversion = '2'\n",
//!     "api = '0.10'\n[buildpack]\nid = 'acme/proc'\nversion = '1'\n",
//!     "api = '0.10'\n[buildpack]\nid = 'acme/web'\nversion = '3'\n\
//!      [[order]]\ngroup = [{ id = 'acme/node', version = '2' }, { id = 'acme/proc', version = '1', optional = true }]\n",
//! ] {
//!     buildpacks.insert(BuildpackDescriptor::from_toml(text, &[])?);
//! }
//! let order = Order::from_toml("[[order]]\ngroup = [{ id = 'acme/web', version = '3' }]\n")?;
//! let groups = expand(&order, &buildpacks)?;
//! assert_eq!(groups[0].to_string(), "acme/node@2 acme/proc@1?");
//! # Ok(())
//! # }
//! ```
//!
//! - Names: [`BuildpackId`], [`BuildpackVersion`], [`ApiVersion`], [`ApiSet`], [`Target`], [`TargetData`].
//! - Files: [`BuildpackDescriptor`], [`ExtensionDescriptor`], [`Order`] (of [`Group`]s of [`Entry`]s), [`DetectedGroup`]
//!   (group.toml), [`BuildPlan`] (what `bin/detect` writes), [`Plan`] (plan.toml), [`Analyzed`], [`RunInfo`], [`SystemBuildpacks`]; written by hand and read strictly:
//!   [`BuilderConfig`] (builder.toml), [`PackageConfig`] (package.toml).
//! - From a nested order to the groups that detection tries: [`expand`], or step by step [`walk`]; lookups are a [`Lookup`].
//! - From a store and an order without versions to a builder, as kpack does it: [`Catalog`], [`resolve_order`].
//! - Labels of images: [`BuildpackLayersLabel`], [`BuildpackageMetadata`], [`BuilderMetadata`], [`OrderLabel`].
//! - Text as the reference programs write it, byte for byte: [`go_json`], [`go_toml`], and [`go_json_problem`].
//!
//! Not here: files, sockets, processes. Running `bin/detect` is the crate `cnb-detect`.
//! Specification: Buildpack API 0.12, Platform API 0.15; kpack.io/v1alpha2.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod analyzed;
mod api;
mod builder_config;
mod catalog;
mod decode;
mod descriptor;
mod expand;
mod go_json;
mod go_json_syntax;
mod go_path;
mod go_print;
mod go_quoted;
mod go_toml;
mod group;
mod id;
mod known_keys;
mod labels;
mod lifecycle_metadata;
mod order;
mod os_release;
mod package_config;
mod plan;
mod resolve;
mod run_info;
mod system;
mod target;
mod toml_reader;
mod version;

pub use analyzed::{Analyzed, AnalyzedImage, AnalyzedRunImage};
pub use api::{ApiSet, ApiVersion, BUILDPACK_APIS, InvalidApiSet, InvalidApiVersion, PLATFORM_APIS};
pub use builder_config::{BuildEnv, BuilderConfig, LifecycleSource, ModuleSource};
pub use catalog::{Catalog, CatalogObject, ImageName, OwnerKind, PackageInfo, StoredBuildpack};
pub use decode::{DecodeError, Fields, parse_toml, toml_text};
pub use descriptor::{BuildpackDescriptor, ExtensionDescriptor, ModuleDescriptor, ModuleInfo, Stack};
pub use expand::{
    Considered, DescriptorMap, ExpandError, ExpandedGroup, GroupVisitor, Lookup, LookupError, Verdict, expand, walk,
};
pub use go_json::{go_json, go_json_of};
pub use go_json_syntax::go_json_problem;
pub use go_path::{go_clean, go_clean_path};
pub use go_quoted::go_quoted;
pub use go_toml::{TomlTable, TomlValue, go_float, go_toml};
pub use group::DetectedGroup;
pub use id::{BuildpackId, InvalidBuildpackId, ModuleKind};
pub use labels::{
    ApiLists, ApiPair, BuilderBuildpack, BuilderMetadata, BuildpackLayer, BuildpackLayersLabel, BuildpackageMetadata,
    CreatedBy, LifecycleApis, LifecycleMetadata, OrderLabel, RunImageMetadata, StackMetadata,
};
pub use order::{Entry, Group, Order};
pub use os_release::OsRelease;
pub use package_config::PackageConfig;
pub use plan::{BuildPlan, BuildpackPlan, Plan, PlanEntry, Provide, Provider, Require};
pub use resolve::{
    OrderEntry, OrderGroup, ResolveError, ResolvedBuildpack, ResolvedEntry, ResolvedGroup, ResolvedOrder, resolve_order,
};
pub use run_info::{RunImage, RunInfo};
pub use system::SystemBuildpacks;
pub use target::{Distro, Target, TargetData};
/// The crate whose types hold what [`parse_toml`] reads.
pub use toml;
pub use version::{BuildpackVersion, LenientVersion};

//! The documents that phases leave for each other, for platforms and for the next build: the labels of
//! an image, analyzed.toml, report.toml and the metadata of layers.

mod analyzed;
mod build;
mod data;
mod decode;
mod label;
mod layer_toml;
mod platform;
#[cfg(test)]
mod recorded;
mod report;

pub use analyzed::{Analyzed, AnalyzedRunImage, Distro, TargetMetadata};
pub use build::{BuildMetadata, LauncherVersion};
pub use data::Data;
pub use decode::{DecodeError, EncodeError};
pub use label::{BuildpackLayers, CacheMetadata, LayerMetadata, LifecycleMetadata, RunImageMetadata, RunImageNames};
pub use layer_toml::{LayerToml, LayerTypes};
pub use platform::{Group, GroupBuildpack, ProjectMetadata, RunToml, StackToml};
pub use report::Report;

pub(crate) use label::RebaseMetadata;
pub(crate) use layer_toml::{data_document, read_store};

/// Writes a document without free-form data from TOML as the reference's encoder does.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> String {
    cnb_order::go_json_of(value).expect("text and what JSON held before have a place in JSON")
}

/// Writes a document as the reference's encoder does.
///
/// # Errors
/// When free-form data holds what JSON has no place for.
pub(crate) fn try_json<T: serde::Serialize>(value: &T) -> Result<String, EncodeError> {
    cnb_order::go_json_of(value).map_err(|error| EncodeError::NotJson(error.to_string()))
}

/// The labels that phases read and write.
pub mod labels {
    /// What the lifecycle knows about the layers of an image; JSON, see [`LifecycleMetadata`](super::LifecycleMetadata).
    pub const LIFECYCLE_METADATA: &str = "io.buildpacks.lifecycle.metadata";
    /// How the image was built; JSON, see [`BuildMetadata`](super::BuildMetadata).
    pub const BUILD_METADATA: &str = "io.buildpacks.build.metadata";
    /// Where the source came from; JSON.
    pub const PROJECT_METADATA: &str = "io.buildpacks.project.metadata";
    /// The layers of a cache image; JSON, see [`CacheMetadata`](super::CacheMetadata).
    pub const CACHE_METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";
    /// The execution environment that the image was built for.
    pub const EXEC_ENV: &str = "io.buildpacks.exec-env";
    /// Whether the image may be put onto another base: `true` or `false`.
    pub const REBASABLE: &str = "io.buildpacks.rebasable";
    /// The id of the stack that a base image belongs to.
    pub const STACK_ID: &str = "io.buildpacks.stack.id";
    /// The mixins of a base image; a JSON array.
    pub const STACK_MIXINS: &str = "io.buildpacks.stack.mixins";
    /// The id of a base image.
    pub const BASE_ID: &str = "io.buildpacks.base.id";
    /// The distribution of a base image.
    pub const DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
    /// The version of the distribution of a base image.
    pub const DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";
}

//! Why an export failed.

use std::io;
use std::path::PathBuf;

use crate::metadata::{DecodeError, EncodeError};
use crate::open::OpenError;
use crate::save::SaveError;
use crate::{ImageError, LayerError};

/// Why an export failed. Unless it is [`Save`](Self::Save), no name of the image has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A name is not an image reference.
    #[error("could not parse reference: {0}")]
    Reference(String),
    /// The run image could not be opened.
    #[error(transparent)]
    Base(OpenError),
    /// The previous image could not be opened.
    #[error("accessing the previous image")]
    Previous(#[source] ImageError),
    /// The directory with the extended run image holds something else.
    #[error("cannot use the extended run image in {path}: {problem}")]
    Extended {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The extended run image could not be read.
    #[error("cannot read the extended run image")]
    ReadExtended(#[source] ImageError),
    /// A bill of materials could not be copied.
    #[error("failed to copy buildpacksio SBOMs: open {path}")]
    CopySbom {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The builder's metadata could not be read.
    #[error("read build metadata: failed to read build metadata file: {} {path}", operation(.source))]
    ReadBuildMetadata {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The builder's metadata could not be understood.
    #[error("read build metadata: failed to read build metadata file")]
    BuildMetadata(#[source] DecodeError),
    /// The directory of a buildpack could not be read.
    #[error("reading layers for buildpack '{buildpack}'")]
    ReadLayers {
        /// The buildpack.
        buildpack: String,
        /// The cause.
        source: io::Error,
    },
    /// The store.toml of a buildpack could not be understood.
    #[error(
        "reading layers for buildpack '{buildpack}': failed decoding store.toml for buildpack {}",
        cnb_order::go_quoted(.buildpack)
    )]
    Store {
        /// The buildpack.
        buildpack: String,
        /// The cause.
        source: DecodeError,
    },
    /// The store.toml of a buildpack could not be read.
    #[error(
        "reading layers for buildpack '{buildpack}': failed decoding store.toml for buildpack {}: {} {path}",
        cnb_order::go_quoted(.buildpack),
        operation(.source)
    )]
    ReadStore {
        /// The buildpack.
        buildpack: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The build.toml of a buildpack could not be understood.
    #[error(transparent)]
    BuildToml(DecodeError),
    /// Layer metadata could not be understood.
    #[error("failed to parse metadata for layers '[{}]'", .layers.join(" "))]
    Malformed {
        /// The layers.
        layers: Vec<String>,
    },
    /// What buildpacks or the platform said holds a number that a label cannot hold.
    #[error("{action}")]
    Unlabelable {
        /// What was to be done, in the reference's words.
        action: &'static str,
        /// The cause.
        source: EncodeError,
    },
    /// A layer that is to be cached has no contents.
    #[error("layer '{layer}' is cache=true but has no contents")]
    NoContents {
        /// The layer.
        layer: String,
    },
    /// A layer without contents is not known to the previous image.
    #[error("cannot reuse '{layer}', previous image has no metadata for layer '{layer}'")]
    NotInPrevious {
        /// The layer.
        layer: String,
    },
    /// The previous image does not have a layer that its metadata names.
    #[error("reusing layer: '{layer}': failed to get layer by diffID: unknown diffID {sha}")]
    NotReusable {
        /// The layer.
        layer: String,
        /// Its diff id.
        sha: String,
    },
    /// The previous image, which should have a layer, is gone.
    #[error("failed to get layer by diffID: LayerByDiffID({sha}): empty image")]
    NoPrevious {
        /// The diff id of the layer.
        sha: String,
    },
    /// A layer could not be made.
    #[error("creating layer")]
    CreateLayer(#[source] LayerError),
    /// A layer of the application could not be made.
    #[error("exporting app layers: creating app layers")]
    CreateApp(#[source] LayerError),
    /// The layer of the process types could not be made.
    #[error("creating layer ''")]
    ProcessTypes(#[source] LayerError),
    /// There is no launcher.
    #[error("creating launcher layers: failed to stat launcher at path '{path}': stat {path}")]
    NoLauncher {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The process that should start by default does not exist.
    #[error("determining entrypoint: tried to set {name} to default but it doesn't exist")]
    NoSuchProcess {
        /// The type.
        name: String,
    },
    /// The caller has cancelled it; see [`Export::with_cancel`](super::Export::with_cancel).
    #[error("the export was cancelled; no name of the image has changed")]
    Cancelled,
    /// The image could not be saved under all names.
    #[error(transparent)]
    Save(SaveError),
}

/// Returns what could not be done with a file, as the reference says it: directories can be opened.
fn operation(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => "read",
        _ => "open",
    }
}

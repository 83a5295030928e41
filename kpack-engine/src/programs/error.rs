//! Why a program of a build pod ends with exit code 1.

use std::{io, path::PathBuf};

/// What went wrong; the log of the step shows it with its causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// An argument that is not understood.
    #[error("cannot understand argument {argument}")]
    Argument {
        /// The argument.
        argument: String,
    },
    /// An argument that names a secret, but not as `NAME=TARGET` or `NAME`.
    #[error("could not parse {what} secret argument {argument}")]
    SecretArgument {
        /// `docker`, `git` or `blob`.
        what: &'static str,
        /// The argument's value.
        argument: String,
    },
    /// A variable with a value that makes no sense.
    #[error("{name} is {value:?} and should be {expected}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A variable of the Build whose name cannot be a file's.
    #[error("environment variable {name:?} of the build has no usable name: it becomes a file")]
    PlatformVariable {
        /// The name.
        name: String,
    },
    /// A variable or argument that must be there.
    #[error("{name} is not set")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A mounted secret could not be used.
    #[error("cannot use secret {secret}")]
    Secret {
        /// Its name.
        secret: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name is no image reference.
    #[error(transparent)]
    Reference(#[from] registry_auth::InvalidReference),
    /// The tag can't be pushed to.
    #[error("Error verifying write access to \"{tag}\"")]
    WriteAccess {
        /// The tag.
        tag: String,
        /// What the registry said.
        source: registry_client::RegistryError,
    },
    /// The run image can't be read.
    #[error("Error verifying read access to run image \"{image}\"")]
    ReadAccess {
        /// The image.
        image: String,
        /// What the registry said.
        source: registry_client::RegistryError,
    },
    /// No client can be made.
    #[error("cannot prepare calls to registries")]
    Client(#[from] registry_client::ClientError),
    /// The source could not be fetched.
    #[error(transparent)]
    Fetch(Box<dyn std::error::Error + Send + Sync>),
    /// The sub path leads nowhere good.
    #[error(transparent)]
    SubPath(#[from] source_fetch::InvalidSubPath),
    /// The project descriptor is wrong.
    #[error(transparent)]
    Project(#[from] source_fetch::ProjectError),
    /// The environment names no source.
    #[error("no git url, blob url, or registry image provided")]
    NoSource,
    /// The sub path is not in the source, or leads out of it.
    #[error("the source has no directory \"{sub_path}\" (sub path)")]
    NoSubPath {
        /// The sub path.
        sub_path: source_fetch::SubPath,
        /// The cause.
        source: io::Error,
    },
    /// An archive is to be fetched with a cloud's credentials.
    #[error(
        "blob.auth asks for credentials, but no secret of the service account is annotated kpack.io/blob, and this version \
         has no credential helpers of clouds"
    )]
    BlobHelpers,
    /// The node's docker configuration is damaged.
    #[error("cannot use {}", path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: registry_auth::DockerConfigError,
    },
    /// A label that builds leave on images is missing.
    #[error("could not find label {label}")]
    NoLabel {
        /// The label.
        label: &'static str,
    },
    /// The image is to be signed.
    #[error(
        "the image {image} was pushed, but it is to be signed with {with}, which this version does not do; sign it yourself \
         and remove the key from the service account's secrets"
    )]
    Signing {
        /// The image.
        image: String,
        /// `cosign` or `notary`.
        with: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A document of another step is not valid.
    #[error("{what} is not valid: {problem}")]
    Document {
        /// Which.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// An image could not be read.
    #[error("cannot read image {image}")]
    Image {
        /// The image.
        image: String,
        /// The cause.
        source: cnb_layers::ImageError,
    },
    /// An image that must be there is not.
    #[error("unable to fetch app image: image {image} not found")]
    NoImage {
        /// The image.
        image: String,
    },
    /// The result does not fit into the termination message.
    #[error(transparent)]
    Message(#[from] rebuild_policy::TerminationMessageError),
    /// The image was not rebased.
    #[error(transparent)]
    Rebase(#[from] cnb_layers::rebase::RebaseError),
}

/// Turns an I/O error at a path into a [`ProgramError`].
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ProgramError {
    let path = path.into();
    move |source| ProgramError::File { path, source }
}

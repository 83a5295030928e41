//! Why there is no pod.

/// Why a Build cannot have a pod. The message becomes the Build's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PodError {
    /// A service binding names a secret of a service account.
    #[error("build rejected: {noun} \"{name}\" uses forbidden secret \"{secret}\"")]
    ForbiddenSecret {
        /// `service` or `binding`.
        noun: &'static str,
        /// Name of the binding.
        name: String,
        /// Name of the secret.
        secret: String,
    },
    /// A variable of the build's environment would take its value from a secret.
    #[error(
        "build rejected: spec.env[{index}].valueFrom.secretKeyRef of \"{variable}\": secretKeyRef is not supported for \
         build environment variables; bind the secret as a service instead"
    )]
    SecretValue {
        /// Place in the environment, from 0.
        index: usize,
        /// Name of the variable.
        variable: String,
    },
    /// An object that the Build needs does not exist.
    #[error("{context}{resource} \"{name}\" not found")]
    NotFound {
        /// What needed it; may be empty.
        context: &'static str,
        /// Plural of the kind, with its group.
        resource: String,
        /// Name of the object.
        name: String,
    },
    /// A service account names a secret without a name.
    #[error("ServiceAccount has invalid {field} reference")]
    UnnamedSecret {
        /// `Secret` or `ImagePullSecret`.
        field: &'static str,
    },
    /// Only Builders and ClusterBuilders build.
    #[error("unable to parse builder kind \"{kind}\"")]
    UnknownBuilderKind {
        /// The kind that was given.
        kind: String,
    },
    /// The builder image could not be read.
    #[error("unable to fetch remote builder image: {problem}")]
    BuilderImage {
        /// Why.
        problem: String,
        /// Whether reading it again may help.
        retryable: bool,
    },
    /// The builder image lacks a label.
    #[error("{context}: could not find label {label}")]
    MissingLabel {
        /// What needed it.
        context: &'static str,
        /// The label.
        label: &'static str,
    },
    /// The builder image's metadata label cannot be read.
    #[error("unable to get builder metadata: {problem}")]
    InvalidMetadata {
        /// Why.
        problem: String,
    },
    /// The builder image does not set a variable.
    #[error("ENV {name} not found")]
    MissingVariable {
        /// The variable.
        name: &'static str,
    },
    /// A number is none.
    #[error("strconv.ParseInt: parsing \"{text}\": {problem}")]
    InvalidNumber {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Builders for Windows are not supported.
    #[error("windows builds are not supported")]
    Windows,
    /// The builder's lifecycle speaks no platform API that can be used here.
    #[error("unsupported builder platform API versions: {}", .supported.join(","))]
    PlatformApi {
        /// What it speaks.
        supported: Vec<String>,
    },
    /// A tag is no image reference.
    #[error("could not parse reference: {text}")]
    InvalidReference {
        /// The text.
        text: String,
    },
    /// The creation time is none.
    #[error("parsing creation time {text}: parsing unix timestamp: strconv.ParseInt: parsing \"{text}\": {problem}")]
    InvalidCreationTime {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The cluster could not be asked.
    #[error("{problem}")]
    Lookup {
        /// Why.
        problem: String,
    },
}

impl PodError {
    /// Returns whether trying again may help. All others make the Build fail for good.
    ///
    /// # Deviation
    /// In the reference every one is final, a short outage of the registry included.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Lookup { .. } | Self::BuilderImage { retryable: true, .. })
    }
}

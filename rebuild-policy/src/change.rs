//! What changed since the last build, and why that is a reason to build.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::resource::{CnbBinding, EnvVar, ObjectReference, ResourceRequirements, SourceConfig, is_default};

/// A reason to build. The order is the one in which reasons are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Somebody asked for it.
    Trigger,
    /// The source has a new commit.
    Commit,
    /// The configuration of the build changed.
    Config,
    /// The builder no longer has a buildpack the image was made with.
    Buildpack,
    /// The run image changed.
    Stack,
    /// The lifecycle changed.
    Lifecycle,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: [Self; 6] = [
        Self::Trigger,
        Self::Commit,
        Self::Config,
        Self::Buildpack,
        Self::Stack,
        Self::Lifecycle,
    ];

    /// Returns the name of the reason, such as `COMMIT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "TRIGGER",
            Self::Commit => "COMMIT",
            Self::Config => "CONFIG",
            Self::Buildpack => "BUILDPACK",
            Self::Stack => "STACK",
            Self::Lifecycle => "LIFECYCLE",
        }
    }

    /// Returns how urgent a build for this reason is: what users did is urgent, what operators did is not.
    pub fn priority(self) -> Priority {
        match self {
            Self::Trigger | Self::Commit | Self::Config => Priority::High,
            Self::Buildpack | Self::Stack | Self::Lifecycle => Priority::Low,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How urgent a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Nobody waits for it.
    Low,
    /// A user waits for it.
    High,
}

impl Priority {
    /// Returns the name of the priority class.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Low => "kpack-build-low-priority",
            Self::High => "kpack-build-high-priority",
        }
    }
}

/// One change, with what was and what is.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A build was asked for.
    Trigger {
        /// What to tell users.
        message: String,
    },
    /// The commit changed.
    Commit {
        /// Revision of the last build.
        old: String,
        /// Revision now.
        new: String,
    },
    /// The configuration changed.
    Config {
        /// Configuration of the last build.
        old: Box<BuildConfig>,
        /// Configuration now.
        new: Box<BuildConfig>,
    },
    /// Buildpacks are gone from the builder.
    Buildpack {
        /// What is missing, sorted by id.
        missing: Vec<BuildpackVersion>,
    },
    /// The run image changed.
    Stack {
        /// Digest (or tag) of the last build's run image.
        old: String,
        /// Digest (or tag) of the builder's run image.
        new: String,
    },
    /// The lifecycle changed.
    Lifecycle {
        /// Version in the last image.
        old: String,
        /// Version in the builder.
        new: String,
    },
}

impl Change {
    /// Returns why this change asks for a build.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Trigger { .. } => Reason::Trigger,
            Self::Commit { .. } => Reason::Commit,
            Self::Config { .. } => Reason::Config,
            Self::Buildpack { .. } => Reason::Buildpack,
            Self::Stack { .. } => Reason::Stack,
            Self::Lifecycle { .. } => Reason::Lifecycle,
        }
    }
}

impl Change {
    /// Tells people what changed, in part of a line.
    pub fn explain(&self) -> String {
        match self {
            Self::Trigger { message } => message.clone(),
            Self::Commit { old, new } => format!("the source moved from {} to {}", short(old), short(new)),
            Self::Config { old, new } => format!("the configuration has another {}", old.differences(new).join(", ")),
            Self::Buildpack { missing } => {
                let missing: Vec<String> = missing
                    .iter()
                    .map(|one| format!("{}@{}", one.id, one.version))
                    .collect();
                format!("the builder no longer has {}", missing.join(", "))
            }
            Self::Stack { old, new } => format!("the run image is {} instead of {}", short(new), short(old)),
            Self::Lifecycle { old, new } => format!("the lifecycle is {new} instead of {old}"),
        }
    }
}

/// The beginning of a commit or digest, enough for people to recognise it.
fn short(text: &str) -> &str {
    let length = if text.starts_with("sha256:") { 7 + 12 } else { 12 };
    let is_hash = text.len() >= 40 && text.is_ascii();
    if is_hash { &text[..length] } else { text }
}

/// A buildpack by id and version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildpackVersion {
    /// Id, such as `acme/node`.
    pub id: String,
    /// Version, such as `1.2.3`.
    pub version: String,
}

/// The part of the configuration that makes a build necessary when it changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildConfig {
    /// Environment of the buildpacks.
    #[serde(skip_serializing_if = "is_default")]
    pub env: Vec<EnvVar>,
    /// Limits of the steps.
    pub resources: ResourceRequirements,
    /// Service bindings.
    #[serde(skip_serializing_if = "is_default")]
    pub services: Vec<ObjectReference>,
    /// Legacy service bindings.
    #[serde(skip_serializing_if = "is_default")]
    pub cnb_bindings: Vec<CnbBinding>,
    /// The source.
    pub source: SourceConfig,
}

impl BuildConfig {
    /// Returns whether two configurations mean the same. Git revisions do not count: a new one is a commit.
    pub fn means_the_same_as(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }

    /// Names the parts that differ.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("environment", self.env == other.env),
            ("resources", self.resources == other.resources),
            ("services", self.services == other.services),
            ("bindings", self.cnb_bindings == other.cnb_bindings),
            ("source", same_but_for_the_revision(&self.source, &other.source)),
        ];
        parts
            .into_iter()
            .filter(|(_, same)| !same)
            .map(|(name, _)| name)
            .collect()
    }
}

/// Compares sources as far as they are configuration.
fn same_but_for_the_revision(one: &SourceConfig, other: &SourceConfig) -> bool {
    let same_git = match (&one.git, &other.git) {
        (Some(one), Some(other)) => one.url == other.url && one.initialize_submodules == other.initialize_submodules,
        (None, None) => true,
        _ => false,
    };
    same_git && one.blob == other.blob && one.registry == other.registry && one.sub_path == other.sub_path
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<O, N> {
            reason: &'static str,
            old: O,
            new: N,
        }
        fn row<S: Serializer, O: Serialize, N: Serialize>(
            change: &Change,
            old: O,
            new: N,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            Row {
                reason: change.reason().as_str(),
                old,
                new,
            }
            .serialize(serializer)
        }
        match self {
            Self::Trigger { message } => row(self, "", message, serializer),
            Self::Commit { old, new } | Self::Stack { old, new } | Self::Lifecycle { old, new } => {
                row(self, old, new, serializer)
            }
            Self::Config { old, new } => row(self, old, new, serializer),
            Self::Buildpack { missing } => row(self, missing, (), serializer),
        }
    }
}

/// The changes that make a build necessary: at least one, in the order of [`Reason`].
#[derive(Clone, Debug, PartialEq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// Takes changes; `None` when there are none.
    pub fn new(mut changes: Vec<Change>) -> Option<Self> {
        changes.sort_by_key(Change::reason);
        (!changes.is_empty()).then_some(Self(changes))
    }

    /// Returns the changes.
    pub fn as_slice(&self) -> &[Change] {
        &self.0
    }

    /// Returns the reasons, in order.
    pub fn each_reason(&self) -> impl Iterator<Item = Reason> {
        self.0.iter().map(Change::reason)
    }

    /// Returns the reasons as the Build's annotation has them, such as `COMMIT,CONFIG`.
    pub fn reasons(&self) -> String {
        self.0
            .iter()
            .map(|change| change.reason().as_str())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Tells people what changed, in one line.
    pub fn explain(&self) -> String {
        self.0.iter().map(Change::explain).collect::<Vec<_>>().join("; ")
    }

    /// Returns the changes as the Build's annotation has them: compact JSON, escaped as Go does.
    pub fn to_json(&self) -> String {
        cnb_order::go_json_of(&self.0).expect("strings, lists and maps with text keys always have a JSON form")
    }

    /// Returns the priority of the most urgent change.
    pub fn priority(&self) -> Priority {
        self.0
            .iter()
            .map(|change| change.reason().priority())
            .max()
            .unwrap_or(Priority::Low)
    }

    /// Returns whether a rebase is enough: nothing but the run image changed.
    ///
    /// Whether it is possible too depends on the stack ids (see [`crate::is_rebase`]).
    pub fn is_run_image_only(&self) -> bool {
        matches!(self.0.as_slice(), [Change::Stack { .. }])
    }
}

//! Should an image be built, and why?

use std::fmt;

use jiff::Timestamp;
use registry_auth::Reference;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::change::{BuildConfig, BuildpackVersion, Change, Changes, Reason};
use crate::key::BUILD_NEEDED_ANNOTATION;
use crate::resource::{
    Build, Builder, BuilderStatus, ClusterBuilder, Conditions, Image, ImageBuild, ObjectMeta, SourceConfig,
    SourceResolver,
};

/// A Builder or a ClusterBuilder, seen from an Image.
#[derive(Clone, Copy, Debug)]
pub struct BuilderView<'a> {
    /// `Builder` or `ClusterBuilder`.
    pub kind: &'static str,
    /// The builder's metadata.
    pub metadata: &'a ObjectMeta,
    /// The builder's status.
    pub status: &'a BuilderStatus,
}

impl BuilderView<'_> {
    /// Returns whether the builder can be used.
    pub fn is_ready(&self) -> bool {
        self.status.is_ready(self.metadata)
    }

    /// Returns whether the newest stack and buildpacks are in the builder.
    pub fn is_up_to_date(&self) -> bool {
        self.status.is_up_to_date(self.metadata)
    }

    /// Returns the message of the `Ready` condition.
    pub fn ready_message(&self) -> &str {
        self.status.conditions.condition_message("Ready")
    }
}

impl<'a> From<&'a Builder> for BuilderView<'a> {
    fn from(builder: &'a Builder) -> Self {
        Self {
            kind: "Builder",
            metadata: &builder.metadata,
            status: &builder.status,
        }
    }
}

impl<'a> From<&'a ClusterBuilder> for BuilderView<'a> {
    fn from(builder: &'a ClusterBuilder) -> Self {
        Self {
            kind: "ClusterBuilder",
            metadata: &builder.metadata,
            status: &builder.status,
        }
    }
}

/// Everything that a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The image.
    pub image: &'a Image,
    /// Its newest Build, if there is one.
    pub last_build: Option<&'a Build>,
    /// Its source.
    pub source: &'a SourceResolver,
    /// Its builder.
    pub builder: BuilderView<'a>,
    /// The present time; only shown to users.
    pub now: Timestamp,
}

/// Whether to build.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The newest Build still holds.
    UpToDate,
    /// A build is needed.
    Build(Changes),
    /// Nobody can tell yet.
    Wait(Waiting),
}

impl Decision {
    /// Tells people what is decided and why, in one line. For machines: [`Serialize`].
    pub fn explain(&self) -> String {
        match self {
            Self::Build(changes) => format!("{self}: {}", changes.explain()),
            _ => self.to_string(),
        }
    }
}

/// As a map: `decision` (`build`, `upToDate`, `wait`), for a build `reasons` and `changes` as its annotations have them,
/// else what is waited for.
impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::UpToDate => map.serialize_entry("decision", "upToDate")?,
            Self::Build(changes) => {
                map.serialize_entry("decision", "build")?;
                map.serialize_entry("reasons", &changes.reasons())?;
                map.serialize_entry("changes", changes.as_slice())?;
            }
            Self::Wait(what) => {
                map.serialize_entry("decision", "wait")?;
                let what = match what {
                    Waiting::Source => "source",
                    Waiting::Builder => "builder",
                };
                map.serialize_entry("for", what)?;
            }
        }
        map.end()
    }
}

/// What a decision waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The source has not been resolved.
    Source,
    /// The builder cannot be used.
    Builder,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate => f.write_str("up to date"),
            Self::Build(changes) => write!(f, "build because {}", changes.reasons()),
            Self::Wait(Waiting::Source) => f.write_str("waiting for the source to be resolved"),
            Self::Wait(Waiting::Builder) => f.write_str("waiting for the builder to be ready"),
        }
    }
}

/// Why no decision could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// Run images are compared by reference, and one is none.
    #[error(
        "error determining if build is required for reason '{reason}': {}",
        .references.iter().map(|text| format!("could not parse reference: {text}")).collect::<Vec<_>>().join("; ")
    )]
    InvalidReference {
        /// The reason that was being examined.
        reason: Reason,
        /// The references that are none: the last build's, then the builder's.
        references: Vec<String>,
    },
}

/// Compares the last build's inputs with those a build would have now.
///
/// Reads no clock, network or cluster: equal arguments give equal decisions. With no last build, the configuration
/// counts as changed. After a failed build only a trigger, a commit or a change of configuration counts.
///
/// # Errors
/// When the run image of the last (successful) build or of the builder is no image reference.
pub fn decide(situation: &Situation<'_>) -> Result<Decision, DecideError> {
    if !situation.source.is_ready() {
        return Ok(Decision::Wait(Waiting::Source));
    }
    if !situation.builder.is_ready() {
        return Ok(Decision::Wait(Waiting::Builder));
    }
    let found = [
        situation.trigger(),
        situation.commit(),
        situation.config(),
        situation.buildpack(),
        situation.stack()?,
        situation.lifecycle(),
    ];
    let changes = Changes::new(found.into_iter().flatten().collect());
    Ok(changes.map_or(Decision::UpToDate, Decision::Build))
}

impl Situation<'_> {
    fn last_success(&self) -> Option<&Build> {
        self.last_build.filter(|build| build.is_success())
    }

    fn trigger(&self) -> Option<Change> {
        let annotations = &self.last_build?.metadata.annotations;
        annotations
            .contains_key(BUILD_NEEDED_ANNOTATION)
            .then(|| Change::Trigger {
                message: format!(
                    "A new build was manually triggered on {}",
                    self.now.strftime("%a, %d %b %Y %H:%M:%S +0000")
                ),
            })
    }

    fn commit(&self) -> Option<Change> {
        let old = &self.last_build?.spec.source.git.as_ref()?.revision;
        let new = &self.source.status.source.git.as_ref()?.revision;
        (old != new).then(|| Change::Commit {
            old: old.clone(),
            new: new.clone(),
        })
    }

    /// Compares in place; only what differs is copied.
    fn config(&self) -> Option<Change> {
        let none = ImageBuild::default();
        let build = self.image.spec.build.as_ref().unwrap_or(&none);
        let source = &self.source.status.source;
        let same = match self.last_build {
            Some(last) => {
                last.spec.env == build.env
                    && last.spec.resources == build.resources
                    && last.spec.services == build.services
                    && last.spec.cnb_bindings == build.cnb_bindings
                    && source.is_configured_as(&last.spec.source)
            }
            None => *build == none && source.is_configured_as(&SourceConfig::default()),
        };
        if same {
            return None;
        }
        let old = self.last_build.map_or_else(BuildConfig::default, |last| BuildConfig {
            env: last.spec.env.clone(),
            resources: last.spec.resources.clone(),
            services: last.spec.services.clone(),
            cnb_bindings: last.spec.cnb_bindings.clone(),
            source: last.spec.source.clone(),
        });
        let new = BuildConfig {
            env: build.env.clone(),
            resources: build.resources.clone(),
            services: build.services.clone(),
            cnb_bindings: build.cnb_bindings.clone(),
            source: source.to_source_config(),
        };
        (!old.means_the_same_as(&new)).then(|| Change::Config {
            old: Box::new(old),
            new: Box::new(new),
        })
    }

    fn buildpack(&self) -> Option<Change> {
        let held = &self.builder.status.builder_metadata;
        let mut missing: Vec<BuildpackVersion> = self
            .last_success()?
            .status
            .build_metadata
            .iter()
            .filter(|used| {
                !held
                    .iter()
                    .any(|other| other.id == used.id && other.version == used.version)
            })
            .map(|used| BuildpackVersion {
                id: used.id.clone(),
                version: used.version.clone(),
            })
            .collect();
        missing.sort_by(|one, other| one.id.cmp(&other.id));
        (!missing.is_empty()).then_some(Change::Buildpack { missing })
    }

    fn stack(&self) -> Result<Option<Change>, DecideError> {
        let Some(last) = self.last_success() else {
            return Ok(None);
        };
        let references = [&last.status.stack.run_image, &self.builder.status.stack.run_image];
        let parsed = references.map(|text| Reference::parse(text));
        if let [Ok(old), Ok(new)] = &parsed {
            let (old, new) = (old.identifier(), new.identifier());
            return Ok((old != new).then_some(Change::Stack { old, new }));
        }
        let broken = references
            .into_iter()
            .zip(&parsed)
            .filter(|(_, parsed)| parsed.is_err());
        Err(DecideError::InvalidReference {
            reason: Reason::Stack,
            references: broken.map(|(text, _)| text.clone()).collect(),
        })
    }

    fn lifecycle(&self) -> Option<Change> {
        let old = &self.last_success()?.status.lifecycle_version;
        let new = &self.builder.status.lifecycle.version;
        (old != new).then(|| Change::Lifecycle {
            old: old.clone(),
            new: new.clone(),
        })
    }
}

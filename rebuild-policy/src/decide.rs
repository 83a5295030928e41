//! Should an image be built, and why?

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use registry_auth::Reference;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::change::{BuildConfig, BuildpackVersion, Change, Changes, Reason};
use crate::key::BUILD_NEEDED_ANNOTATION;
use crate::resource::{
    Build, Builder, BuilderStatus, BuildpackMetadata, ClusterBuilder, Conditions, Image, ImageBuild, ObjectMeta,
    SourceConfig, SourceResolver,
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
    /// Which reasons there are to build, without what changed; nothing when nobody can tell. Cheaper than [`decide`].
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        if !self.source.is_ready() || !self.builder.is_ready() {
            return Vec::new();
        }
        let texts = self.run_images();
        let other_run_image = texts.is_some_and(|[old, new]| old != new && identifier(old) != identifier(new));
        let found = [
            (self.trigger().is_some(), Reason::Trigger),
            (self.commits().is_some(), Reason::Commit),
            (!self.is_configured_alike(), Reason::Config),
            (self.missing_buildpacks().next().is_some(), Reason::Buildpack),
            (other_run_image, Reason::Stack),
            (self.lifecycles().is_some(), Reason::Lifecycle),
        ];
        found
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, reason)| reason)
            .collect()
    }

    /// The run image of the last good build and that of the builder.
    fn run_images(&self) -> Option<[&str; 2]> {
        let last = self.last_success()?;
        Some([
            last.status.stack.run_image.as_str(),
            self.builder.status.stack.run_image.as_str(),
        ])
    }

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

    fn commits(&self) -> Option<[&String; 2]> {
        let old = &self.last_build?.spec.source.git.as_ref()?.revision;
        let new = &self.source.status.source.git.as_ref()?.revision;
        (old != new).then_some([old, new])
    }

    fn commit(&self) -> Option<Change> {
        self.commits().map(|[old, new]| Change::Commit {
            old: old.clone(),
            new: new.clone(),
        })
    }

    /// Compares in place: nothing is copied.
    fn is_configured_alike(&self) -> bool {
        let none = ImageBuild::default();
        let build = self.image.spec.build.as_ref().unwrap_or(&none);
        let source = &self.source.status.source;
        match self.last_build {
            Some(last) => {
                last.spec.env == build.env
                    && last.spec.resources == build.resources
                    && last.spec.services == build.services
                    && last.spec.cnb_bindings == build.cnb_bindings
                    && source.is_configured_as(&last.spec.source)
            }
            None => *build == none && source.is_configured_as(&SourceConfig::default()),
        }
    }

    fn config(&self) -> Option<Change> {
        if self.is_configured_alike() {
            return None;
        }
        let none = ImageBuild::default();
        let build = self.image.spec.build.as_ref().unwrap_or(&none);
        let source = &self.source.status.source;
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

    /// What the last good build used and the builder no longer has.
    fn missing_buildpacks(&self) -> impl Iterator<Item = &BuildpackMetadata> {
        let held = &self.builder.status.builder_metadata;
        let used = self.last_success().map(|last| last.status.build_metadata.as_slice());
        used.unwrap_or_default().iter().filter(move |used| {
            !held
                .iter()
                .any(|other| other.id == used.id && other.version == used.version)
        })
    }

    fn buildpack(&self) -> Option<Change> {
        let missing = self.missing_buildpacks().map(|used| BuildpackVersion {
            id: used.id.clone(),
            version: used.version.clone(),
        });
        let mut missing: Vec<BuildpackVersion> = missing.collect();
        missing.sort_by(|one, other| one.id.cmp(&other.id));
        (!missing.is_empty()).then_some(Change::Buildpack { missing })
    }

    fn stack(&self) -> Result<Option<Change>, DecideError> {
        let Some(references) = self.run_images() else {
            return Ok(None);
        };
        let [old, new] = references.map(identifier);
        if let (Some(old), Some(new)) = (&old, &new) {
            let change = || Change::Stack {
                old: old.clone().into_owned(),
                new: new.clone().into_owned(),
            };
            return Ok((old != new).then(change));
        }
        let broken = references
            .into_iter()
            .zip([old, new])
            .filter(|(_, found)| found.is_none());
        Err(DecideError::InvalidReference {
            reason: Reason::Stack,
            references: broken.map(|(text, _)| text.to_owned()).collect(),
        })
    }

    fn lifecycles(&self) -> Option<[&String; 2]> {
        let old = &self.last_success()?.status.lifecycle_version;
        let new = &self.builder.status.lifecycle.version;
        (old != new).then_some([old, new])
    }

    fn lifecycle(&self) -> Option<Change> {
        self.lifecycles().map(|[old, new]| Change::Lifecycle {
            old: old.clone(),
            new: new.clone(),
        })
    }
}

/// The digest of a reference, else its tag; `None` when it is none.
fn identifier(text: &str) -> Option<Cow<'_, str>> {
    match pinned(text) {
        Some(digest) => Some(Cow::Borrowed(digest)),
        None => Reference::parse(text)
            .ok()
            .map(|reference| Cow::Owned(reference.identifier())),
    }
}

/// The digest of a reference of the plainest form, `host.name/repository[:tag]@sha256:…`, as all that controllers write
/// have it; `None` for every other text, reference or not. Much faster than taking the reference apart.
fn pinned(text: &str) -> Option<&str> {
    const REPOSITORY: std::ops::RangeInclusive<usize> = 2..=255;
    let (place, digest) = text.split_once('@')?;
    let hex = digest.strip_prefix("sha256:")?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (host, path) = place.split_once('/')?;
    let (path, tag) = path.split_once(':').unwrap_or((path, "latest"));
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_host = host.contains('.')
        && host.bytes().all(|byte| lower(byte) || byte == b'.' || byte == b'-')
        && host.split('.').all(|label| {
            let ends = |byte: Option<&u8>| byte.is_some_and(|byte| lower(*byte));
            ends(label.as_bytes().first()) && ends(label.as_bytes().last())
        });
    let is_repository = REPOSITORY.contains(&path.len())
        && path
            .bytes()
            .all(|byte| lower(byte) || matches!(byte, b'.' | b'_' | b'-' | b'/'));
    let is_tag = (1..=128).contains(&tag.len())
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    (is_digest && is_host && is_repository && is_tag).then_some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use registry_auth::Reference;

    use super::pinned;

    proptest! {
        #[test]
        fn what_is_taken_for_pinned_is_read_the_same_by_the_parser(
            host in "[a-z0-9.-]{1,9}(:[0-9]{1,4})?",
            path in "[a-zA-Z0-9._/-]{0,12}",
            tag in "(:[a-zA-Z0-9._-]{0,5}){0,2}",
            digest in "(@sha256:[0-9a-f]{64})|(@sha256:[0-9a-g]{60,66})|(@sha512:[0-9a-f]{64})|",
        ) {
            let text = format!("{host}/{path}{tag}{digest}");
            if let Some(digest) = pinned(&text) {
                let parsed = Reference::parse(&text);
                prop_assert!(parsed.is_ok(), "{text}");
                prop_assert_eq!(parsed.expect("checked").identifier(), digest);
            }
        }
    }

    #[test]
    fn references_as_builders_have_them_are_pinned() {
        let digest = format!("sha256:{:064x}", 7);
        let text = format!("reg.example/team/builder:one-run-image@{digest}");
        assert_eq!(pinned(&text), Some(digest.as_str()));
        assert_eq!(pinned("reg.example/team/builder:one"), None);
    }
}

//! The name of one image: a repository with a tag or a digest.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    digest::{Digest, DigestProblem},
    host::{InvalidRegistryHost, RegistryHost},
    repository::{Repository, RepositoryProblem},
};

/// The name of an image, such as `ubuntu`, `ghcr.io/acme/app:v1` or `acme/app@sha256:…`.
///
/// Two references are equal when they name the same thing, however they were written.
///
/// ```
/// use registry_auth::Reference;
///
/// let image = Reference::parse("ubuntu")?;
/// assert_eq!(image.to_string(), "index.docker.io/library/ubuntu:latest");
/// assert_eq!(image.as_given(), "ubuntu");
/// # Ok::<(), registry_auth::InvalidReference>(())
/// ```
///
/// # Specification
/// The rules of go-containerregistry's package `name`, which kpack and the lifecycle use.
#[derive(Clone)]
pub struct Reference {
    repository: Repository,
    identifier: Identifier,
    given: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Identifier {
    Tag(String),
    Digest(Digest),
}

impl Reference {
    /// Parses `text` by the weak rules: registry, `library/` and tag may be left out.
    ///
    /// A tag in front of a digest is dropped.
    ///
    /// # Errors
    /// When `text` is no name; the message is the reference's, the cause tells what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        Self::parse_with(text, &ParseOptions::default())
    }

    /// Parses `text` by the strict rules: registry, `library/` and tag or digest must be there.
    ///
    /// # Errors
    /// As [`Reference::parse`], and when one of them is missing.
    pub fn parse_strict(text: &str) -> Result<Self, InvalidReference> {
        let options = ParseOptions {
            strict: true,
            ..ParseOptions::default()
        };
        Self::parse_with(text, &options)
    }

    /// Parses `text` with `options`.
    ///
    /// # Errors
    /// As [`Reference::parse`].
    pub fn parse_with(text: &str, options: &ParseOptions) -> Result<Self, InvalidReference> {
        // A text with `@` can't be a tag, and one without can't be a digest: the other attempt would only hide why.
        let parsed = if text.contains('@') {
            Self::parse_digest(text, options)
        } else {
            Self::parse_tag(text, options)
        };
        parsed.map_err(|problem| InvalidReference {
            text: text.to_owned(),
            problem,
        })
    }

    /// Parses `text` as a name with a tag, never a digest.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse_tag(text: &str, options: &ParseOptions) -> Result<Self, ReferenceProblem> {
        let (base, tag) = match text.rsplit_once(':') {
            Some((_, "")) => return Err(ReferenceProblem::EmptyTag { text: text.to_owned() }),
            // Behind the last colon is a port and a path.
            Some((_, rest)) if rest.contains('/') => (text, ""),
            Some((base, tag)) => (base, tag),
            None => (text, ""),
        };
        if !tag.is_empty() || options.strict {
            check_tag(tag)?;
        }
        let repository = Repository::parse_with(base, options)?;
        let tag = if tag.is_empty() {
            check_tag(&options.default_tag)?;
            options.default_tag.clone()
        } else {
            tag.to_owned()
        };
        Ok(Self {
            repository,
            identifier: Identifier::Tag(tag),
            given: text.to_owned(),
        })
    }

    /// Parses `text` as a name with a digest.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse_digest(text: &str, options: &ParseOptions) -> Result<Self, ReferenceProblem> {
        let mut parts = text.split('@');
        let (Some(base), Some(digest), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ReferenceProblem::AtSigns { text: text.to_owned() });
        };
        let digest = digest
            .parse::<Digest>()
            .map_err(|error| ReferenceProblem::digest(error.problem, digest))?;
        // With a tag in front of the `@`, the tag is dropped; what is no tagged name is taken for a repository.
        let repository = match Self::parse_tag(base, options) {
            Ok(tagged) => tagged.repository,
            Err(_) => Repository::parse_with(base, options)?,
        };
        Ok(Self {
            repository,
            identifier: Identifier::Digest(digest),
            given: text.to_owned(),
        })
    }

    /// Returns the registry.
    pub fn registry(&self) -> &RegistryHost {
        self.repository.registry()
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the tag, the default one included; `None` when this names a digest.
    pub fn tag(&self) -> Option<&str> {
        match &self.identifier {
            Identifier::Tag(tag) => Some(tag),
            Identifier::Digest(_) => None,
        }
    }

    /// Returns the digest; `None` when this names a tag.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.identifier {
            Identifier::Tag(_) => None,
            Identifier::Digest(digest) => Some(digest),
        }
    }

    /// Returns the tag or the digest, as it stands in an address.
    pub fn identifier(&self) -> String {
        match &self.identifier {
            Identifier::Tag(tag) => tag.clone(),
            Identifier::Digest(digest) => digest.to_string(),
        }
    }

    /// Returns the text that was parsed, unchanged.
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// Returns the name of `tag` in the same repository.
    ///
    /// # Errors
    /// When `tag` is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        Self::tagged(&self.repository, tag)
    }

    /// Returns the name of the image `digest` in the same repository.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self::pinned(&self.repository, digest)
    }

    /// Returns the same tag or digest in another repository.
    #[must_use]
    pub fn with_repository(&self, repository: &Repository) -> Self {
        let separator = if self.digest().is_some() { '@' } else { ':' };
        Self {
            repository: repository.clone(),
            identifier: self.identifier.clone(),
            given: format!("{repository}{separator}{}", self.identifier()),
        }
    }

    /// Returns the name of `tag` in `repository`.
    ///
    /// # Errors
    /// When `tag` is no tag.
    pub fn tagged(repository: &Repository, tag: &str) -> Result<Self, InvalidReference> {
        let given = format!("{repository}:{tag}");
        match check_tag(tag) {
            Ok(()) => Ok(Self {
                repository: repository.clone(),
                identifier: Identifier::Tag(tag.to_owned()),
                given,
            }),
            Err(problem) => Err(InvalidReference { text: given, problem }),
        }
    }

    /// Returns the name of the image `digest` in `repository`.
    pub fn pinned(repository: &Repository, digest: &Digest) -> Self {
        Self {
            repository: repository.clone(),
            identifier: Identifier::Digest(digest.clone()),
            given: format!("{repository}@{digest}"),
        }
    }
}

fn check_tag(tag: &str) -> Result<(), ReferenceProblem> {
    let length = tag.chars().count();
    if !(1..=128).contains(&length) {
        return Err(ReferenceProblem::TagLength { tag: tag.to_owned() });
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !tag.chars().all(good) {
        return Err(ReferenceProblem::TagCharacters { tag: tag.to_owned() });
    }
    Ok(())
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identifier {
            Identifier::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Identifier::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.repository == other.repository && self.identifier == other.identifier
    }
}

impl Eq for Reference {}

impl std::hash::Hash for Reference {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.repository.hash(state);
        self.identifier.hash(state);
    }
}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reference {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.repository, &self.identifier).cmp(&(&other.repository, &other.identifier))
    }
}

/// Written as it was given.
impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.given)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How names are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Whether registry, `library/` and tag must be written out.
    pub strict: bool,
    /// The registry of a name without one; Docker Hub by default.
    pub default_registry: RegistryHost,
    /// The tag of a name without one; `latest` by default.
    pub default_tag: String,
    /// Which names in front of a `/` are registries.
    pub localhost: LocalhostRule,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            strict: false,
            default_registry: RegistryHost::docker_hub(),
            default_tag: "latest".to_owned(),
            localhost: LocalhostRule::Registry,
        }
    }
}

impl ParseOptions {
    pub(crate) fn is_registry(&self, first: &str) -> bool {
        let localhost = self.localhost == LocalhostRule::Registry && first == "localhost";
        localhost || first.contains(['.', ':'])
    }

    /// Reads `text` as a registry; no text is the default one.
    ///
    /// # Errors
    /// When it is none, or there is no text and the options are strict.
    pub fn registry(&self, text: &str) -> Result<RegistryHost, RepositoryProblem> {
        match text {
            "" if self.strict => Err(RepositoryProblem::ImplicitRegistry),
            "" => Ok(self.default_registry.clone()),
            _ => Ok(text.parse::<RegistryHost>()?),
        }
    }
}

/// What `localhost/app` means, where the two reference libraries differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalhostRule {
    /// Repository `app` on the registry `localhost`: the lifecycle's rule, and the default.
    Registry,
    /// Docker Hub's repository `localhost/app`: the rule of kpack's controllers.
    DockerHub,
}

/// Why a text is no [`Reference`]: the reference's message, with the problem as the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not parse reference: {text}")]
pub struct InvalidReference {
    /// The text as it was given.
    pub text: String,
    /// What is wrong with it.
    #[source]
    pub problem: ReferenceProblem,
}

/// What is wrong with the text of a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceProblem {
    /// There is a `:` at the end with no tag behind it.
    #[error("{text} must specify a tag name after the colon")]
    EmptyTag {
        /// The whole text.
        text: String,
    },
    /// The tag is too long, or strictly needed and missing.
    #[error("tag must be between 1 and 128 characters in length: {tag}")]
    TagLength {
        /// The tag.
        tag: String,
    },
    /// The tag has a character that it may not have.
    #[error(
        "tag can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-.ABCDEFGHIJKLMNOPQRSTUVWXYZ`: {tag}"
    )]
    TagCharacters {
        /// The tag.
        tag: String,
    },
    /// There is not exactly one `@`.
    #[error("a digest must contain exactly one '@' separator (e.g. registry/repository@digest) saw: {text}")]
    AtSigns {
        /// The whole text.
        text: String,
    },
    /// The digest is none of SHA-256.
    #[error("unsupported digest algorithm: {digest}")]
    Algorithm {
        /// The text behind the `@`.
        digest: String,
    },
    /// The digest does not have 64 digits.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// The digest has other characters than `0-9a-f`.
    #[error("invalid checksum digest format")]
    DigestFormat,
    /// The repository or registry is not well-formed.
    #[error(transparent)]
    Repository(#[from] RepositoryProblem),
}

impl ReferenceProblem {
    fn digest(problem: DigestProblem, text: &str) -> Self {
        match problem {
            DigestProblem::Algorithm => Self::Algorithm {
                digest: text.to_owned(),
            },
            DigestProblem::Length(_) => Self::DigestLength,
            DigestProblem::Digit => Self::DigestFormat,
        }
    }
}

impl From<InvalidRegistryHost> for ReferenceProblem {
    fn from(problem: InvalidRegistryHost) -> Self {
        Self::Repository(problem.into())
    }
}

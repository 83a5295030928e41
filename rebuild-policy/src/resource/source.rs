//! Where an app's source is, as wanted and as resolved.

use serde::{Deserialize, Serialize};

use super::{LocalObjectReference, is_default};

/// A source as the user names it: exactly one of `git`, `blob` and `registry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceConfig {
    /// A git repository.
    #[serde(skip_serializing_if = "is_default")]
    pub git: Option<GitSource>,
    /// An archive behind a URL.
    #[serde(skip_serializing_if = "is_default")]
    pub blob: Option<BlobSource>,
    /// A source image.
    #[serde(skip_serializing_if = "is_default")]
    pub registry: Option<RegistrySource>,
    /// The directory of the app inside the source.
    #[serde(skip_serializing_if = "is_default")]
    pub sub_path: String,
}

/// A git repository and what to take from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GitSource {
    /// URL of the repository.
    pub url: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Whether submodules are checked out too.
    #[serde(skip_serializing_if = "is_default")]
    pub initialize_submodules: bool,
    /// Which paths count for the question whether something has changed.
    #[serde(skip_serializing_if = "is_default")]
    pub paths: GitPaths,
}

/// Which paths of a repository count for an image: a commit that changes none of them gives no Build.
///
/// Patterns have the form of lines in a `.gitignore` and begin at the top of the repository.
///
/// # Deviation
/// The reference has no such field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GitPaths {
    /// What counts beside the sub path, such as a shared library: `libs/shared/`.
    #[serde(skip_serializing_if = "is_default")]
    pub include: Vec<String>,
    /// What does not count, such as `*.md`; a later `!pattern` takes paths back in.
    #[serde(skip_serializing_if = "is_default")]
    pub exclude: Vec<String>,
}

/// An archive behind a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BlobSource {
    /// URL of the archive.
    pub url: String,
    /// Empty, `helper` or `secret`.
    #[serde(skip_serializing_if = "is_default")]
    pub auth: String,
    /// Leading directories to remove from names in the archive.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_components: i64,
}

/// A source image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RegistrySource {
    /// Reference of the image.
    pub image: String,
    /// Secrets to pull it with; only the first is used.
    #[serde(skip_serializing_if = "is_default")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}

/// A source as a resolver found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedSource {
    /// A git commit.
    #[serde(skip_serializing_if = "is_default")]
    pub git: Option<ResolvedGit>,
    /// An archive.
    #[serde(skip_serializing_if = "is_default")]
    pub blob: Option<ResolvedBlob>,
    /// A source image.
    #[serde(skip_serializing_if = "is_default")]
    pub registry: Option<ResolvedRegistry>,
}

impl ResolvedSource {
    /// Returns whether a source is configured like this one. Git revisions do not count, nor does what is empty when
    /// there is no source at all.
    pub fn is_configured_as(&self, config: &SourceConfig) -> bool {
        if let Some(git) = &self.git {
            let same =
                |other: &GitSource| other.url == git.url && other.initialize_submodules == git.initialize_submodules;
            return config.git.as_ref().is_some_and(same)
                && config.blob.is_none()
                && config.registry.is_none()
                && config.sub_path == git.sub_path;
        }
        // The other kinds are rare: they are compared as a whole.
        self.to_source_config() == *config
    }

    /// Returns the source that a Build takes: the resolved one in the form of a wish.
    ///
    /// # Deviation
    /// `stripComponents` of an archive is in it; the reference's resolver loses it.
    pub fn to_source_config(&self) -> SourceConfig {
        let mut config = SourceConfig::default();
        if let Some(git) = &self.git {
            config.git = Some(GitSource {
                url: git.url.clone(),
                revision: git.revision.clone(),
                initialize_submodules: git.initialize_submodules,
                // One commit is what it is.
                paths: GitPaths::default(),
            });
            config.sub_path.clone_from(&git.sub_path);
        } else if let Some(blob) = &self.blob {
            config.blob = Some(BlobSource {
                url: blob.url.clone(),
                auth: blob.auth.clone(),
                strip_components: blob.strip_components,
            });
            config.sub_path.clone_from(&blob.sub_path);
        } else if let Some(registry) = &self.registry {
            config.registry = Some(RegistrySource {
                image: registry.image.clone(),
                image_pull_secrets: registry.image_pull_secrets.clone(),
            });
            config.sub_path.clone_from(&registry.sub_path);
        }
        config
    }
}

/// A git commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedGit {
    /// URL of the repository.
    pub url: String,
    /// The commit, or the text that was asked for when it could not be resolved.
    pub revision: String,
    /// The directory of the app.
    #[serde(skip_serializing_if = "is_default")]
    pub sub_path: String,
    /// Id of the tree of the app's directory, when known.
    #[serde(skip_serializing_if = "is_default")]
    pub tree: String,
    /// `Branch`, `Tag`, `Commit` or `Unknown`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether submodules are checked out too.
    #[serde(skip_serializing_if = "is_default")]
    pub initialize_submodules: bool,
}

/// An archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedBlob {
    /// URL of the archive.
    pub url: String,
    /// Empty, `helper` or `secret`.
    #[serde(skip_serializing_if = "is_default")]
    pub auth: String,
    /// The directory of the app.
    #[serde(skip_serializing_if = "is_default")]
    pub sub_path: String,
    /// Leading directories to remove from names in the archive.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_components: i64,
}

/// A source image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolvedRegistry {
    /// Reference of the image.
    pub image: String,
    /// The directory of the app.
    #[serde(skip_serializing_if = "is_default")]
    pub sub_path: String,
    /// Secrets to pull it with.
    #[serde(skip_serializing_if = "is_default")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}

//! [`SourceFetcher`]: sources, looked at where they are.

use rebuild_policy::{ResolvedBlob, ResolvedGit, ResolvedRegistry, ResolvedSource, SourceConfig};
use registry_client::Http;
use source_fetch::{Access, GitKeychain, GitSource, resolve_git};

use super::{Account, SourceError, SourceReader};

/// Resolves git revisions by asking the server; archives and images are taken as they are named.
#[derive(Clone)]
pub struct SourceFetcher {
    http: Http,
}

impl SourceFetcher {
    /// Makes a reader that sends its requests with `http`.
    pub fn new(http: Http) -> Self {
        Self { http }
    }
}

impl std::fmt::Debug for SourceFetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceFetcher")
    }
}

impl SourceReader for SourceFetcher {
    fn resolve(&self, source: &SourceConfig, account: &Account) -> Result<ResolvedSource, SourceError> {
        let sub_path = source.sub_path.clone();
        if let Some(git) = &source.git {
            let wanted = GitSource::new(&git.url, &git.revision).with_sub_path(&sub_path);
            let access = Access {
                git: GitKeychain::from_secrets(&account.secrets),
                ..Access::new(self.http.clone())
            };
            let (revision, kind) = match resolve_git(&wanted, &access) {
                Ok(found) => (found.revision, found.kind.as_str()),
                Err(error) => {
                    let url = git.url.as_str();
                    tracing::warn!(url, error = error_chain(&error), "cannot look at a git repository");
                    (git.revision.clone(), "Unknown")
                }
            };
            return Ok(ResolvedSource {
                git: Some(ResolvedGit {
                    url: git.url.clone(),
                    revision,
                    sub_path,
                    kind: kind.to_owned(),
                    initialize_submodules: git.initialize_submodules,
                    ..ResolvedGit::default()
                }),
                ..ResolvedSource::default()
            });
        }
        if let Some(blob) = &source.blob {
            return Ok(ResolvedSource {
                blob: Some(ResolvedBlob {
                    url: blob.url.clone(),
                    auth: blob.auth.clone(),
                    sub_path,
                    // The reference forgets it here, so that Images cannot use it.
                    strip_components: blob.strip_components,
                }),
                ..ResolvedSource::default()
            });
        }
        let registry = source
            .registry
            .as_ref()
            .ok_or_else(|| SourceError::new("invalid source type"))?;
        Ok(ResolvedSource {
            registry: Some(ResolvedRegistry {
                image: registry.image.clone(),
                sub_path,
                image_pull_secrets: registry.image_pull_secrets.clone(),
            }),
            ..ResolvedSource::default()
        })
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

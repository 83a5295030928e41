//! [`SourceFetcher`]: sources, looked at where they are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rebuild_policy::{ResolvedBlob, ResolvedGit, ResolvedRegistry, ResolvedSource, SourceConfig};
use registry_client::Http;
use source_fetch::{Access, GitKeychain, GitSource, Limits, PathFilter, ResolveError, Resolver, Ssh, resolve_git};

use super::{Account, SourceError, SourceReader};

/// How long one look at a source may take: the other images wait for it meanwhile.
const TIME: Duration = Duration::from_secs(600);

/// Resolves git revisions by asking the server, which is listed once a period for all images of a repository; archives
/// and images are taken as they are named.
#[derive(Clone)]
pub struct SourceFetcher {
    http: Http,
    ssh: Option<Ssh>,
    resolver: Arc<Resolver>,
    trees: bool,
}

impl SourceFetcher {
    /// Makes a reader that sends its requests with `http`, keeps what it knows of repositories in `mirrors`, and asks
    /// about each at most once a `period`.
    pub fn new(http: Http, mirrors: PathBuf, period: Duration) -> Self {
        Self {
            http,
            ssh: None,
            resolver: Arc::new(Resolver::new(mirrors, period)),
            trees: false,
        }
    }

    /// Reaches git servers by ssh, too.
    #[must_use]
    pub fn with_ssh(mut self, ssh: Ssh) -> Self {
        self.ssh = Some(ssh);
        self
    }

    /// Finds the tree of each sub path, too, so that commits elsewhere can be told apart.
    #[must_use]
    pub fn with_trees(mut self) -> Self {
        self.trees = true;
        self
    }

    fn look(&self, wanted: &GitSource, access: &Access) -> Result<source_fetch::ResolvedGit, ResolveError> {
        let found = if self.trees || !wanted.paths().is_everything() {
            self.resolver.resolve(wanted, access, Instant::now())
        } else {
            let whole = GitSource::new(wanted.url(), wanted.revision());
            self.resolver.resolve(&whole, access, Instant::now())
        };
        // What failed for all images of the repository fails for this one.
        found.or_else(|error| {
            if matches!(error, ResolveError::Url(_) | ResolveError::Shared(_)) {
                return Err(error);
            }
            // A repository that is too large to look into can be built all the same.
            let url = access_url(wanted);
            tracing::warn!(url, error = error_chain(&error), "cannot find the tree of a sub path");
            resolve_git(wanted, access)
        })
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
            let paths = PathFilter::new(&git.paths.include, &git.paths.exclude);
            let paths = paths.map_err(|error| SourceError::new(error.to_string()))?;
            let wanted = GitSource::new(&git.url, &git.revision)
                .with_sub_path(&sub_path)
                .with_paths(paths);
            let access = Access {
                git: GitKeychain::from_secrets(&account.secrets),
                ssh: self.ssh.clone(),
                limits: Limits {
                    time: TIME.into(),
                    ..Limits::default()
                },
                ..Access::new(self.http.clone())
            };
            let found = self.look(&wanted, &access).unwrap_or_else(|error| {
                let url = access_url(&wanted);
                tracing::warn!(url, error = error_chain(&error), "cannot look at a git repository");
                source_fetch::ResolvedGit::unasked(&wanted)
            });
            return Ok(ResolvedSource {
                git: Some(ResolvedGit {
                    url: git.url.clone(),
                    revision: found.revision,
                    tree: found.tree.unwrap_or_default(),
                    sub_path,
                    kind: found.kind.as_str().to_owned(),
                    initialize_submodules: git.initialize_submodules,
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

/// The url for logs: without a password.
fn access_url(source: &GitSource) -> String {
    let url = source.url().parse::<source_fetch::GitUrl>();
    url.map_or_else(|_| "a url that can't be read".to_owned(), |url| url.as_given())
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

//! Who we are at a git server.

use std::fmt;

use registry_auth::{KubernetesSecret, Secret};

use super::url::{GitScheme, GitUrl};

/// A credential for a git server. `Debug` masks what is secret.
#[derive(Clone)]
#[non_exhaustive]
pub enum GitCredential {
    /// For http and https.
    Basic {
        /// The user.
        user: String,
        /// The password or token.
        password: Secret,
    },
    /// For ssh; the user is `git` unless the url names another.
    SshKey {
        /// The private key, in a form that the `ssh` program reads.
        private_key: Secret,
        /// Lines of a known_hosts file; empty means that none were given.
        known_hosts: String,
    },
}

impl fmt::Debug for GitCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user}:***)"),
            Self::SshKey { .. } => f.write_str("SshKey(***)"),
        }
    }
}

/// The git credentials of a service account.
///
/// # Examples
/// ```
/// use registry_auth::KubernetesSecret;
/// use source_fetch::GitKeychain;
///
/// let secret = KubernetesSecret::new("git-creds", "kubernetes.io/basic-auth")
///     .with_annotation("kpack.io/git", "https://git.example.com")
///     .with_data("username", "dev")
///     .with_data("password", "secret");
/// let keychain = GitKeychain::from_secrets([&secret]);
/// assert!(keychain.find(&"https://git.example.com/team/app".parse()?).is_some());
/// assert!(keychain.find(&"https://elsewhere.example.com/team/app".parse()?).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Specification
/// kpack 0.17.2, "Git credentials" (kpack.md §5.2): the annotation is the host, alone or behind `https://`, `http://`
/// or `git@`; of several matches the alphabetically first secret wins; the type of the secret, not the annotation,
/// says for which schemes it is.
#[derive(Clone, Debug, Default)]
pub struct GitKeychain(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    secret: String,
    host: String,
    credential: GitCredential,
}

const ANNOTATION: &str = "kpack.io/git";

impl GitKeychain {
    /// Takes the git credentials among `secrets`; others are passed over.
    pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a KubernetesSecret>) -> Self {
        let mut entries: Vec<_> = secrets.into_iter().filter_map(entry).collect();
        entries.sort_by(|a, b| a.secret.cmp(&b.secret));
        Self(entries)
    }

    /// Returns the credential for `url`, and the name of the secret that holds it.
    pub fn find(&self, url: &GitUrl) -> Option<(&str, &GitCredential)> {
        let host = url.host();
        let fits = |entry: &&Entry| match (&entry.credential, url.scheme()) {
            (GitCredential::Basic { .. }, GitScheme::Http | GitScheme::Https)
            | (GitCredential::SshKey { .. }, GitScheme::Ssh) => {
                let annotation = entry.host.as_str();
                ["https://", "http://", "git@", ""]
                    .iter()
                    .any(|prefix| annotation.strip_prefix(prefix) == Some(&host))
            }
            _ => false,
        };
        self.0
            .iter()
            .find(fits)
            .map(|entry| (entry.secret.as_str(), &entry.credential))
    }
}

fn entry(secret: &KubernetesSecret) -> Option<Entry> {
    let text = |key: &str| {
        secret
            .data
            .get(key)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let credential = match secret.kind.as_str() {
        "kubernetes.io/basic-auth" => GitCredential::Basic {
            user: text("username").unwrap_or_default(),
            password: text("password").unwrap_or_default().into(),
        },
        "kubernetes.io/ssh-auth" => GitCredential::SshKey {
            private_key: text("ssh-privatekey")?.into(),
            known_hosts: text("known_hosts").unwrap_or_default(),
        },
        _ => return None,
    };
    Some(Entry {
        secret: secret.name.clone(),
        host: secret.annotations.get(ANNOTATION)?.clone(),
        credential,
    })
}

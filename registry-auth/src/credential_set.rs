//! kpack's own sets of registry credentials, and which registry each key serves.

use std::{collections::BTreeMap, fmt, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    credential::{Credential, CredentialKind},
    docker_auth::{EntryProblem, decode_kpack_entry},
    docker_config::DOCKER_HUB_KEY,
    go_json::{GoValue, go_text, object},
    go_url::GoUrl,
    host::DOCKER_HUB,
    keychain::{Keychain, KeychainError},
    repository::Repository,
    secret::Secret,
    secret::without_user,
};

/// Credentials by key, as kpack keeps them: the `auths` of a docker configuration, matched more strictly.
///
/// A key serves a registry `R` if it is one of `R`, `https://R`, `http://R` and the latter two with `/v1/` or `/v2/`
/// behind; for Docker Hub only `https://index.docker.io/v1/` does. No paths, no wildcards. Where several keys of
/// one set serve the same registry, which kpack decides by chance, the alphabetically first does.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CredentialSet {
    entries: BTreeMap<String, Credential>,
}

impl CredentialSet {
    /// Makes a set of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a `.dockercfg`: an object from key to entry.
    ///
    /// # Errors
    /// When it is not that, or an entry's `auth` can't be decoded.
    pub fn from_dockercfg(bytes: &[u8]) -> Result<Self, CredentialSetError> {
        let root = object(bytes).map_err(CredentialSetError::Json)?;
        Self::from_entries(root.unwrap_or_default().as_map())
    }

    /// Reads a `.dockerconfigjson`: the entries of its `auths`; everything else in it is ignored.
    ///
    /// # Errors
    /// As [`CredentialSet::from_dockercfg`].
    pub fn from_dockerconfigjson(bytes: &[u8]) -> Result<Self, CredentialSetError> {
        let root = object(bytes).map_err(CredentialSetError::Json)?;
        let root = root.unwrap_or_default();
        Self::from_entries(root.map("auths").ok_or(CredentialSetError::Auths)?)
    }

    fn from_entries(entries: BTreeMap<&str, &GoValue>) -> Result<Self, CredentialSetError> {
        let decode = |(key, entry): (&str, &GoValue)| match decode_kpack_entry(entry) {
            Ok(credential) => Ok((key.to_owned(), credential)),
            Err(source) => Err(CredentialSetError::Entry {
                key: without_user(key),
                source,
            }),
        };
        let entries = entries.into_iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Puts `credential` under `key`, in place of one that is there.
    pub fn replace(&mut self, key: impl Into<String>, credential: Credential) {
        self.entries.insert(key.into(), credential);
    }

    /// Adds the entries of `other` whose registry no entry serves that is here already: the earlier set wins.
    ///
    /// Of several keys of `other` for one registry the alphabetically first is added.
    ///
    /// # Errors
    /// When a key of `other` is not the name of a registry; this set then stays as it was.
    pub fn append(&mut self, other: Self) -> Result<(), CredentialSetError> {
        let mut merged = self.entries.clone();
        for (key, credential) in other.entries {
            let host = host_of(&key).ok_or_else(|| CredentialSetError::Key {
                key: without_user(&key),
            })?;
            if !merged.keys().any(|known| key_serves(known, &host)) {
                merged.insert(key, credential);
            }
        }
        self.entries = merged;
        Ok(())
    }

    /// Returns the credential that serves the registry `host`.
    pub fn find(&self, host: &str) -> Option<&Credential> {
        let mut serving = self.entries.iter().filter(|(key, _)| key_serves(key, host));
        serving.next().map(|(_, credential)| credential)
    }

    /// Returns the keys and credentials, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Credential)> {
        self.entries.iter().map(|(key, credential)| (key.as_str(), credential))
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the docker configuration that later steps of a build read: keys sorted, `auth` computed, a line end last.
    pub fn to_docker_config(&self) -> Secret {
        let mut entries = String::new();
        for (key, credential) in &self.entries {
            if !entries.is_empty() {
                entries.push(',');
            }
            write!(entries, "{}:{}", go_text(key), entry(credential)).expect("a String takes every write");
        }
        Secret::new(format!("{{\"auths\":{{{entries}}}}}\n"))
    }
}

fn entry(credential: &Credential) -> String {
    let (user, password) = (credential.user(), credential.password().expose());
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let registry = match credential.kind() {
        CredentialKind::Registry(token) => token.expose(),
        _ => "",
    };
    let fields = [
        ("username", user),
        ("password", password),
        ("auth", &auth),
        ("identitytoken", credential.identity().expose()),
        ("registrytoken", registry),
    ];
    let fields = fields.iter().filter(|(_, text)| !text.is_empty());
    let fields: Vec<_> = fields
        .map(|(name, text)| format!("\"{name}\":{}", go_text(text)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// Tells whether credentials kept under `key` serve the registry `host`, by kpack's rule.
pub fn key_serves(key: &str, host: &str) -> bool {
    let host = if host == DOCKER_HUB { DOCKER_HUB_KEY } else { host };
    if key == host {
        return true;
    }
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    bare.and_then(|bare| bare.strip_prefix(host))
        .is_some_and(|rest| matches!(rest, "" | "/v1/" | "/v2/"))
}

/// Finds the host in a key; `None` when the key is no address.
fn host_of(key: &str) -> Option<String> {
    let address = if key.starts_with("https://") || key.starts_with("http://") {
        GoUrl::parse(key)
    } else {
        GoUrl::parse(&format!("//{key}"))
    };
    address.map(|address| address.host)
}

impl Keychain for CredentialSet {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        Ok(self.find(repository.registry().as_str()).cloned())
    }

    fn name(&self) -> String {
        "secrets".to_owned()
    }
}

impl fmt::Debug for CredentialSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.entries).finish()
    }
}

/// Why credentials could not be read or merged. Never holds a secret: of a key, what stands in front of an `@` is left out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialSetError {
    /// It is no JSON object.
    #[error("the credentials are not a JSON object")]
    Json(#[source] serde_json::Error),
    /// `auths` is not an object.
    #[error("auths is not an object")]
    Auths,
    /// An entry can't be decoded.
    #[error("the entry for {key} can't be used: {source}")]
    Entry {
        /// The entry's key.
        key: String,
        /// What is wrong.
        source: EntryProblem,
    },
    /// A key names no registry.
    #[error("{key:?} is not the name of a registry")]
    Key {
        /// The key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_quotes_what_was_read() {
        let texts = [
            r#""s3cr3t-token""#,
            r#"{"auths":{"https://u:s3cr3t-token@r.io":{"auth":"!"}}}"#,
            r#"{"auths":"s3cr3t-token"}"#,
        ];
        for text in texts {
            let error = CredentialSet::from_dockerconfigjson(text.as_bytes()).expect_err("it can't be used");
            let source = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!format!("{error} {source} {error:?}").contains("s3cr3t"), "{error:?}");
        }
    }
}

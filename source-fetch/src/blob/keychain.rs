//! How a download of an archive is authorized.

use base64::Engine as _;
use registry_auth::{KubernetesSecret, Secret};

use super::url::BlobUrl;

/// The blob credentials of a service account, in its order.
///
/// # Specification
/// kpack 0.17.2, "Blob credentials" (kpack.md §5.3): the annotation `kpack.io/blob` is a host name without port; the
/// first secret whose host matches decides, even when it can't be used.
#[derive(Clone, Debug, Default)]
pub struct BlobKeychain(Vec<KubernetesSecret>);

/// Why there is no credential for a download.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobAuthError {
    /// No secret is for the host.
    #[error("no secrets matched for '{host}'")]
    NoMatch {
        /// The host.
        host: String,
    },
    /// The secret holds nothing usable.
    #[error("no auths found for '{secret}'")]
    Empty {
        /// The secret's name.
        secret: String,
    },
    /// The secret holds more than one kind.
    #[error("multiple auths found for '{secret}', only one of username/password, bearer, authorization is allowed")]
    Ambiguous {
        /// The secret's name.
        secret: String,
    },
}

const ANNOTATION: &str = "kpack.io/blob";

impl BlobKeychain {
    /// Takes the secrets that are annotated for a blob host; others are passed over.
    pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a KubernetesSecret>) -> Self {
        let annotated = |secret: &&KubernetesSecret| {
            let host = secret.annotations.get(ANNOTATION);
            host.is_some_and(|host| !host.is_empty())
        };
        Self(secrets.into_iter().filter(annotated).cloned().collect())
    }

    /// Returns whether there is no credential at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of the `Authorization` header for `url`.
    ///
    /// # Errors
    /// As [`BlobAuthError`] says.
    pub fn authorization(&self, url: &BlobUrl) -> Result<Secret, BlobAuthError> {
        let host = url.host_name();
        let found = self
            .0
            .iter()
            .find(|secret| secret.annotations.get(ANNOTATION).is_some_and(|name| name == host));
        header(found.ok_or_else(|| BlobAuthError::NoMatch { host: host.to_owned() })?)
    }
}

fn header(secret: &KubernetesSecret) -> Result<Secret, BlobAuthError> {
    let text = |key: &str| {
        let bytes = secret.data.get(key).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let (user, password) = (text("username"), text("password"));
    let basic = (!user.is_empty() || !password.is_empty()).then(|| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {pair}")
    });
    let bearer = Some(text("bearer")).filter(|token| !token.is_empty());
    let bearer = bearer.map(|token| format!("Bearer {token}"));
    let verbatim = Some(text("authorization")).filter(|value| !value.is_empty());
    let mut kinds = [basic, bearer, verbatim].into_iter().flatten();
    match (kinds.next(), kinds.next()) {
        (Some(value), None) => Ok(value.into()),
        (None, _) => Err(BlobAuthError::Empty {
            secret: secret.name.clone(),
        }),
        (Some(_), Some(_)) => Err(BlobAuthError::Ambiguous {
            secret: secret.name.clone(),
        }),
    }
}

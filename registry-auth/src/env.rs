//! The variable `CNB_REGISTRY_AUTH` as a source of credentials.

use std::{collections::BTreeMap, fmt};

use crate::{
    credential::Credential,
    go_json::{GoValue, go_text, object},
    host::RegistryHost,
    keychain::{Keychain, KeychainError},
    repository::Repository,
    secret::Secret,
};

const NAME: &str = "CNB_REGISTRY_AUTH";

/// The credentials in the text of `CNB_REGISTRY_AUTH`: a JSON object from registry to `Authorization` header.
///
/// Of a key, the scheme and everything from the first `/` are cut; the rest must be the registry. Docker Hub is
/// `index.docker.io`, `docker.io` matches nothing. Headers are `Basic TEXT`, `Bearer TOKEN` and
/// `X-Identity TOKEN`, all behind the one space used as it is.
///
/// # Examples
/// ```
/// use registry_auth::{EnvKeychain, Keychain};
///
/// let keychain = EnvKeychain::parse(r#"{"ghcr.io": "Basic bWU6c2VjcmV0"}"#)?;
/// let found = keychain.find(&"ghcr.io/acme/app".parse()?)?;
/// assert_eq!(found.map(|found| found.to_string()).as_deref(), Some("basic token ****"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Specification
/// Buildpacks platform specification, "Registry Authentication".
#[derive(Clone, Default)]
pub struct EnvKeychain {
    headers: BTreeMap<String, Secret>,
}

impl EnvKeychain {
    /// Reads the variable's text; an empty one is no credentials.
    ///
    /// # Errors
    /// When it is not a JSON object of texts. A header that is not understood is an error only when its registry
    /// is asked for.
    pub fn parse(text: &str) -> Result<Self, KeychainError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let unreadable = |problem: &str| KeychainError::new(NAME, format!("failed to parse {NAME} value: {problem}"));
        let root = object(text.as_bytes()).map_err(|_| unreadable("it is not a JSON object"))?;
        let mut headers = BTreeMap::new();
        for (key, value) in root.unwrap_or_default().as_map() {
            let header = match value {
                GoValue::Null => "",
                GoValue::Text(header) => header,
                _ => return Err(unreadable(&format!("the value of {key:?} is not a text"))),
            };
            headers.insert(host_of(key).to_owned(), Secret::new(header));
        }
        Ok(Self { headers })
    }

    /// Returns the credential for a registry.
    ///
    /// # Errors
    /// When there is a header for it that is not understood.
    pub fn find_for_registry(&self, registry: &RegistryHost) -> Result<Option<Credential>, KeychainError> {
        let Some(header) = self.headers.get(registry.as_str()) else {
            return Ok(None);
        };
        match read_header(header.expose()) {
            Some(credential) => Ok(Some(credential)),
            None => Err(KeychainError::new(
                NAME,
                format!(
                    "parsing auth header: unknown auth type from header (for {registry}; use Basic, Bearer or X-Identity)"
                ),
            )),
        }
    }

    /// Writes the text of `CNB_REGISTRY_AUTH` that holds these credentials; anonymous ones are left out.
    pub fn write<'a>(credentials: impl IntoIterator<Item = (&'a RegistryHost, &'a Credential)>) -> Secret {
        let mut headers = BTreeMap::new();
        for (registry, credential) in credentials {
            if let Some(header) = credential.to_header() {
                headers.insert(registry.as_str(), go_text(header.expose()));
            }
        }
        let fields = headers
            .iter()
            .map(|(registry, header)| format!("{}:{header}", go_text(registry)));
        Secret::new(format!("{{{}}}", fields.collect::<Vec<_>>().join(",")))
    }
}

/// Cuts the scheme and everything from the first `/`.
fn host_of(key: &str) -> &str {
    let key = key
        .strip_prefix("http://")
        .or_else(|| key.strip_prefix("https://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or_default()
}

fn read_header(header: &str) -> Option<Credential> {
    let (scheme, value) = header.split_once(' ')?;
    if value.contains('\n') {
        return None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(Credential::basic_token(value)),
        "bearer" => Some(Credential::registry_token(value)),
        "x-identity" => Some(Credential::identity_token(value)),
        _ => None,
    }
}

impl Keychain for EnvKeychain {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        self.find_for_registry(repository.registry())
    }

    fn name(&self) -> String {
        format!("variable {NAME}")
    }
}

impl fmt::Debug for EnvKeychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.headers.keys().collect();
        write!(f, "EnvKeychain({hosts:?})")
    }
}

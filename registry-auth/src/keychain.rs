//! Where credentials are looked for.

use std::{error::Error, fmt, sync::Arc};

use crate::{credential::Credential, host::RegistryHost, repository::Repository};

/// Finds the credential for a repository.
pub trait Keychain: Send + Sync {
    /// Returns `None` when this keychain knows nothing about `repository`.
    ///
    /// # Errors
    /// When a source that should have answered could not be read or understood.
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError>;

    /// Returns what to call this keychain when an answer is explained, such as `docker config /root/.docker/config.json`.
    fn name(&self) -> String {
        "keychain".to_owned()
    }
}

impl<K: Keychain + ?Sized> Keychain for Arc<K> {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        (**self).find(repository)
    }

    fn name(&self) -> String {
        (**self).name()
    }
}

/// Why a keychain could not answer. Never holds a secret. Copies share their cause.
#[derive(Clone, Debug)]
pub struct KeychainError {
    /// The keychain or source that failed.
    pub keychain: String,
    /// What went wrong, and what to do about it.
    pub problem: String,
    /// The cause, where there is one.
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

impl fmt::Display for KeychainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot get a credential from {}: {}", self.keychain, self.problem)
    }
}

// Not derived: that would give the `Arc` as the cause, which then can't be downcast to what it is.
impl Error for KeychainError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.source.as_deref()?;
        Some(cause)
    }
}

impl KeychainError {
    /// Makes an error without a further cause.
    pub fn new(keychain: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            keychain: keychain.into(),
            problem: problem.into(),
            source: None,
        }
    }
}

/// Knows no credential at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnonymousKeychain;

impl Keychain for AnonymousKeychain {
    fn find(&self, _: &Repository) -> Result<Option<Credential>, KeychainError> {
        Ok(None)
    }

    fn name(&self) -> String {
        "no credentials".to_owned()
    }
}

/// Credentials known beforehand, by registry and, more specific, by repository.
#[derive(Clone, Debug, Default)]
pub struct StaticKeychain {
    registries: Vec<(RegistryHost, Credential)>,
    repositories: Vec<(Repository, Credential)>,
}

impl StaticKeychain {
    /// Makes a keychain that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the credential of a whole registry; a later one replaces an earlier one.
    #[must_use]
    pub fn with(mut self, registry: RegistryHost, credential: Credential) -> Self {
        self.registries.retain(|(known, _)| *known != registry);
        self.registries.push((registry, credential));
        self
    }

    /// Adds the credential of one repository, which goes before its registry's.
    #[must_use]
    pub fn with_repository(mut self, repository: Repository, credential: Credential) -> Self {
        self.repositories.retain(|(known, _)| *known != repository);
        self.repositories.push((repository, credential));
        self
    }
}

impl Keychain for StaticKeychain {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        let exact = self.repositories.iter().find(|(known, _)| known == repository);
        let exact = exact.map(|(_, credential)| credential);
        let host = || self.registries.iter().find(|(known, _)| known == repository.registry());
        Ok(exact.or_else(|| host().map(|(_, credential)| credential)).cloned())
    }

    fn name(&self) -> String {
        "given credentials".to_owned()
    }
}

/// Asks each keychain in turn; the first that knows a credential wins, and an error stops.
#[derive(Clone, Default)]
pub struct Chain {
    keychains: Vec<Arc<dyn Keychain>>,
}

impl Chain {
    /// Makes a chain that asks `keychains` in this order.
    pub fn new(keychains: Vec<Arc<dyn Keychain>>) -> Self {
        Self { keychains }
    }

    /// Adds a keychain at the end.
    #[must_use]
    pub fn then(mut self, keychain: impl Keychain + 'static) -> Self {
        self.keychains.push(Arc::new(keychain));
        self
    }

    /// Asks every keychain in turn until one answers, and tells what each said.
    ///
    /// # Examples
    /// ```
    /// use registry_auth::{AnonymousKeychain, Chain, Credential, StaticKeychain};
    ///
    /// let chain = Chain::default()
    ///     .then(AnonymousKeychain)
    ///     .then(StaticKeychain::new().with("ghcr.io".parse()?, Credential::basic("me", "secret")));
    /// let steps = chain.explain(&"ghcr.io/acme/app".parse()?);
    /// assert_eq!(steps[0].to_string(), "no credentials: nothing for this repository");
    /// assert_eq!(steps[1].to_string(), "given credentials: user \"me\" with password ****");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, repository: &Repository) -> Vec<Explanation> {
        let mut steps = Vec::new();
        for keychain in &self.keychains {
            let answer = keychain.find(repository);
            let last = !matches!(answer, Ok(None));
            steps.push(Explanation {
                keychain: keychain.name(),
                answer,
            });
            if last {
                break;
            }
        }
        steps
    }
}

impl Keychain for Chain {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        for keychain in &self.keychains {
            if let Some(credential) = keychain.find(repository)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    fn name(&self) -> String {
        let names: Vec<_> = self.keychains.iter().map(Keychain::name).collect();
        names.join(", then ")
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.name())
    }
}

/// What one keychain of a [`Chain`] said.
#[derive(Debug)]
pub struct Explanation {
    /// The keychain's name.
    pub keychain: String,
    /// Its answer.
    pub answer: Result<Option<Credential>, KeychainError>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Ok(None) => write!(f, "{}: nothing for this repository", self.keychain),
            Ok(Some(credential)) => write!(f, "{}: {credential}", self.keychain),
            Err(error) => write!(f, "{}: {}", self.keychain, error.problem),
        }
    }
}

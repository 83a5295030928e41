//! Credentials from the secrets of a Kubernetes service account, as kpack finds them.

use crate::{
    credential::Credential,
    credential_set::{CredentialSet, CredentialSetError},
    host::RegistryHost,
    keychain::{Keychain, KeychainError},
    keyring::PullKeyring,
    kubernetes_secret::{DOCKER_CFG, DOCKER_CONFIG_JSON, KubernetesSecret},
    repository::Repository,
};

/// The registry credentials of a service account and its image pull secrets.
///
/// kpack looks in two ways, on purpose: see [`KubernetesKeychain::for_controller`] and
/// [`KubernetesKeychain::for_pod`].
///
/// # Examples
/// ```
/// use registry_auth::{Keychain, KubernetesKeychain, KubernetesSecret};
///
/// let secret = KubernetesSecret::new("regcreds", "kubernetes.io/basic-auth")
///     .with_annotation("kpack.io/docker", "registry.example.com")
///     .with_data("username", "robot")
///     .with_data("password", "secret");
/// let keychain = KubernetesKeychain::for_controller(&[secret], &[])?;
/// let found = keychain.find(&"registry.example.com/acme/app".parse()?)?.expect("the secret serves that registry");
/// assert_eq!(found.to_string(), "user \"robot\" with password ****");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KubernetesKeychain {
    secrets: CredentialSet,
    pull: PullKeyring,
}

impl KubernetesKeychain {
    /// Finds credentials as kpack's controllers do.
    ///
    /// `account` are the secrets listed under `secrets` of the service account, in that order: the first that serves
    /// a registry wins. `pull` are image pull secrets, explicit ones first: globs and paths count there.
    ///
    /// # Errors
    /// When a secret of a docker type is malformed; which one is named.
    pub fn for_controller(account: &[KubernetesSecret], pull: &[KubernetesSecret]) -> Result<Self, SecretError> {
        let mut secrets = CredentialSet::new();
        for secret in account {
            let found = secret.registry_credentials();
            found
                .and_then(|found| secrets.append(found))
                .map_err(|source| secret_error(secret, source))?;
        }
        // One malformed pull secret fails them all; finding which is worth a second look.
        let pull = PullKeyring::from_secrets(pull).map_err(|source| {
            let bad = pull.iter().find(|secret| PullKeyring::from_secrets([*secret]).is_err());
            SecretError {
                secret: bad.map(|secret| secret.name.clone()).unwrap_or_default(),
                source,
            }
        })?;
        Ok(Self { secrets, pull })
    }

    /// Finds credentials as the steps of a build pod do.
    ///
    /// Annotated basic-auth secrets go first (of two with the same annotation the later), then `dockercfg`, then
    /// `dockerconfigjson` secrets, then `pull` secrets; there are no globs and paths. Without `pull` this is what
    /// the write check uses.
    ///
    /// # Errors
    /// As [`KubernetesKeychain::for_controller`].
    pub fn for_pod(account: &[KubernetesSecret], pull: &[KubernetesSecret]) -> Result<Self, SecretError> {
        let mut secrets = CredentialSet::new();
        for secret in account.iter().filter(|secret| secret.docker_annotation().is_some()) {
            let found = secret
                .registry_credentials()
                .map_err(|source| secret_error(secret, source))?;
            for (key, credential) in found.iter() {
                secrets.replace(key, credential.clone());
            }
        }
        let of_kind = |kind: &'static str| account.iter().filter(move |secret| secret.kind == kind);
        let docker = of_kind(DOCKER_CFG).chain(of_kind(DOCKER_CONFIG_JSON));
        let pull = pull
            .iter()
            .filter(|secret| matches!(secret.kind.as_str(), DOCKER_CFG | DOCKER_CONFIG_JSON));
        for secret in docker.chain(pull) {
            let found = secret.mounted_credentials();
            found
                .and_then(|found| secrets.append(found))
                .map_err(|source| secret_error(secret, source))?;
        }
        Ok(Self {
            secrets,
            pull: PullKeyring::default(),
        })
    }

    /// Adds credentials that a file or volume holds, behind the service account's and before pull secrets.
    ///
    /// # Errors
    /// When a key of `more` is not the name of a registry.
    pub fn with_volume(mut self, more: CredentialSet) -> Result<Self, CredentialSetError> {
        self.secrets.append(more)?;
        Ok(self)
    }

    /// Returns the credentials but those of pull secrets that only globs and paths can match.
    pub fn credentials(&self) -> &CredentialSet {
        &self.secrets
    }

    /// Returns the credential for a registry as a whole.
    pub fn find_for_registry(&self, registry: &RegistryHost) -> Option<Credential> {
        self.look_up(registry, "")
    }

    fn look_up(&self, registry: &RegistryHost, path: &str) -> Option<Credential> {
        let host = registry.as_str();
        let known = |credential: &&Credential| !credential.is_anonymous();
        // An entry without any field is found too, and ends the search.
        let secret = self.secrets.find(host);
        secret.or_else(|| self.pull.find(host, path).filter(known)).cloned()
    }
}

fn secret_error(secret: &KubernetesSecret, source: CredentialSetError) -> SecretError {
    SecretError {
        secret: secret.name.clone(),
        source,
    }
}

impl Keychain for KubernetesKeychain {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        Ok(self.look_up(repository.registry(), repository.path()))
    }

    fn name(&self) -> String {
        "secrets of the service account".to_owned()
    }
}

/// Why the credentials in a Kubernetes secret can't be used. Never holds them.
#[derive(Debug, thiserror::Error)]
#[error("secret {secret:?} holds no usable registry credentials")]
pub struct SecretError {
    /// The secret's name.
    pub secret: String,
    /// What is wrong.
    pub source: CredentialSetError,
}

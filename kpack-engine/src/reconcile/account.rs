//! [`Account`]: a service account and the secrets that it gives.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use registry_auth::{Keychain, KubernetesKeychain, KubernetesSecret, SecretError};
use serde_json::Value;

use crate::{ApiError, Kind, Object, Resources};

/// The secrets of a service account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Namespace of the account.
    pub namespace: String,
    /// Name of the account.
    pub name: String,
    /// Secrets listed under `secrets`, in order; those that do not exist are left out.
    pub secrets: Vec<KubernetesSecret>,
    /// Image pull secrets: explicit ones first, then the account's.
    pub pull_secrets: Vec<KubernetesSecret>,
}

/// Why the credentials of an account could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// An object could not be read.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A secret is malformed.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Account {
    /// Reads an account and its secrets. An account that does not exist has none; an empty name means `default`.
    ///
    /// # Errors
    /// When objects cannot be read.
    pub fn read(
        resources: &dyn Resources,
        namespace: &str,
        name: &str,
        pull_secrets: &[String],
    ) -> Result<Self, ApiError> {
        let name = if name.is_empty() { "default" } else { name };
        let mut account = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        };
        if namespace.is_empty() {
            return Ok(account);
        }
        let object = resources.get(Kind::ServiceAccount, Some(namespace), name)?;
        let listed = |field: &str| names(object.as_ref(), field);
        let read = |names: Vec<String>| -> Result<Vec<KubernetesSecret>, ApiError> {
            let mut secrets = Vec::new();
            for name in names {
                let secret = resources.get(Kind::Secret, Some(namespace), &name)?;
                secrets.extend(secret.map(|secret| kubernetes_secret(&secret)));
            }
            Ok(secrets)
        };
        account.secrets = read(listed("secrets"))?;
        account.pull_secrets = read(pull_secrets.iter().cloned().chain(listed("imagePullSecrets")).collect())?;
        Ok(account)
    }

    /// Returns the registry credentials, as kpack's controllers find them.
    ///
    /// # Errors
    /// When a secret is malformed.
    pub fn keychain(&self) -> Result<Arc<dyn Keychain>, SecretError> {
        Ok(Arc::new(KubernetesKeychain::for_controller(
            &self.secrets,
            &self.pull_secrets,
        )?))
    }
}

/// Reads the registry credentials of an account.
///
/// # Errors
/// When objects cannot be read or a secret is malformed.
pub fn account_keychain(
    resources: &dyn Resources,
    namespace: &str,
    name: &str,
) -> Result<Arc<dyn Keychain>, AccountError> {
    Ok(Account::read(resources, namespace, name, &[])?.keychain()?)
}

fn names(object: Option<&Object>, field: &str) -> Vec<String> {
    let list = object
        .and_then(|object| object.pointer(&format!("/{field}")))
        .and_then(Value::as_array);
    let names = list
        .into_iter()
        .flatten()
        .filter_map(|reference| reference["name"].as_str());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Reads a Secret object as plain values. Data that is not base64 counts as empty, as nothing can be made of it.
pub(crate) fn kubernetes_secret(object: &Object) -> KubernetesSecret {
    let mut secret = KubernetesSecret::new(object.name(), object.text("/type").unwrap_or("Opaque"));
    for (name, value) in object.annotations() {
        secret = secret.with_annotation(name, value);
    }
    let data = object.pointer("/data").and_then(Value::as_object);
    for (key, value) in data.into_iter().flatten() {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
        secret = secret.with_data(key, bytes);
    }
    let text = object.pointer("/stringData").and_then(Value::as_object);
    for (key, value) in text.into_iter().flatten() {
        secret = secret.with_data(key, value.as_str().unwrap_or_default());
    }
    secret
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use registry_auth::Repository;
    use serde_json::json;

    use super::*;
    use crate::store::{Store, StoreOptions};

    /// A namespace whose `default` account has a secret for `r.test`.
    fn store(dir: &std::path::Path) -> Store {
        let store = Store::open(StoreOptions {
            dir: dir.to_owned(),
            clock: Arc::new(Timestamp::now),
        });
        let store = store.unwrap();
        store.create(Object::new(Kind::Namespace, None, "team")).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": "push", "namespace": "team", "annotations": {"kpack.io/docker": "r.test"}},
            "stringData": {"username": "robot", "password": "word"},
        });
        store.create(Object::from_value(secret).unwrap()).unwrap();
        // A namespace has that account from its beginning.
        let account = store.get(Kind::ServiceAccount, Some("team"), "default").unwrap();
        let mut account = account.unwrap();
        account.set("secrets", json!([{"name": "push"}, {"name": "missing"}]));
        store.update(account).unwrap();
        store
    }

    fn user(store: &Store, namespace: &str, name: &str) -> Option<String> {
        let repository: Repository = "r.test/team/app".parse().unwrap();
        let found = account_keychain(store, namespace, name).unwrap().find(&repository);
        found.unwrap().map(|credential| credential.user().to_owned())
    }

    // row 10.4/A14
    #[test]
    fn without_a_name_the_default_account_serves() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert_eq!(user(&store, "team", "").as_deref(), Some("robot"));
        assert_eq!(user(&store, "team", "other"), None);
    }

    // row 10.4/A15
    #[test]
    fn without_a_namespace_no_account_serves() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert_eq!(user(&store, "", "default"), None);
    }
}

//! A Kubernetes Secret, as plain values.

use std::{collections::BTreeMap, fmt};

use crate::{
    credential::Credential,
    credential_set::{CredentialSet, CredentialSetError},
};

/// The annotation that names the registry of a `kubernetes.io/basic-auth` secret.
pub const DOCKER_ANNOTATION: &str = "kpack.io/docker";
pub(crate) const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
pub(crate) const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
pub(crate) const DOCKER_CFG: &str = "kubernetes.io/dockercfg";

/// A Kubernetes Secret: its name, type, annotations and decoded data. `Debug` shows the data's keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KubernetesSecret {
    /// The object's name.
    pub name: String,
    /// The type, such as `kubernetes.io/basic-auth`.
    pub kind: String,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
    /// The data, no longer in base64.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl KubernetesSecret {
    /// Makes a secret without annotations and data.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// Adds an annotation.
    #[must_use]
    pub fn with_annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Adds an item of data.
    #[must_use]
    pub fn with_data(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }

    /// Returns the registry that the annotation names, when this is a basic-auth secret that has one.
    pub fn docker_annotation(&self) -> Option<&str> {
        let annotation = self
            .annotations
            .get(DOCKER_ANNOTATION)
            .filter(|value| !value.is_empty());
        annotation.filter(|_| self.kind == BASIC_AUTH).map(String::as_str)
    }

    /// Returns the registry credentials in this secret; those of another kind have none.
    ///
    /// # Errors
    /// When a docker configuration in it is malformed or missing.
    pub fn registry_credentials(&self) -> Result<CredentialSet, CredentialSetError> {
        match self.kind.as_str() {
            DOCKER_CONFIG_JSON => CredentialSet::from_dockerconfigjson(self.bytes(".dockerconfigjson")),
            DOCKER_CFG => CredentialSet::from_dockercfg(self.bytes(".dockercfg")),
            _ => {
                let mut set = CredentialSet::new();
                if let Some(registry) = self.docker_annotation() {
                    set.replace(
                        registry,
                        Credential::basic(self.text("username"), self.text("password")),
                    );
                }
                Ok(set)
            }
        }
    }

    /// Returns the credentials in the docker configurations that a pod finds where the secret is mounted: both kinds,
    /// and none where there is no such file.
    pub(crate) fn mounted_credentials(&self) -> Result<CredentialSet, CredentialSetError> {
        let mut set = match self.data.get(".dockercfg") {
            Some(data) => CredentialSet::from_dockercfg(data)?,
            None => CredentialSet::new(),
        };
        if let Some(data) = self.data.get(".dockerconfigjson") {
            set.append(CredentialSet::from_dockerconfigjson(data)?)?;
        }
        Ok(set)
    }

    pub(crate) fn bytes(&self, key: &str) -> &[u8] {
        self.data.get(key).map_or(&[], Vec::as_slice)
    }

    fn text(&self, key: &str) -> String {
        String::from_utf8_lossy(self.bytes(key)).into_owned()
    }
}

impl fmt::Debug for KubernetesSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.data.keys().collect();
        f.debug_struct("KubernetesSecret")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("data", &keys)
            .finish_non_exhaustive()
    }
}

//! The ConfigMap `kpack/kp-config`: the repository and the service account that kp writes into what it creates.

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAP, Cluster, merge_patch};

const NAMESPACE: &str = "kpack";
const NAME: &str = "kp-config";
const REPOSITORY: &str = "default.repository";
const ACCOUNT: &str = "default.repository.serviceaccount";
const ACCOUNT_NAMESPACE: &str = "default.repository.serviceaccount.namespace";

/// The settings, or why they could not be read; then those that have a default have it.
pub(crate) struct Settings(anyhow::Result<Value>);

impl Settings {
    pub(crate) fn read(cluster: &Cluster) -> Self {
        let map = cluster.find(CONFIG_MAP, NAMESPACE, NAME);
        Self(map.map(|map| map.map_or(Value::Null, |mut map| map["data"].take())))
    }

    fn value(&self, key: &str) -> Option<&str> {
        let data = self.0.as_ref().ok()?;
        let historical = key.replacen("default", "canonical", 1);
        [key, historical.as_str()]
            .into_iter()
            .find_map(|key| data[key].as_str())
            .filter(|text| !text.is_empty())
    }

    pub(crate) fn repository(&self) -> anyhow::Result<&str> {
        if let Err(error) = &self.0 {
            bail!("failed to get default repository: {error:#}");
        }
        let repository = self.value(REPOSITORY).map(|text| text.trim_end_matches('/'));
        repository
            .ok_or_else(|| anyhow!("failed to get default repository: use \"kp config default-repository\" to set"))
    }

    pub(crate) fn account(&self) -> (&str, &str) {
        match self.value(ACCOUNT) {
            Some(name) => (name, self.value(ACCOUNT_NAMESPACE).unwrap_or(NAMESPACE)),
            None => ("default", NAMESPACE),
        }
    }

    /// The `serviceAccountRef` of what kp creates.
    pub(crate) fn account_reference(&self) -> Value {
        let (name, namespace) = self.account();
        json!({"name": name, "namespace": namespace})
    }
}

pub(crate) fn set_repository(cluster: &Cluster, repository: &str) -> anyhow::Result<()> {
    set(cluster, &[(REPOSITORY, repository)])
}

pub(crate) fn set_account(cluster: &Cluster, name: &str, namespace: &str) -> anyhow::Result<()> {
    set(cluster, &[(ACCOUNT, name), (ACCOUNT_NAMESPACE, namespace)])
}

fn set(cluster: &Cluster, pairs: &[(&str, &str)]) -> anyhow::Result<()> {
    let existing = cluster.find(CONFIG_MAP, NAMESPACE, NAME)?;
    let mut map = existing.clone().unwrap_or_else(
        || json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}}),
    );
    for (key, value) in pairs {
        // Older clients read the historical key only.
        map["data"][key.replacen("default", "canonical", 1)] = json!(value);
        map["data"][*key] = json!(value);
    }
    match existing {
        None => cluster.create(CONFIG_MAP, NAMESPACE, &map).map(drop),
        Some(before) => cluster
            .patch(CONFIG_MAP, NAMESPACE, NAME, &merge_patch(&before, &map))
            .map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_not_called_unset() {
        let settings = Settings(Err(anyhow!("cannot reach the API server")));
        let error = settings.repository().expect_err("nothing was read").to_string();
        assert_eq!(error, "failed to get default repository: cannot reach the API server");
        assert_eq!(settings.account(), ("default", NAMESPACE));
        let error = Settings(Ok(Value::Null)).repository().expect_err("nothing is set");
        assert!(
            error.to_string().contains("use \"kp config default-repository\""),
            "{error}"
        );
    }
}

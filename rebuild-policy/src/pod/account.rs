//! The secrets of a build's service account, and how the helper programs are told of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::resource::BuildSpec;

const SECRETS_DIR: &str = "/var/build-secrets";
const GIT: &str = "kpack.io/git";
const BLOB: &str = "kpack.io/blob";
const DOCKER: &str = "kpack.io/docker";

/// A secret, without its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSecret {
    /// Its name.
    pub name: String,
    /// Its type, such as `kubernetes.io/basic-auth`.
    pub kind: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it holds a non-empty `cosign.key`.
    pub has_cosign_key: bool,
}

/// The secrets that a service account gives to its builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildAccount {
    /// `secrets`, each once, in order.
    pub secrets: Vec<PodSecret>,
    /// `imagePullSecrets` that are not in `secrets`.
    pub image_pull_secrets: Vec<String>,
}

impl PodSecret {
    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn is_docker(&self) -> bool {
        self.annotation(DOCKER).is_some()
            || ["kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"].contains(&self.kind.as_str())
    }

    /// The argument that tells a helper program of the secret; `None` when it cannot use it.
    fn argument(&self) -> Option<String> {
        let name = &self.name;
        match self.kind.as_str() {
            "kubernetes.io/basic-auth" if self.annotation(DOCKER).is_some() => {
                Some(format!("-basic-docker={name}={}", self.annotation(DOCKER)?))
            }
            "kubernetes.io/dockerconfigjson" => Some(format!("-dockerconfig={name}")),
            "kubernetes.io/dockercfg" => Some(format!("-dockercfg={name}")),
            "kubernetes.io/basic-auth" if self.annotation(GIT).is_some() => {
                Some(format!("-basic-git={name}={}", self.annotation(GIT)?))
            }
            "kubernetes.io/ssh-auth" => Some(format!("-ssh-git={name}={}", self.annotation(GIT).unwrap_or_default())),
            _ => self.annotation(BLOB).map(|target| format!("-blob={name}={target}")),
        }
    }
}

/// Secrets as a pod uses them: volumes, mounts and arguments.
#[derive(Default)]
pub(super) struct SecretUse {
    pub(super) volumes: Vec<Value>,
    pub(super) mounts: Vec<Value>,
    pub(super) arguments: Vec<String>,
}

/// The secrets that a full build uses.
pub(super) fn all(account: &BuildAccount, spec: &BuildSpec) -> SecretUse {
    let blob_secrets = spec.source.blob.as_ref().is_some_and(|blob| blob.auth == "secret");
    select(account, |secret| {
        secret.annotation(GIT).is_some() || (blob_secrets && secret.annotation(BLOB).is_some()) || secret.is_docker()
    })
}

/// The secrets that a rebase uses.
pub(super) fn registries_only(account: &BuildAccount) -> SecretUse {
    select(account, PodSecret::is_docker)
}

/// The secrets to sign with; mounted beneath a folder of their own.
pub(super) fn signing(account: &BuildAccount) -> SecretUse {
    let mut used = SecretUse::default();
    for (index, secret) in account
        .secrets
        .iter()
        .enumerate()
        .filter(|(_, secret)| secret.has_cosign_key)
    {
        let volume = format!("secret-volume-{index}");
        used.volumes.push(secret_volume(&volume, &secret.name));
        used.mounts
            .push(json!({"name": volume, "mountPath": format!("{SECRETS_DIR}/cosign/{}", secret.name)}));
        let mut argument = |flag: &str, annotation: &str| {
            if let Some(value) = secret.annotation(annotation) {
                used.arguments.push(format!("-{flag}={}={value}", secret.name));
            }
        };
        argument("cosign-repositories", "kpack.io/cosign.repository");
        argument("cosign-docker-media-types", "kpack.io/cosign.docker-media-types");
    }
    used
}

/// The secrets to pull images with.
pub(super) fn pulling(account: &BuildAccount, spec: &BuildSpec) -> SecretUse {
    let mut names: Vec<&str> = Vec::new();
    let builder = spec
        .builder
        .image_pull_secrets
        .iter()
        .map(|secret| secret.name.as_str());
    for name in account.image_pull_secrets.iter().map(String::as_str).chain(builder) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut used = SecretUse::default();
    for (index, name) in names.into_iter().enumerate() {
        used.add(&format!("pull-secret-volume-{index}"), name);
        used.arguments.push(format!("-imagepull={name}"));
    }
    used
}

fn select(account: &BuildAccount, wanted: impl Fn(&PodSecret) -> bool) -> SecretUse {
    let mut used = SecretUse::default();
    for (index, secret) in account.secrets.iter().enumerate().filter(|(_, secret)| wanted(secret)) {
        // What no helper program can use is not mounted; the volumes after it keep their numbers.
        if let Some(argument) = secret.argument() {
            used.add(&format!("secret-volume-{index}"), &secret.name);
            used.arguments.push(argument);
        }
    }
    used
}

impl SecretUse {
    fn add(&mut self, volume: &str, secret: &str) {
        self.volumes.push(secret_volume(volume, secret));
        self.mounts
            .push(json!({"name": volume, "mountPath": format!("{SECRETS_DIR}/{secret}")}));
    }
}

pub(super) fn secret_volume(name: &str, secret: &str) -> Value {
    json!({"name": name, "secret": {"secretName": secret}})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every recorded list of secrets, as a build, one whose source has a secret, and a rebase use it.
    #[test]
    fn recorded_secrets_become_the_same_arguments_and_volumes() {
        let text = include_str!("../../tests/fixtures/auth/pod-args.json");
        let document: Value = serde_json::from_str(text).expect("JSON");
        let cases = document["cases"].as_array().expect("there are cases");
        let mut failures = Vec::new();
        for case in cases {
            let secrets = case["secrets"].as_array().expect("there are secrets");
            let read = |secret: &Value| {
                let object = json!({"type": secret["type"], "metadata": {"annotations": secret["annotations"]}});
                PodSecret::read(secret["name"].as_str().unwrap_or_default(), &object)
            };
            let account = BuildAccount {
                secrets: secrets.iter().map(read).collect(),
                ..BuildAccount::default()
            };
            let with_secret = json!({"source": {"blob": {"url": "https://b", "auth": "secret"}}});
            let with_secret: BuildSpec = crate::decode(&with_secret).expect("a spec");
            for (key, used) in [
                ("build", all(&account, &BuildSpec::default())),
                ("build_blob_secret", all(&account, &with_secret)),
                ("rebase", registries_only(&account)),
            ] {
                let name = |volume: &Value| {
                    format!(
                        "{}={}",
                        text_of(&volume["name"]),
                        text_of(&volume["secret"]["secretName"])
                    )
                };
                let volumes: Vec<_> = used.volumes.iter().map(name).collect();
                let found = json!({"args": used.arguments, "volumes": volumes});
                if found != case[key] {
                    failures.push(format!("{} {key}: {found}, not {}", case["name"], case[key]));
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert_eq!(cases.len(), 15);
    }

    fn text_of(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
}

//! The secrets that a step finds mounted, as its arguments name them.

use std::{fs, io::Write, path::Path};

use registry_auth::{DOCKER_ANNOTATION, KubernetesKeychain, KubernetesSecret};

use super::{
    Invocation,
    error::{ProgramError, at},
};

/// The mounted secrets, by use.
pub(super) struct Mounted {
    account: Vec<KubernetesSecret>,
    pull: Vec<KubernetesSecret>,
    /// Arguments that name no secret.
    pub(super) rest: Vec<String>,
}

impl Mounted {
    /// Reads the secrets that `-basic-docker=NAME=REGISTRY` and the like name.
    pub(super) fn read(invocation: &Invocation) -> Result<Self, ProgramError> {
        let mut mounted = Self {
            account: Vec::new(),
            pull: Vec::new(),
            rest: Vec::new(),
        };
        for argument in &invocation.args {
            let text = argument.trim_start_matches('-');
            let Some((flag, value)) = text.split_once('=').filter(|_| argument.starts_with('-')) else {
                mounted.rest.push(argument.clone());
                continue;
            };
            let (kind, annotation) = match flag {
                "basic-docker" => ("kubernetes.io/basic-auth", Some(DOCKER_ANNOTATION)),
                "basic-git" => ("kubernetes.io/basic-auth", Some("kpack.io/git")),
                "ssh-git" => ("kubernetes.io/ssh-auth", Some("kpack.io/git")),
                "blob" => ("Opaque", Some("kpack.io/blob")),
                "dockerconfig" | "imagepull" => ("kubernetes.io/dockerconfigjson", None),
                "dockercfg" => ("kubernetes.io/dockercfg", None),
                _ => {
                    mounted.rest.push(argument.clone());
                    continue;
                }
            };
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            if name.contains('/') || value.contains('=') || annotation.is_some() == value.is_empty() {
                return Err(ProgramError::Argument {
                    argument: argument.clone(),
                });
            }
            let mut secret = read_secret(&invocation.places.secrets.join(name), name, kind)?;
            if let Some(annotation) = annotation {
                secret = secret.with_annotation(annotation, value);
            }
            if flag == "imagepull" {
                &mut mounted.pull
            } else {
                &mut mounted.account
            }
            .push(secret);
        }
        Ok(mounted)
    }

    /// The secrets of the service account.
    pub(super) fn account(&self) -> &[KubernetesSecret] {
        &self.account
    }

    /// The credentials for registries, with those of pull secrets or without.
    pub(super) fn keychain(&self, with_pull_secrets: bool) -> Result<KubernetesKeychain, ProgramError> {
        let pull = if with_pull_secrets { self.pull.as_slice() } else { &[] };
        KubernetesKeychain::for_pod(&self.account, pull).map_err(|source| ProgramError::Secret {
            secret: source.secret.clone(),
            source: Box::new(source),
        })
    }

    /// Says which credentials there are, never what they are.
    pub(super) fn describe(&self, places: &Path, out: &mut dyn Write) {
        let _ = writeln!(out, "Loading registry credentials from service account secrets");
        let mut any = false;
        for secret in &self.account {
            if let Some(registry) = secret.docker_annotation() {
                any = true;
                let _ = writeln!(
                    out,
                    "Loading secrets for \"{registry}\" from secret \"{}\"",
                    secret.name
                );
                continue;
            }
            let Ok(credentials) = secret.registry_credentials() else {
                continue;
            };
            for (host, _) in credentials.iter() {
                any = true;
                let location = places.join(&secret.name);
                let (name, location) = (&secret.name, location.display());
                let _ = writeln!(
                    out,
                    "Loading secret for \"{host}\" from secret \"{name}\" at location \"{location}\""
                );
            }
        }
        if !any {
            let _ = writeln!(out, "No registry credentials were loaded from service account secrets");
        }
    }
}

fn read_secret(dir: &Path, name: &str, kind: &str) -> Result<KubernetesSecret, ProgramError> {
    let mut secret = KubernetesSecret::new(name, kind);
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        // Kubernetes keeps the files behind links beside directories of its own.
        if !path.is_file() {
            continue;
        }
        let Some(key) = path.file_name().and_then(|key| key.to_str()) else {
            continue;
        };
        let data = fs::read(&path).map_err(at(&path))?;
        secret = secret.with_data(key, data);
    }
    Ok(secret)
}

//! The secrets that a step finds mounted, as its arguments name them.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::Path;

use registry_auth::{DOCKER_ANNOTATION, KubernetesKeychain, KubernetesSecret};

use super::{
    Invocation,
    error::{ProgramError, at},
};

const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
const SSH_AUTH: &str = "kubernetes.io/ssh-auth";
const DOCKER_CFG: &str = "kubernetes.io/dockercfg";
const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
const GIT_ANNOTATION: &str = "kpack.io/git";
const BLOB_ANNOTATION: &str = "kpack.io/blob";
/// Kubernetes allows secrets of 1 MiB.
const MAX_FILE: u64 = 1 << 20;

/// The mounted secrets, by use.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    account: Vec<KubernetesSecret>,
    pull: Vec<KubernetesSecret>,
    /// Arguments that name no secret.
    pub(super) rest: Vec<String>,
}

impl Mounted {
    /// Reads the secrets that `-basic-docker=NAME=REGISTRY` and the like name.
    ///
    /// A docker secret whose directory is missing counts as empty, as in the reference; others must be there. Registry
    /// credentials are spoken of here if one of them can't be read: those before it, and the one itself.
    pub(super) fn read(invocation: &Invocation, out: &mut dyn Write) -> Result<Self, ProgramError> {
        let mut mounted = Self::default();
        for argument in &invocation.args {
            let text = argument.trim_start_matches('-');
            let flag = text.split_once('=').filter(|_| argument.starts_with('-'));
            let known = flag.and_then(|(flag, value)| Some((Sort::of(flag)?, value)));
            match known {
                Some((sort, value)) => {
                    let read = mounted.read_secret(sort, value, &invocation.places.secrets);
                    if let (Sort::BasicDocker, Err(ProgramError::File { .. }), Some((name, registry))) =
                        (sort, &read, value.split_once('='))
                    {
                        mounted.describe_annotated(DOCKER_ANNOTATION, out);
                        describe(registry, name, out);
                    }
                    read?;
                }
                None => mounted.rest.push(argument.clone()),
            }
        }
        Ok(mounted)
    }

    fn read_secret(&mut self, sort: Sort, value: &str, secrets: &Path) -> Result<(), ProgramError> {
        let (kind, annotation, what) = sort.form();
        let (name, target) = match annotation {
            Some(_) => value.split_once('=').unwrap_or((value, "")),
            None => (value, ""),
        };
        let wrong = name.is_empty() || name.contains(['/', '=']) || name == "..";
        if wrong || target.contains('=') || annotation.is_some() == target.is_empty() {
            return Err(ProgramError::SecretArgument {
                what,
                argument: value.to_owned(),
            });
        }
        let dir = secrets.join(name);
        let mut secret = match read_files(&dir, name, kind) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && annotation.is_none() => {
                KubernetesSecret::new(name, kind)
            }
            read => read.map_err(at(dir))?,
        };
        if let Some(annotation) = annotation {
            secret = secret.with_annotation(annotation, target);
        }
        if secret.data.is_empty() {
            return Ok(());
        }
        match sort {
            Sort::Pull => self.pull.extend(docker_forms(secret)),
            _ => self.account.push(secret),
        }
        Ok(())
    }

    /// The secrets of the service account.
    pub(super) fn account(&self) -> &[KubernetesSecret] {
        &self.account
    }

    /// The credentials for registries, with those of pull secrets or without.
    pub(super) fn keychain(&self, with_pull_secrets: bool) -> Result<KubernetesKeychain, ProgramError> {
        let pull = if with_pull_secrets { self.pull.as_slice() } else { &[] };
        for_pod(&self.account, pull)
    }

    /// Says which registry credentials there are, never what they are, and returns whether there are any.
    pub(super) fn describe_registries(&self, secrets: &Path, out: &mut dyn Write) -> bool {
        let mut any = false;
        for secret in &self.account {
            if let Some(registry) = secret.docker_annotation() {
                any = true;
                describe(registry, &secret.name, out);
            }
        }
        for kind in [DOCKER_CFG, DOCKER_CONFIG_JSON] {
            for secret in self.account.iter().filter(|secret| secret.kind == kind) {
                // What cannot be read ends the step where it is used.
                for (host, _) in secret.registry_credentials().unwrap_or_default().iter() {
                    any = true;
                    let location = secrets.join(&secret.name);
                    let (name, location) = (&secret.name, location.display());
                    let _ = writeln!(
                        out,
                        "Loading secret for \"{host}\" from secret \"{name}\" at location \"{location}\""
                    );
                }
            }
        }
        any
    }

    /// Says which git credentials there are.
    pub(super) fn describe_git(&self, out: &mut dyn Write) {
        self.describe_annotated(GIT_ANNOTATION, out);
    }

    /// Says which credentials for archives there are.
    pub(super) fn describe_blobs(&self, out: &mut dyn Write) {
        self.describe_annotated(BLOB_ANNOTATION, out);
    }

    fn describe_annotated(&self, annotation: &str, out: &mut dyn Write) {
        for secret in &self.account {
            if let Some(target) = secret.annotations.get(annotation) {
                describe(target, &secret.name, out);
            }
        }
    }
}

/// What an argument says a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    BasicDocker,
    DockerCfg,
    DockerConfig,
    BasicGit,
    SshGit,
    Blob,
    Pull,
}

impl Sort {
    fn of(flag: &str) -> Option<Self> {
        Some(match flag {
            "basic-docker" => Self::BasicDocker,
            "dockercfg" => Self::DockerCfg,
            "dockerconfig" => Self::DockerConfig,
            "basic-git" => Self::BasicGit,
            "ssh-git" => Self::SshGit,
            "blob" => Self::Blob,
            "imagepull" => Self::Pull,
            _ => return None,
        })
    }

    /// Type of the secret, the annotation that the argument stands for, and a word for messages.
    fn form(self) -> (&'static str, Option<&'static str>, &'static str) {
        match self {
            Self::BasicDocker => (BASIC_AUTH, Some(DOCKER_ANNOTATION), "docker"),
            Self::DockerCfg => (DOCKER_CFG, None, "docker"),
            Self::DockerConfig | Self::Pull => (DOCKER_CONFIG_JSON, None, "docker"),
            Self::BasicGit => (BASIC_AUTH, Some(GIT_ANNOTATION), "git"),
            Self::SshGit => (SSH_AUTH, Some(GIT_ANNOTATION), "git"),
            Self::Blob => ("Opaque", Some(BLOB_ANNOTATION), "blob"),
        }
    }
}

/// Reads the registry credentials in a directory that is one secret, of either docker type.
pub(super) fn docker_secrets(dir: &Path, name: &str) -> Result<KubernetesKeychain, ProgramError> {
    let secret = match read_files(dir, name, DOCKER_CONFIG_JSON) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KubernetesKeychain::default()),
        read => read.map_err(at(dir))?,
    };
    for_pod(&[], &docker_forms(secret))
}

fn for_pod(account: &[KubernetesSecret], pull: &[KubernetesSecret]) -> Result<KubernetesKeychain, ProgramError> {
    KubernetesKeychain::for_pod(account, pull).map_err(|source| ProgramError::Secret {
        secret: source.secret.clone(),
        source: Box::new(source),
    })
}

/// Splits a mounted secret of unknown docker type into those that its files make it: the older type goes first.
fn docker_forms(secret: KubernetesSecret) -> Vec<KubernetesSecret> {
    let form = |kind: &str, file: &str| {
        let data = secret.data.get(file)?;
        Some(KubernetesSecret::new(&secret.name, kind).with_data(file, data.clone()))
    };
    let forms = [
        form(DOCKER_CFG, ".dockercfg"),
        form(DOCKER_CONFIG_JSON, ".dockerconfigjson"),
    ];
    forms.into_iter().flatten().collect()
}

fn describe(target: &str, secret: &str, out: &mut dyn Write) {
    let _ = writeln!(out, "Loading secrets for \"{target}\" from secret \"{secret}\"");
}

fn read_files(dir: &Path, name: &str, kind: &str) -> io::Result<KubernetesSecret> {
    let mut secret = KubernetesSecret::new(name, kind);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // A kubelet keeps the files behind links, beside directories of its own.
        if !path.is_file() {
            continue;
        }
        let Some(key) = path.file_name().and_then(|key| key.to_str()) else {
            continue;
        };
        let mut data = Vec::new();
        File::open(&path)?.take(MAX_FILE).read_to_end(&mut data)?;
        secret = secret.with_data(key, data);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use registry_auth::Keychain as _;

    use super::*;

    fn user(keychain: &KubernetesKeychain, registry: &str) -> Option<String> {
        let repository = format!("{registry}/team/app").parse().unwrap();
        keychain.find(&repository).unwrap().map(|found| found.user().to_owned())
    }

    // rows 10.4/A10 10.4/A13
    #[test]
    fn both_files_of_a_directory_count_and_none_gives_no_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |user: &str| format!("{{\"username\": \"{user}\", \"password\": \"p\"}}");
        fs::write(
            dir.path().join(".dockercfg"),
            format!("{{\"old.test\": {}}}", entry("old")),
        )
        .unwrap();
        let config = format!("{{\"auths\": {{\"new.test\": {}}}}}", entry("new"));
        fs::write(dir.path().join(".dockerconfigjson"), config).unwrap();
        let keychain = docker_secrets(dir.path(), "both").unwrap();
        assert_eq!(user(&keychain, "old.test").as_deref(), Some("old"));
        assert_eq!(user(&keychain, "new.test").as_deref(), Some("new"));
        assert_eq!(user(&keychain, "other.test"), None);
        let keychain = docker_secrets(&dir.path().join("missing"), "none").unwrap();
        assert_eq!(user(&keychain, "old.test"), None);
    }
}

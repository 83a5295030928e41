//! Which credential, from flags and environment, as a Secret.

use std::{collections::BTreeMap, env};

use anyhow::bail;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::prompt;
use crate::files::read_bytes;

/// The type of registry secrets.
pub(super) const DOCKER: &str = "kubernetes.io/dockerconfigjson";
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Args)]
pub(super) struct Flags {
    /// user id of Docker Hub; the password is asked for, or in DOCKER_PASSWORD
    #[arg(long, default_value = "", hide_default_value = true)]
    dockerhub: String,
    /// a registry
    #[arg(long, default_value = "", hide_default_value = true)]
    registry: String,
    /// user of the registry; the password is asked for, or in REGISTRY_PASSWORD
    #[arg(long, default_value = "", hide_default_value = true)]
    registry_user: String,
    /// file with a service account key of Google's registry; also GCR_SERVICE_ACCOUNT_PATH
    #[arg(long, default_value = "", hide_default_value = true)]
    gcr: String,
    /// git server, without a path
    #[arg(long, default_value = "", hide_default_value = true)]
    git_url: String,
    /// user of the git server; the password is asked for, or in GIT_PASSWORD
    #[arg(long, default_value = "", hide_default_value = true)]
    git_user: String,
    /// file with a private ssh key for the git server; also GIT_SSH_KEY_PATH
    #[arg(long, default_value = "", hide_default_value = true)]
    git_ssh_key: String,
}

/// Makes the Secret that the flags ask for, and says what it is for.
pub(super) fn secret(flags: &Flags, namespace: &str, name: &str) -> anyhow::Result<(Value, String)> {
    let from_env = |name: &str, flag: &str| {
        let value = env::var(name).ok().filter(|value| !value.is_empty());
        value.unwrap_or_else(|| flag.to_owned())
    };
    let gcr = from_env("GCR_SERVICE_ACCOUNT_PATH", &flags.gcr);
    let ssh_key = from_env("GIT_SSH_KEY_PATH", &flags.git_ssh_key);
    check(flags, &gcr, &ssh_key)?;
    let of_type = |kind: &str, data: BTreeMap<&str, Vec<u8>>| {
        let data: BTreeMap<_, _> = data
            .into_iter()
            .map(|(key, value)| (key, STANDARD.encode(value)))
            .collect();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "type": kind, "data": data,
        })
    };
    let registry = |place: &str, user: &str, password: &str| {
        of_type(
            DOCKER,
            BTreeMap::from([(".dockerconfigjson", docker_config(place, user, password).into_bytes())]),
        )
    };
    let git = |mut secret: Value| {
        secret["metadata"]["annotations"] = json!({"kpack.io/git": flags.git_url});
        (secret, flags.git_url.clone())
    };
    if !flags.dockerhub.is_empty() {
        let password = prompt::password("DOCKER_PASSWORD", "dockerhub password: ")?;
        return Ok((registry(DOCKER_HUB, &flags.dockerhub, &password), DOCKER_HUB.to_owned()));
    }
    if !flags.registry.is_empty() {
        let password = prompt::password("REGISTRY_PASSWORD", "registry password: ")?;
        let place = registry_key(&flags.registry);
        return Ok((registry(place, &flags.registry_user, &password), flags.registry.clone()));
    }
    if !gcr.is_empty() {
        let key = String::from_utf8_lossy(&read_bytes(&gcr)?).into_owned();
        return Ok((registry("gcr.io", "_json_key", &key), "gcr.io".to_owned()));
    }
    if !ssh_key.is_empty() {
        let data = BTreeMap::from([("ssh-privatekey", read_bytes(&ssh_key)?)]);
        return Ok(git(of_type("kubernetes.io/ssh-auth", data)));
    }
    let password = prompt::password("GIT_PASSWORD", "git password: ")?;
    let data = BTreeMap::from([
        ("username", flags.git_user.clone().into_bytes()),
        ("password", password.into_bytes()),
    ]);
    Ok(git(of_type("kubernetes.io/basic-auth", data)))
}

fn check(flags: &Flags, gcr: &str, ssh_key: &str) -> anyhow::Result<()> {
    let kinds = [
        ("dockerhub", &*flags.dockerhub),
        ("registry", &flags.registry),
        ("gcr", gcr),
        ("git", &flags.git_url),
    ];
    let Ok([kind]) = <[_; 1]>::try_from(kinds.iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>()) else {
        bail!("secret must be one of dockerhub, gcr, registry, or git");
    };
    let details = [
        ("git-ssh-key", ssh_key),
        ("git-user", &flags.git_user),
        ("registry-user", &flags.registry_user),
    ];
    let given: Vec<_> = details
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| *name)
        .collect();
    let wanted: &[&str] = match kind.0 {
        "registry" => &["registry-user"],
        "git" => &["git-ssh-key", "git-user"],
        _ => &[],
    };
    let has = |name: &str| given.contains(&name);
    match kind.0 {
        "registry" if !has("registry-user") => bail!("missing parameter registry-user"),
        "git" if !has("git-user") && !has("git-ssh-key") => bail!("missing parameter git-user or git-ssh-key"),
        "git" if has("git-user") && has("git-ssh-key") => bail!("must provide one of git-user or git-ssh-key"),
        _ => {}
    }
    let surplus: Vec<_> = given.iter().filter(|name| !wanted.contains(name)).copied().collect();
    if !surplus.is_empty() {
        bail!("extraneous parameters: {}", surplus.join(", "));
    }
    if has("git-user") && !is_web_host(&flags.git_url) {
        bail!("must provide a valid git url without the repository path for basic auth (ex. https://github.com)");
    }
    if has("git-ssh-key") && !is_ssh_host(&flags.git_url) {
        bail!("must provide a valid git url for SSH (ex. git@github.com)");
    }
    Ok(())
}

/// `[http(s)://]host.tld[:port]`.
fn is_web_host(url: &str) -> bool {
    is_host(
        url.strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))
            .unwrap_or(url),
    )
}

/// `[ssh://]user@host.tld[:port]` or `host.tld`.
fn is_ssh_host(url: &str) -> bool {
    let rest = url.strip_prefix("ssh://").unwrap_or(url);
    match rest.split_once('@') {
        Some((user, host)) => is_word(user) && is_host(host),
        None => is_host(url),
    }
}

/// A name with a dot, and a port of three to five digits if any.
fn is_host(text: &str) -> bool {
    let (name, port) = text
        .split_once(':')
        .map_or((text, None), |(name, port)| (name, Some(port)));
    let is_port = |port: &str| (3..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    name.contains('.') && name.split('.').all(is_word) && port.is_none_or(is_port)
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What a docker configuration calls the registry.
fn registry_key(registry: &str) -> &str {
    match registry.split_once('/') {
        None => registry,
        Some(_) if registry.contains("index.docker.io") => DOCKER_HUB,
        Some((host, path)) => match host {
            // With a scheme the host comes after it.
            "http:" | "https:" => path.trim_start_matches('/').split('/').next().unwrap_or(registry),
            host => host,
        },
    }
}

fn docker_config(place: &str, username: &str, password: &str) -> String {
    #[derive(Serialize)]
    struct Entry<'a> {
        username: &'a str,
        password: &'a str,
        auth: String,
    }
    #[derive(Serialize)]
    struct Config<'a> {
        auths: BTreeMap<&'a str, Entry<'a>>,
    }
    let auth = STANDARD.encode(format!("{username}:{password}"));
    let entry = Entry {
        username,
        password,
        auth,
    };
    let config = Config {
        auths: BTreeMap::from([(place, entry)]),
    };
    cnb_order::go_json_of(&config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_server_is_named_without_a_path() {
        for (url, web, ssh) in [
            ("https://git.example", true, false),
            ("git.example", true, true),
            ("https://git.example:8443", true, false),
            ("https://git.example:80", false, false),
            ("https://git.example/", false, false),
            ("https://git.example/a", false, false),
            ("http://localhost", false, false),
            ("git@git.example", false, true),
            ("ssh://git@git.example", false, true),
            ("ssh://git@git.example:2222", false, true),
            ("git@git.example:a/b", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_web_host(url), is_ssh_host(url)), (web, ssh), "{url}");
        }
    }

    #[test]
    fn a_registry_with_a_path_is_reduced_to_its_host() {
        assert_eq!(registry_key("reg.example/team/x"), "reg.example");
        assert_eq!(registry_key("reg.example:5000"), "reg.example:5000");
        assert_eq!(registry_key("https://index.docker.io/v1/"), DOCKER_HUB);
        assert_eq!(registry_key("https://reg.example/v2"), "reg.example");
    }
}

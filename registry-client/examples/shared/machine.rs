//! What this machine knows: credentials, authorities, proxies. Only programs look there, never the libraries.

use std::{env, fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use registry_auth::{Chain, DockerConfig, DockerConfigPlaces, EnvKeychain};
use registry_client::{HelperPrograms, HttpPolicy, ProxyPolicy};

/// Looks for credentials where the lifecycle and docker do; a helper may take `time_limit`.
pub(crate) fn keychain(time_limit: Duration) -> Result<Chain> {
    let mut chain = Chain::default();
    if let Ok(text) = env::var("CNB_REGISTRY_AUTH") {
        chain = chain.then(EnvKeychain::parse(&text).context("CNB_REGISTRY_AUTH can't be used")?);
    }
    let places = DockerConfigPlaces::from_env(|name| env::var_os(name));
    if let Some(path) = places.choose(Path::is_file) {
        chain = chain.then(docker_config(&path, time_limit)?);
    }
    Ok(chain)
}

fn docker_config(path: &Path, time_limit: Duration) -> Result<DockerConfig> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = DockerConfig::from_json(&bytes).with_context(|| format!("{} can't be used", path.display()))?;
    let directories = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let mut programs = HelperPrograms::in_directories(directories).with_environment(env::vars_os());
    programs.time_limit = time_limit;
    let config = config.with_helpers(Arc::new(programs));
    // As in the reference, the variable counts only beside a file.
    Ok(match env::var("DOCKER_AUTH_CONFIG") {
        Ok(text) => config
            .at(format_args!("{} with DOCKER_AUTH_CONFIG", path.display()))
            .with_auth_config(&text),
        Err(_) => config.at(path.display()),
    })
}

/// Trusts what `SSL_CERT_FILE` names, uses the proxies of the environment, and plain http where a host in
/// `PLAIN_HTTP_HOSTS` (separated by commas) wants it.
pub(crate) fn policy() -> HttpPolicy {
    let plain = env::var("PLAIN_HTTP_HOSTS").unwrap_or_default();
    HttpPolicy {
        extra_ca_pems: env::var_os("SSL_CERT_FILE")
            .and_then(|path| fs::read(path).ok())
            .into_iter()
            .collect(),
        proxy: ProxyPolicy::from_env(|name| env::var(name).ok()),
        plain_http_hosts: plain
            .split(',')
            .filter(|host| !host.is_empty())
            .map(str::to_owned)
            .collect(),
        ..HttpPolicy::default()
    }
}

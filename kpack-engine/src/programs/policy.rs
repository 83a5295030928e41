//! How the programs reach servers: proxies, certificates and credentials of the place where they run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use registry_auth::{Chain, DockerConfig, DockerConfigPlaces};
use registry_client::{HttpPolicy, ProxyPolicy};

use super::error::{ProgramError, at};

/// Reads the policy from the variables that every tool knows.
pub(super) fn http_policy(env: &BTreeMap<String, String>) -> HttpPolicy {
    let mut policy = HttpPolicy {
        proxy: ProxyPolicy::from_env(|name| env.get(name).cloned()),
        ..HttpPolicy::default()
    };
    // A bundle that can't be read is missed where a certificate turns out not to be trusted, by name.
    policy
        .extra_ca_pems
        .extend(env.get("SSL_CERT_FILE").and_then(|path| fs::read(path).ok()));
    policy
}

/// Reads the docker configuration of the place where the program runs: a node's own credentials, or those that an
/// earlier step left in the home directory.
///
/// # Deviation
/// The reference has helpers of three clouds built in, too.
pub(super) fn node_credentials(env: &BTreeMap<String, String>) -> Result<Chain, ProgramError> {
    let places = DockerConfigPlaces::from_env(|name| env.get(name).map(Into::into));
    let Some(path) = places.choose(Path::is_file).filter(|path| path.is_file()) else {
        return Ok(Chain::default());
    };
    let json = fs::read(&path).map_err(at(&path))?;
    let config = DockerConfig::from_json(&json).map_err(|source| ProgramError::DockerConfig {
        path: path.clone(),
        source,
    })?;
    Ok(Chain::default().then(config.at(path.display())))
}

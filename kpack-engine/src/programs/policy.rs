//! How the programs reach servers: proxies and the machine's certificates come from the container's environment.

use std::{collections::BTreeMap, fs};

use registry_client::{HttpPolicy, ProxyPolicy};

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

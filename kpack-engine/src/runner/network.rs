//! [`MachineNetwork`]: what containers are given so that they reach the network as their machine does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where the bundle of certificates is, in a container that gets it.
pub(super) const CA_BUNDLE: &str = "/run/kpackd/ca-certificates.crt";
/// How curl, Python, git, node and what uses OpenSSL are told of a bundle of certificates.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
];
/// Where distributions keep the bundle.
pub(super) const CA_PLACES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What containers are given of the machine's network: resolver, hosts, certificates and proxies.
///
/// Files are mounted into each container, never written to its image; the variables are given to each
/// container and, by the platform's env directory, to the buildpacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineNetwork {
    /// The resolver's configuration, mostly `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// Names of hosts, mostly `/etc/hosts`.
    pub hosts: Option<PathBuf>,
    /// Certificates that are trusted, one PEM file.
    pub ca_bundle: Option<PathBuf>,
    /// Proxy variables, such as `HTTPS_PROXY`.
    pub proxies: BTreeMap<String, String>,
}

impl MachineNetwork {
    /// Finds what this machine has; `variable` reads the environment.
    ///
    /// The bundle is that of `SSL_CERT_FILE` if set, else the first at a place where distributions keep it.
    /// Proxies are taken in both spellings.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let file = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_file());
        let named = variable("SSL_CERT_FILE").and_then(|path| file(&path));
        let proxies = PROXY_VARIABLES
            .into_iter()
            .flat_map(|name| [name.to_owned(), name.to_lowercase()])
            .filter_map(|name| Some((name.clone(), variable(&name)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self {
            resolv_conf: file("/etc/resolv.conf"),
            hosts: file("/etc/hosts"),
            ca_bundle: named.or_else(|| CA_PLACES.into_iter().find_map(file)),
            proxies,
        }
    }

    /// Returns the variables that tell programs in a container of proxies and certificates.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.proxies.clone();
        if self.ca_bundle.is_some() {
            variables.extend(CA_VARIABLES.map(|name| (name.to_owned(), CA_BUNDLE.to_owned())));
        }
        variables
    }

    /// Returns the text of the hosts file of a container whose host name is `name`.
    pub(super) fn hosts_text(&self, name: &str) -> io::Result<String> {
        let machine = self.hosts.as_deref().map(std::fs::read_to_string).transpose()?;
        Ok(hosts_text(machine.as_deref(), name))
    }

    /// Returns the bundle, as read at the time.
    pub(super) fn bundle(&self) -> Option<&Path> {
        self.ca_bundle.as_deref()
    }
}

/// Adds `name` to the machine's names; without a machine only the loopback has one.
pub(super) fn hosts_text(machine: Option<&str>, name: &str) -> String {
    let mut text = machine
        .unwrap_or("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
        .to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + "127.0.0.1 " + name + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_taken_in_both_spellings_and_certificates_are_named_to_each_tool() {
        let network = MachineNetwork {
            ca_bundle: Some("/any.pem".into()),
            ..MachineNetwork::detect(|name| (name == "https_proxy").then(|| "http://proxy:3128".to_owned()))
        };
        let variables = network.variables();
        assert_eq!(variables["https_proxy"], "http://proxy:3128");
        assert_eq!(variables["PIP_CERT"], CA_BUNDLE);
        assert_eq!(variables.len(), 1 + CA_VARIABLES.len());
    }

    #[test]
    fn a_container_finds_its_own_name_beside_the_machines_names() {
        assert_eq!(hosts_text(Some("10.0.0.1 git"), "pod"), "10.0.0.1 git\n127.0.0.1 pod\n");
        assert!(hosts_text(None, "pod").starts_with("127.0.0.1 localhost\n"));
    }
}

//! The name of a registry, as it is connected to.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use crate::go_url;

/// The registry that names without one mean: Docker Hub.
pub const DOCKER_HUB: &str = "index.docker.io";

/// Whether a connection is protected by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// Returns `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port that an address without one means.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The host and perhaps port of a registry, such as `registry.example.com:5000`.
///
/// The case of letters is kept. `docker.io` and no text at all become `index.docker.io`. A port is digits, but
/// not checked to be one that exists, as the reference does not either: connecting says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// Returns the text, with `docker.io` already replaced.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns Docker Hub.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.to_owned())
    }

    /// Returns whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// Returns the scheme that the name implies: plain http for private and local names, else https.
    ///
    /// Plain http are `localhost:PORT`, `*.localhost`, `127.0.0.1`, `::1`, and the IPv4 addresses of RFC 1918.
    /// A client still tries https first there.
    ///
    /// # Deviation
    /// kpack's older library also takes every host whose text contains `127.0.0.1` (with any characters for the
    /// dots) or `::1` for local, `1127.0.0.1` too. Here only the exact names are, as in the lifecycle.
    pub fn scheme(&self) -> Scheme {
        if self.is_local() || self.is_rfc1918() {
            Scheme::Http
        } else {
            Scheme::Https
        }
    }

    fn is_local(&self) -> bool {
        if self.0.starts_with("localhost:") {
            return true;
        }
        let name = without_port(&self.0);
        matches!(name, "127.0.0.1" | "::1" | "[::1]") || name.ends_with(".localhost") || self.0 == "::1"
    }

    fn is_rfc1918(&self) -> bool {
        let name = self.0.split(':').next().unwrap_or_default();
        name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_private())
    }
}

/// Cuts `:PORT` of one to five digits.
fn without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((name, port)) if (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()) => {
            // `::1` has no port; `[::1]:5000` has one.
            if name.contains(':') && !name.starts_with('[') {
                text
            } else {
                name
            }
        }
        _ => text,
    }
}

impl FromStr for RegistryHost {
    type Err = InvalidRegistryHost;

    fn from_str(text: &str) -> Result<Self, InvalidRegistryHost> {
        if !is_authority(text) {
            return Err(InvalidRegistryHost { text: text.to_owned() });
        }
        Ok(match text {
            "" | "docker.io" => Self::docker_hub(),
            _ => Self(text.to_owned()),
        })
    }
}

/// Tells whether `text` is what may stand between `//` and the path of an address, without user name.
fn is_authority(text: &str) -> bool {
    go_url::host(text).as_deref() == Some(text)
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`RegistryHost`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("registries must be valid RFC 3986 URI authorities: {text}")]
pub struct InvalidRegistryHost {
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(text: &str) -> Scheme {
        text.parse::<RegistryHost>().expect("a registry").scheme()
    }

    #[test]
    fn private_and_local_names_imply_plain_http() {
        for text in [
            "localhost:5000",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]:5000",
            "10.1.2.3:80",
        ] {
            assert_eq!(scheme(text), Scheme::Http, "{text}");
        }
    }

    #[test]
    fn names_that_only_look_local_imply_https() {
        for text in [
            "localhost",
            "a.local",
            "127.0.0.2",
            "1127.0.0.1",
            "172.32.0.1",
            "169.254.1.1",
            "x.localhost.example",
        ] {
            assert_eq!(scheme(text), Scheme::Https, "{text}");
        }
    }
}

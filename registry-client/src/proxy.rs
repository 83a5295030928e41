//! Which requests go through a proxy.

use std::net::IpAddr;

use registry_auth::{Origin, Scheme};

use crate::policy::ProxyPolicy;

impl ProxyPolicy {
    /// Returns the proxy of requests to `origin`; `None` for what is reached directly.
    pub fn proxy_of(&self, origin: &Origin) -> Option<&str> {
        let proxy = match origin.scheme() {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let proxy = proxy.as_deref()?;
        let direct = is_loopback(origin.host()) || self.no_proxy.iter().any(|entry| matches(entry, origin));
        (!direct).then_some(proxy)
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// Matches as curl and Go do: `*`, a host, a domain with everything below it, a range of addresses, each perhaps
/// with a port.
fn matches(entry: &str, origin: &Origin) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let range = (address(network), bits.parse::<u32>().ok(), address(origin.host()));
        return matches!(range, (Some(network), Some(bits), Some(host)) if in_range(network, bits, host));
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && (!name.contains(':') || name.ends_with(']')) => {
            (name.to_owned(), port.parse::<u16>().ok())
        }
        _ => (entry, None),
    };
    let name = name.trim_start_matches('*').trim_start_matches('.');
    let below = || origin.host().strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    let is_named = match (address(name), address(origin.host())) {
        (Some(name), Some(host)) => name == host,
        _ => !name.is_empty() && (origin.host() == name || below()),
    };
    port.is_none_or(|port| port == origin.port()) && is_named
}

fn in_range(network: IpAddr, bits: u32, host: IpAddr) -> bool {
    match (network, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == host.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(host)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == host.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::{Http, HttpPolicy};

    fn direct(no_proxy: &str, address: &str) -> bool {
        let policy = ProxyPolicy {
            http: Some("http://proxy:3128".to_owned()),
            https: Some("http://proxy:3128".to_owned()),
            no_proxy: no_proxy.split(',').map(str::to_owned).collect(),
        };
        let origin = Origin::of(&address.parse().expect("an address")).expect("an origin");
        policy.proxy_of(&origin).is_none()
    }

    #[test]
    fn an_empty_variable_does_not_hide_the_one_in_other_letters() {
        let environment = [
            ("http_proxy", ""),
            ("HTTP_PROXY", "http://a:1"),
            ("https_proxy", ""),
            ("all_proxy", "http://b:2"),
        ];
        let policy = ProxyPolicy::from_env(|name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(policy.http.as_deref(), Some("http://a:1"));
        assert_eq!(policy.https.as_deref(), Some("http://b:2"));
    }

    #[test]
    fn a_proxy_that_speaks_socks_is_refused_or_passed_over_where_it_is_for_everything() {
        let of = |name: &'static str| {
            let variable = |asked: &str| (asked == name).then(|| "Socks5://me:s3cret@a:1".to_owned());
            let proxy = ProxyPolicy::from_env(variable);
            Http::new(&HttpPolicy {
                proxy,
                ..HttpPolicy::default()
            })
        };
        assert!(of("ALL_PROXY").is_ok());
        let error = of("HTTPS_PROXY").expect_err("it can't be used");
        let cause = error.source().expect("there is a cause").to_string();
        assert_eq!(
            cause,
            "Socks5 proxies are not supported; give one with http:// or https://"
        );
    }

    #[test]
    fn named_hosts_their_subdomains_and_ranges_are_reached_directly() {
        for (no_proxy, address, expected) in [
            ("example.com", "https://example.com/", true),
            ("example.com", "https://reg.example.com/", true),
            (".example.com", "https://reg.example.com/", true),
            ("example.com", "https://badexample.com/", false),
            ("example.com:8443", "https://example.com/", false),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("0.0.0.0/0", "http://11.1.2.3/", true),
            ("fd00::1", "http://[fd00::1]:5000/", true),
            ("[fd00::1]", "http://[fd00::1]:5000/", true),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/", true),
            ("[fd00::1]:5000", "http://[fd00::1]:5001/", false),
            ("fd00::2", "http://[fd00::1]:5000/", false),
            ("fd00::/8", "http://[fd00::1]:5000/", true),
            ("*", "https://anything/", true),
            ("", "https://anything/", false),
            ("", "http://127.0.0.1:5000/", true),
            ("", "http://localhost:5000/", true),
        ] {
            assert_eq!(direct(no_proxy, address), expected, "{no_proxy} {address}");
        }
    }
}

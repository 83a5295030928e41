//! The origin rule: to whom a credential may go.

use std::fmt::{self, Write as _};

use http::Uri;

use crate::{
    domain::{same_registrable_domain, serves_registries_of},
    host::{RegistryHost, Scheme},
    private_address::{ends_in_number, is_private_address},
    secret::without_user,
};

/// Scheme, host and port: what a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an absolute address without user name.
    ///
    /// # Errors
    /// When it is not http or https, or names no host or a user.
    pub fn of(address: &Uri) -> Result<Self, InvalidOrigin> {
        let bad = |problem| InvalidOrigin {
            // Without the query, which may hold a signature.
            address: address
                .to_string()
                .split('?')
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
            problem,
        };
        let scheme = match address.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(bad("its scheme is neither http nor https")),
        };
        let authority = address.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it names a user"));
        }
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, text)) if !text.is_empty() && !text.ends_with(']') => {
                text.parse().map_err(|_| bad("its port is no port"))?
            }
            _ => scheme.default_port(),
        };
        Ok(Self { scheme, host, port })
    }

    /// Returns the origin of `registry` when it is spoken to with `scheme`.
    ///
    /// # Errors
    /// When the registry's name can't be connected to, for example because its port does not exist.
    pub fn of_registry(registry: &RegistryHost, scheme: Scheme) -> Result<Self, InvalidOrigin> {
        let text = format!("{scheme}://{registry}/");
        match text.parse::<Uri>() {
            Ok(address) => Self::of(&address),
            Err(_) => Err(InvalidOrigin {
                address: text,
                problem: "it is not a well-formed address",
            }),
        }
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host in lower case; IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, the scheme's own where none was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether the host is a private, loopback, link-local or otherwise not public address, or written in
    /// a way that might hide one (`0.0.0.0`, `127.1`, `0x7f000001`, IPv4 inside IPv6).
    ///
    /// Names are not resolved: only `localhost` and what ends in it count.
    pub fn is_private(&self) -> bool {
        if self.host == "localhost" || self.host.ends_with(".localhost") {
            return true;
        }
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.split('%').next().unwrap_or_default().parse() {
            Ok(address) => is_private_address(address),
            // What systems would still read as a number for an IPv4 address.
            Err(_) => self.host.starts_with('[') || ends_in_number(bare),
        }
    }

    /// Returns whether both are the same host, or hosts of the same registrable domain (`a.example.com` and
    /// `b.example.com`), by the public suffix list and what it is known to lack; errs on the side of "no".
    pub fn shares_domain(&self, other: &Self) -> bool {
        self.host == other.host || same_registrable_domain(&self.host, &other.host)
    }

    /// Tells whether a token server at `realm` may be asked on behalf of this registry, and with credentials or not.
    ///
    /// # Errors
    /// When it must not be asked at all.
    pub fn check_realm(&self, realm: &str, policy: &RealmPolicy) -> Result<Realm, RealmError> {
        let refused = |reason| RealmError {
            registry: self.to_string(),
            realm: without_user(realm.split(['?', '#']).next().unwrap_or_default())
                .chars()
                .take(200)
                .collect(),
            reason,
        };
        let address: Uri = escaped(realm).parse().map_err(|_| refused(RealmProblem::Malformed))?;
        let origin = Self::of(&address).map_err(|_| refused(RealmProblem::Malformed))?;
        if origin.scheme == Scheme::Http && self.scheme == Scheme::Https {
            return Err(refused(RealmProblem::Downgrade));
        }
        let listed = policy.lists(&origin);
        let same_host = origin.host == self.host;
        if origin.is_private() && !same_host && !listed && !self.is_private() {
            return Err(refused(RealmProblem::Private));
        }
        let related = listed || self.shares_domain(&origin) || serves_registries_of(&origin.host, &self.host);
        Ok(Realm {
            registry: self.to_string(),
            address,
            origin,
            credentials: related,
            chosen_by_registry: !listed && !same_host,
        })
    }
}

/// Escapes what servers write into the path and query of an address though none of it may stand there.
///
/// Nothing in front of the path changes, so that the host stays the one that was written.
fn escaped(address: &str) -> String {
    let host_at = address.find("://").map_or(address.len(), |at| at + 3);
    let path_at = address[host_at..]
        .find(['/', '?', '#'])
        .map_or(address.len(), |at| host_at + at);
    let mut text = address[..path_at].to_owned();
    for byte in address[path_at..].bytes() {
        if byte.is_ascii() && !b" \"<>\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes every write");
        }
    }
    text
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// Which token servers get credentials beyond those of the registry's own domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealmPolicy {
    /// Hosts (`auth.example.com`, or with a port `auth.example.com:8443`) that are trusted with every credential.
    pub trusted: Vec<String>,
}

impl RealmPolicy {
    fn lists(&self, origin: &Origin) -> bool {
        let with_port = format!("{}:{}", origin.host, origin.port);
        self.trusted.iter().any(|host| {
            let host = host.to_ascii_lowercase();
            host == with_port || (host == origin.host && origin.port == origin.scheme.default_port())
        })
    }
}

/// A token server that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    registry: String,
    address: Uri,
    origin: Origin,
    credentials: bool,
    chosen_by_registry: bool,
}

impl Realm {
    /// Returns its address.
    pub fn address(&self) -> &Uri {
        &self.address
    }

    /// Returns its origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the origin of the registry that named it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns whether it is another host, which the registry alone has chosen: then its name must lead into a private
    /// network only if the registry's does.
    pub fn is_chosen_by_registry(&self) -> bool {
        self.chosen_by_registry
    }

    /// Returns whether it may see the registry's credentials; else it may only be asked anonymously.
    pub fn may_see_credentials(&self) -> bool {
        self.credentials
    }
}

/// Why an address has no [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the address {address}: {problem}")]
pub struct InvalidOrigin {
    /// The address without its query.
    pub address: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Why a token server is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{registry} names {realm} as its token server, which is not asked: {reason}")]
pub struct RealmError {
    /// The registry's origin.
    pub registry: String,
    /// The realm, without its query.
    pub realm: String,
    /// The rule that forbids it.
    pub reason: RealmProblem,
}

/// The rule that forbids a token server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RealmProblem {
    /// It is no address of http or https.
    #[error("it is not a well-formed http or https address")]
    Malformed,
    /// The registry speaks https, the token server would not.
    #[error("the registry uses https and it does not")]
    Downgrade,
    /// It is in a private network, the registry is not.
    #[error("it is a private, loopback or link-local address and the registry is not")]
    Private,
    /// There are credentials, and it is in a domain of somebody else.
    #[error("it is in another domain, and the credentials are for the registry only; list it as trusted to allow it")]
    Stranger,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&text.parse().expect("an address")).expect("an origin")
    }

    fn realm(registry: &str, realm: &str) -> Result<bool, RealmProblem> {
        let checked = origin(registry).check_realm(realm, &RealmPolicy::default());
        checked
            .map(|realm| realm.may_see_credentials())
            .map_err(|error| error.reason)
    }

    #[test]
    fn case_default_port_and_final_dot_make_no_other_origin() {
        assert_eq!(
            origin("https://Reg.Example.com./v2/"),
            origin("https://reg.example.com:443/x")
        );
        assert_ne!(origin("https://reg.example.com:80/"), origin("http://reg.example.com/"));
    }

    #[test]
    fn credentials_go_to_realms_of_the_same_owner() {
        assert_eq!(
            realm("https://index.docker.io", "https://auth.docker.io/token"),
            Ok(true)
        );
        assert_eq!(
            realm("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            Ok(true)
        );
        assert_eq!(realm("http://localhost:5000", "http://localhost:5001/token"), Ok(true));
        assert_eq!(realm("https://reg.a.eu.org", "https://auth.a.eu.org/token"), Ok(true));
        assert_eq!(
            realm("https://reg.corp.internal", "https://auth.corp.internal/t"),
            Ok(true)
        );
        assert_eq!(
            realm(
                "https://acme-registry.cn-hangzhou.cr.aliyuncs.com",
                "https://dockerauth-ee.cn-hangzhou.aliyuncs.com/auth"
            ),
            Ok(true),
            "the vendor's own"
        );
        assert_eq!(
            realm(
                "https://reg.ci.svc.cluster.local",
                "https://auth.ci.svc.cluster.local/t"
            ),
            Ok(true),
            "one namespace"
        );
    }

    #[test]
    fn other_hosts_are_chosen_by_the_registry_unless_they_are_listed() {
        let policy = RealmPolicy {
            trusted: vec!["sso.example.com".to_owned()],
        };
        for (realm, chosen) in [
            ("https://auth.example.com/token", true),
            ("https://auth.example.net/token", true),
            ("https://reg.example.com:8443/token", false),
            ("https://sso.example.com/token", false),
        ] {
            let checked = origin("https://reg.example.com").check_realm(realm, &policy);
            assert_eq!(
                checked.map(|realm| realm.is_chosen_by_registry()),
                Ok(chosen),
                "{realm}"
            );
        }
    }

    #[test]
    fn a_stranger_may_only_be_asked_anonymously() {
        for (registry, stranger) in [
            ("https://reg.example.com", "https://auth.example.net/token"),
            ("https://a.azurecr.io", "https://b.azurecr.io/token"),
            ("https://a.azurecr.cn", "https://b.azurecr.cn/token"),
            ("https://a.tencentcloudcr.com", "https://b.tencentcloudcr.com/token"),
            (
                "https://111.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "https://evil.s3.cn-north-1.amazonaws.com.cn/t",
            ),
            (
                "https://acme-registry.cn-hangzhou.cr.aliyuncs.com",
                "https://evil.oss-cn-hangzhou.aliyuncs.com/t",
            ),
            (
                "https://acme-registry.cn-hangzhou.cr.aliyuncs.com",
                "https://dockerauth.evil.oss-cn-hangzhou.aliyuncs.com/t",
            ),
            (
                "https://swr.cn-north-4.myhuaweicloud.com",
                "https://evil.obs.cn-north-4.myhuaweicloud.com/t",
            ),
            (
                "https://a.apps.x.p1.openshiftapps.com",
                "https://a.apps.y.p1.openshiftapps.com/t",
            ),
            ("https://a.up.railway.app", "https://b.up.railway.app/t"),
            ("https://a.koyeb.app", "https://b.koyeb.app/t"),
            ("https://a.synology.me", "https://b.synology.me/t"),
            ("https://a.eu.org", "https://b.eu.org/t"),
            ("https://a.uk.com", "https://b.uk.com/t"),
            ("https://a.pe.kr", "https://b.pe.kr/t"),
            ("https://reg.one.co.uk", "https://auth.two.co.uk/token"),
            ("https://reg.one.me.uk", "https://auth.two.me.uk/token"),
            (
                "https://vm1.eastus.cloudapp.azure.com",
                "https://vm2.eastus.cloudapp.azure.com.evil.net/t",
            ),
            (
                "https://reg.ci.svc.cluster.local",
                "https://auth.prod.svc.cluster.local/t",
            ),
            ("https://one-1.a.run.app", "https://two-2.a.run.app/t"),
            (
                "https://one.blob.core.windows.net",
                "https://two.blob.core.windows.net/t",
            ),
            ("https://one.cloudapp.azure.com", "https://two.cloudapp.azure.com/token"),
            ("https://reg.10.0.0.1.xip.io", "https://auth.8.8.8.8.xip.io/token"),
            ("https://203.0.113.5", "https://203.0.113.6/token"),
            ("https://reg.example.com", "https://reg.example.com.evil.net/token"),
        ] {
            assert_eq!(realm(registry, stranger), Ok(false), "{stranger}");
        }
    }

    #[test]
    fn path_and_query_of_a_realm_are_escaped_and_its_host_is_not() {
        let address = |realm: &str| {
            let checked = origin("https://reg.example.com").check_realm(realm, &RealmPolicy::default());
            checked
                .map(|realm| realm.address().to_string())
                .map_err(|error| error.reason)
        };
        for (realm, expected) in [
            ("https://auth.example.com/to ken", "https://auth.example.com/to%20ken"),
            (
                "https://auth.example.com/a|ö%20",
                "https://auth.example.com/a%7C%C3%B6%20",
            ),
            ("https://auth.example.com?a=b c", "https://auth.example.com/?a=b%20c"),
        ] {
            assert_eq!(address(realm).as_deref(), Ok(expected), "{realm}");
        }
        for realm in [
            "https://auth example.com/",
            "https://reg.example.com|evil.net/",
            "https://reg.example.com\\@evil.net/",
            "https://\u{f6}.example.com/",
            "https:\\\\reg.example.com/",
            "https://reg.example.com /token",
            "https://reg.example.com/a\nb",
        ] {
            assert_eq!(address(realm), Err(RealmProblem::Malformed), "{realm}");
        }
    }

    #[test]
    fn a_listed_realm_sees_credentials() {
        let policy = RealmPolicy {
            trusted: vec!["auth.example.net".to_owned()],
        };
        let checked = origin("https://reg.example.com").check_realm("https://AUTH.example.net/token", &policy);
        assert!(checked.is_ok_and(|realm| realm.may_see_credentials()));
        let other_port = origin("https://reg.example.com").check_realm("https://auth.example.net:8443/", &policy);
        assert!(other_port.is_ok_and(|realm| !realm.may_see_credentials()));
    }

    #[test]
    fn a_public_registry_cannot_name_a_private_realm_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "169.254.169.254",
            "localhost",
            "x.localhost",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[fe80::1]",
            "[fd00::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::ffff:0:7f00:1]",
            "[64:ff9b:1::1]",
            "[2001::1]",
            "[fec0::1]",
            "192.0.0.192",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "100.64.0.1",
            "localhost.",
        ] {
            let address = format!("https://{host}/token");
            assert_eq!(
                realm("https://reg.example.com", &address),
                Err(RealmProblem::Private),
                "{host}"
            );
        }
    }

    #[test]
    fn https_is_never_left_and_users_are_never_named() {
        assert_eq!(
            realm("https://reg.example.com", "http://reg.example.com/token"),
            Err(RealmProblem::Downgrade)
        );
        for text in [
            "https://u:p@reg.example.com/token",
            "ftp://reg.example.com",
            "/token",
            "https://",
            "file:///etc",
        ] {
            assert_eq!(
                realm("https://reg.example.com", text),
                Err(RealmProblem::Malformed),
                "{text}"
            );
        }
    }
}

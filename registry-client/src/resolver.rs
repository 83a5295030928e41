//! Looking up names.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use http::Uri;
use registry_auth::is_private_address;
use ureq::{
    config::Config,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use crate::session::lock;

/// Looks names up as the system does.
#[derive(Debug, Default)]
pub(crate) struct Names {
    system: DefaultResolver,
    private: Arc<Private>,
    /// Whether addresses that are not of the public internet are left out.
    public_only: bool,
}

/// The hosts that were found in a private network, with all of their addresses.
#[derive(Debug, Default)]
pub(crate) struct Private(Mutex<HashSet<String>>);

impl Private {
    /// Takes in where a name leads to. One with a public address as well is no host of a private network: then it could
    /// lead others there.
    pub(crate) fn note(&self, host: String, mut addresses: impl Iterator<Item = IpAddr>) {
        if addresses.all(is_private_address) {
            lock(&self.0).insert(host);
        } else {
            lock(&self.0).remove(&host);
        }
    }

    pub(crate) fn holds(&self, host: &str) -> bool {
        lock(&self.0).contains(host)
    }
}

impl Names {
    pub(crate) fn new(private: &Arc<Private>, public_only: bool) -> Self {
        Self {
            system: DefaultResolver::default(),
            private: Arc::clone(private),
            public_only,
        }
    }
}

/// Says that a name leads to where it must not.
#[derive(Debug, thiserror::Error)]
#[error("its name leads into a private network only")]
pub(crate) struct PrivateNetwork;

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout).map_err(not_found)?;
        if !self.public_only {
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            self.private.note(host, found.iter().map(SocketAddr::ip));
            return Ok(found);
        }
        let mut public = self.empty();
        for address in found.iter().filter(|address| !is_private_address(address.ip())) {
            public.push(*address);
        }
        if public.is_empty() {
            return Err(ureq::Error::Io(io::Error::other(PrivateNetwork)));
        }
        Ok(public)
    }
}

/// Tells a name that does not exist from one that can't be looked up at the moment.
fn not_found(error: ureq::Error) -> ureq::Error {
    match error {
        // The system's resolver has no kind of error of its own, only texts.
        ureq::Error::Io(error) if error.to_string().to_ascii_lowercase().contains("temporary failure") => {
            ureq::Error::Io(io::Error::new(io::ErrorKind::HostUnreachable, error))
        }
        ureq::Error::Io(_) => ureq::Error::HostNotFound,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpErrorKind, agent::kind_of};

    #[test]
    fn a_host_with_a_public_address_is_not_one_of_a_private_network() {
        let private = Private::default();
        let holds = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
            private.note("reg.example".to_owned(), addresses);
            private.holds("reg.example")
        };
        assert!(holds(&["10.0.0.1", "fd00::1"]));
        assert!(!holds(&["203.0.114.5", "fd00::1"]));
    }

    #[test]
    fn a_name_that_can_t_be_looked_up_now_may_be_later_and_one_that_does_not_exist_may_not() {
        let kind = |text: &str| kind_of(&not_found(ureq::Error::Io(io::Error::other(text.to_owned()))));
        let unknown = "failed to lookup address information: Name or service not known";
        assert_eq!(kind(unknown), HttpErrorKind::HostNotFound);
        let later = kind("failed to lookup address information: Temporary failure in name resolution");
        assert_eq!(later, HttpErrorKind::Connect);
    }
}

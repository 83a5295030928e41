//! Looking up names.

use std::{
    collections::HashSet,
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

/// The hosts that were found in a private network.
#[derive(Debug, Default)]
pub(crate) struct Private(Mutex<HashSet<String>>);

impl Private {
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
        let found = self.system.resolve(uri, config, timeout)?;
        if !self.public_only {
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            if found.iter().any(|address| is_private_address(address.ip())) {
                lock(&self.private.0).insert(host);
            }
            return Ok(found);
        }
        let mut public = self.empty();
        for address in found.iter().filter(|address| !is_private_address(address.ip())) {
            public.push(*address);
        }
        if public.is_empty() {
            return Err(ureq::Error::Io(std::io::Error::other(PrivateNetwork)));
        }
        Ok(public)
    }
}

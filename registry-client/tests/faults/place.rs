//! A registry behind a fault proxy, a stranger beside it, and the client that meets them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use registry_auth::{Credential, Digest, Repository, StaticKeychain};
use registry_client::{Client, Clock, HttpPolicy, RetryPolicy};
use sha2::{Digest as _, Sha256};
use test_support::FaultProxy;

/// How often a request is sent at most.
pub(crate) const ATTEMPTS: u32 = 3;
pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "hunter2-hunter2";
/// The two as they are sent.
pub(crate) const BASIC: &str = "dXNlcjpodW50ZXIyLWh1bnRlcjI=";

/// Tells the time and skips the waits.
#[derive(Debug)]
struct Hasty;

impl Clock for Hasty {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, _: Duration) {}
}

pub(crate) fn policy() -> HttpPolicy {
    HttpPolicy {
        retry: RetryPolicy {
            attempts: ATTEMPTS,
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        upload_chunk: 1000,
        clock: Arc::new(Hasty),
        ..HttpPolicy::default()
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

/// The client as it is for a registry at `host`, with the password.
pub(crate) fn client(policy: HttpPolicy, host: &str) -> Client {
    let host = host.parse().expect("a registry");
    let keychain = StaticKeychain::new().with(host, Credential::basic(USER, PASSWORD));
    Client::new(policy, Arc::new(keychain)).expect("the policy is good")
}

pub(crate) fn at(host: &str, path: &str) -> Repository {
    format!("{host}/{path}").parse().expect("a repository")
}

/// Fails when a secret of the client, or any token that was sent to the registry, came to a stranger.
pub(crate) fn assert_no_secret_went_to(stranger: &FaultProxy, registry: &FaultProxy, what: &str) {
    let sent = registry.requests();
    let tokens = sent.iter().filter_map(|request| request.header("authorization"));
    let tokens = tokens.map(|header| header.split(' ').next_back().unwrap_or_default().to_owned());
    let mut secrets: Vec<_> = tokens.collect();
    secrets.extend([PASSWORD.to_owned(), BASIC.to_owned()]);
    for request in stranger.requests() {
        assert!(request.header("authorization").is_none(), "{what}: {request:?}");
        for secret in &secrets {
            assert!(!request.holds(secret), "{what}: {request:?}");
        }
    }
}

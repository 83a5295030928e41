//! Lines of `WWW-Authenticate`, and what becomes of the realms and scopes in them.
#![no_main]

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use libfuzzer_sys::fuzz_target;
use registry_auth::{Challenge, Origin, RealmPolicy, Scheme, ScopeSet};

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    let registry = "https://reg.example.com/".parse().expect("an address");
    let registry = Origin::of(&registry).expect("an origin");
    for challenge in Challenge::all(&headers).into_iter().chain(Challenge::pick(&headers)) {
        let scopes = ScopeSet::parse(challenge.parameter("scope").unwrap_or_default());
        assert_eq!(ScopeSet::parse(&scopes.to_string()), scopes);
        let realm = challenge.parameter("realm").unwrap_or_default();
        if let Ok(realm) = registry.check_realm(realm, &RealmPolicy::default()) {
            assert!(realm.origin().scheme() == Scheme::Https && !realm.origin().is_private());
            let host = realm.origin().host();
            assert!(
                !realm.may_see_credentials() || host == "example.com" || host.ends_with(".example.com"),
                "{host}"
            );
        }
    }
});

//! Answers of token servers: the first byte chooses the status, the rest is the body.
#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Response};
use libfuzzer_sys::fuzz_target;
use registry_auth::{Origin, RealmPolicy, parse_token};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let status = [200, 200, 200, 201, 400, 401, 403, 404, 500][usize::from(*first) % 9];
    let mut answer = Response::new(body.to_vec());
    *answer.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    let registry = Origin::of(&"https://reg.example.com/".parse().expect("an address")).expect("an origin");
    let realm = registry
        .check_realm("https://reg.example.com/token", &RealmPolicy::default())
        .expect("its own realm");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    match parse_token(&realm, &answer, now) {
        Ok(token) => {
            assert!(status < 300);
            let header = token.authorization();
            assert!(HeaderValue::from_str(header.expose()).is_ok(), "it can be sent");
            let _ = token.is_fresh(now);
        }
        Err(error) => drop(error.to_string()),
    }
});

//! Answers of registries to a client: manifests, blobs, lists, uploads.
//!
//! Answers are divided by a zero byte; each is a line with the status, lines of headers, an empty line, and the body.
#![no_main]

use std::{
    collections::VecDeque,
    io::{Cursor, Read},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use registry_auth::{Credential, Digest, Origin, Reference, Repository, Scheme, StaticKeychain};
use registry_client::{AnswerBody, Body, Client, Clock, Http, HttpError, HttpPolicy, RetryPolicy, Transport};

/// The digest of `layer`.
const LAYER: &str = "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85";

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) {}
}

struct Script(Mutex<VecDeque<Vec<u8>>>);

impl Transport for Script {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let origin = Origin::of(request.uri()).expect("only addresses are asked");
        assert!(origin.scheme() == Scheme::Https && !origin.is_private(), "{origin}");
        let own = origin.host() == "example.com" || origin.host().ends_with(".example.com");
        let secret = request.headers().contains_key("authorization") || request.uri().to_string().contains("hunter2");
        assert!(own || !secret, "{origin}");
        let text = self
            .0
            .lock()
            .expect("nothing panics here")
            .pop_front()
            .unwrap_or_default();
        Ok(answer(&text))
    }
}

fn answer(text: &[u8]) -> Response<AnswerBody> {
    let end = text.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((text, &b""[..]), |end| (&text[..end], &text[end + 2..]));
    let mut answer = Response::new(AnswerBody::new(Cursor::new(body.to_vec())));
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| http::StatusCode::from_bytes(line).ok());
    *answer.status_mut() = status.unwrap_or(http::StatusCode::NOT_FOUND);
    for line in lines {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let value = line[at + 1..].trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

fn client(bytes: &[u8]) -> Client {
    let policy = HttpPolicy {
        retry: RetryPolicy {
            attempts: 2,
            ..RetryPolicy::default()
        },
        clock: Arc::new(Still),
        ..HttpPolicy::default()
    };
    let answers = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let transport = Arc::new(Script(Mutex::new(answers)));
    let host = "reg.example.com".parse().expect("a host");
    let keychain = StaticKeychain::new().with(host, Credential::basic("me", "hunter2"));
    Client::with_http(Http::with_transport(&policy, transport), Arc::new(keychain))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let client = client(bytes);
    let repository: Repository = "reg.example.com/team/app".parse().expect("a repository");
    let digest: Digest = LAYER.parse().expect("a digest");
    let pinned = Reference::pinned(&repository, &digest);
    match first % 6 {
        0 => {
            if let Ok(Some(manifest)) = client.manifest(&pinned) {
                assert_eq!(manifest.bytes, b"layer");
            }
        }
        1 => drop(client.tags(&repository)),
        2 => drop(client.referrers(&repository, &digest)),
        3 => {
            let mut all = Vec::new();
            if let Ok(mut blob) = client.blob(&repository, &digest)
                && blob.read_to_end(&mut all).is_ok()
            {
                assert_eq!(all, b"layer");
            }
        }
        4 => drop(client.push_blob(&repository, &digest, 5, &mut || {
            Ok(Box::new(Cursor::new(b"layer".to_vec())))
        })),
        _ => drop(client.manifest(&Reference::tagged(&repository, "v1").expect("a tag"))),
    }
});

//! Whatever a server answers: nothing panics, and only the bytes that were asked for are taken.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use proptest::prelude::*;
use registry_auth::{Credential, Digest, Reference, RegistryHost, StaticKeychain};
use registry_client::{AnswerBody, Body, Client, Clock, Http, HttpError, HttpPolicy, RetryPolicy, Transport};
use sha2::{Digest as _, Sha256};

const BLOB: &[u8] = b"{\"manifests\":[]}";

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Gives the same few answers again and again.
struct Answers(Vec<Answer>, AtomicUsize);

impl Transport for Answers {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let _ = io::copy(&mut request.into_body().into_reader(), &mut io::sink());
        let answer = &self.0[self.1.fetch_add(1, Ordering::SeqCst) % self.0.len()];
        let mut response = Response::new(AnswerBody::new(io::Cursor::new(answer.body.clone())));
        *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
        let mut headers = HeaderMap::new();
        for (name, value) in &answer.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) {}
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

fn any_header() -> impl Strategy<Value = (String, String)> {
    let known = prop_oneof![
        Just("location"),
        Just("link"),
        Just("range"),
        Just("content-range"),
        Just("content-length"),
        Just("content-type"),
        Just("retry-after"),
        Just("www-authenticate"),
        Just("docker-content-digest"),
    ];
    let value = prop_oneof![
        "[ -~]{0,30}".boxed(),
        "(https?:)?(//)?[a-z.:@\\[\\]0-9/?#=&%-]{0,20}".boxed(),
        "</?[a-z/?=]{0,10}>; ?rel=\"?next\"?".boxed(),
        "(bytes )?[0-9]{0,21}-[0-9]{0,21}(/[0-9*]{0,21})?".boxed(),
        "(Bearer|Basic|bearer) (realm=\"https://reg.example.com/[a-z]{0,3}\",?)?(scope=\"[a-z:, ]{0,10}\")?".boxed(),
        Just(digest(BLOB).to_string()).boxed(),
        "(0-)?(99999999999999999999|1844674407370955161[45])".boxed(),
        "[A-Z][a-z]{2}, [0-9]{1,2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT".boxed(),
    ];
    (known.prop_map(str::to_owned), value)
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let status = prop_oneof![
        4 => Just(200_u16),
        1 => Just(201),
        1 => Just(202),
        1 => Just(204),
        1 => Just(206),
        1 => Just(307),
        2 => Just(401),
        1 => Just(404),
        1 => Just(429),
        1 => Just(500),
    ];
    let body = prop_oneof![
        Just(BLOB.to_vec()).boxed(),
        Just(BLOB[..5].to_vec()).boxed(),
        "\\{\"(tags|manifests|errors|token|repositories)\": ?(null|\\[\\]|\\[null\\]|\\[\\{\\}\\]|7|\"t\"|\\[\"a\"\\])\\}"
            .prop_map(String::into_bytes)
            .boxed(),
        proptest::collection::vec(any::<u8>(), 0..40).boxed(),
    ];
    (status, proptest::collection::vec(any_header(), 0..5), body).prop_map(|(status, headers, body)| Answer {
        status,
        headers,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_answers_make_an_operation_panic_or_take_other_bytes(answers in proptest::collection::vec(any_answer(), 1..4)) {
        let policy = HttpPolicy {
            clock: Arc::new(Still),
            retry: RetryPolicy { attempts: 2, ..RetryPolicy::default() },
            ..HttpPolicy::default()
        };
        let host: RegistryHost = "reg.example.com".parse().expect("a host");
        let keychain = StaticKeychain::new().with(host.clone(), Credential::basic("me", "secret"));
        let http = Http::with_transport(&policy, Arc::new(Answers(answers, AtomicUsize::new(0))));
        let client = Client::with_http(http, Arc::new(keychain));
        let by_tag = Reference::parse("reg.example.com/team/app:v1").expect("a name");
        let by_digest = by_tag.with_digest(&digest(BLOB));
        let (repository, wanted) = (by_tag.repository(), digest(BLOB));
        for reference in [&by_tag, &by_digest] {
            let _ = client.head(reference);
            if let Ok(Some(manifest)) = client.manifest(reference) {
                prop_assert_eq!(&manifest.digest, &digest(&manifest.bytes));
                prop_assert!(reference.digest().is_none_or(|wanted| *wanted == manifest.digest));
            }
        }
        let mut bytes = Vec::new();
        if let Ok(mut blob) = client.blob(repository, &wanted) && blob.read_to_end(&mut bytes).is_ok() {
            prop_assert_eq!(&bytes, BLOB);
        }
        let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(BLOB))) };
        let from = "reg.example.com/base/run".parse().expect("a repository");
        let results = [
            client.has_blob(repository, &wanted).err(),
            client.push_blob(repository, &wanted, BLOB.len() as u64, &mut open).err(),
            client.push_new_blob(repository, &wanted, BLOB.len() as u64, &mut || Ok(Box::new(io::Cursor::new(BLOB)))).err(),
            client.mount_blob(&from, repository, &wanted).err(),
            client.stream_blob(repository, io::Cursor::new(BLOB)).and_then(|upload| upload.finish(&wanted)).err(),
            client.push_manifest(&by_tag, "a/b", BLOB).err(),
            client.tags(repository).err(),
            client.repositories(&host).err(),
            client.referrers(repository, &wanted).err(),
            client.delete(&by_tag).err(),
            client.check_read(&by_tag).err(),
            client.check_write(repository).err(),
        ];
        for error in results.into_iter().flatten() {
            let text = format!("{error} {error:?}");
            prop_assert!(!text.contains("secret") && !text.contains("bWU6c2VjcmV0"), "{}", text);
        }
        let mut upload = client.start_upload(repository).expect("nothing is sent yet");
        let _ = io::Write::write_all(&mut upload, BLOB);
        let _ = upload.finish(&wanted);
    }
}

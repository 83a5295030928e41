//! Uploads against registries that stumble.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use registry_auth::{AnonymousKeychain, Digest, Repository};
use registry_client::{Client, Clock, Http, HttpPolicy, Reason, RegistryError, Transport};
use sha2::{Digest as _, Sha256};

use crate::script::{Answer, Script};

/// Nobody waits: time goes on by as much as was to be waited.
#[derive(Debug, Default)]
struct NoTime(Mutex<Duration>);

impl Clock for NoTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

fn start(answers: Vec<Answer>) -> (Arc<Script>, Client, Repository) {
    let script = Arc::new(Script::new(answers));
    let policy = HttpPolicy {
        upload_chunk: 10,
        clock: Arc::new(NoTime::default()),
        ..HttpPolicy::default()
    };
    let http = Http::with_transport(&policy, Arc::clone(&script) as Arc<dyn Transport>);
    let repository = "reg.example.com/team/app".parse().expect("a repository");
    (script, Client::with_http(http, Arc::new(AnonymousKeychain)), repository)
}

fn status(status: u16) -> Answer {
    (status, Vec::new(), Vec::new())
}

fn goes_on(status: u16, location: &str, range: &str) -> Answer {
    let headers = vec![("location", location.to_owned()), ("range", range.to_owned())];
    (status, headers, Vec::new())
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

fn stream(client: &Client, repository: &Repository, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut upload = client.start_upload(repository)?;
    upload
        .write_all(bytes)
        .map_err(|error| error.downcast::<RegistryError>().expect("it is the client's"))?;
    upload.finish(&digest(bytes))
}

/// The first lines and the bodies of what was sent.
fn sent(script: &Script) -> Vec<String> {
    let short = |(_, text): (String, String)| {
        let (head, rest) = text.split_once('\n').unwrap_or_default();
        let body = rest.rsplit('\n').next().unwrap_or_default();
        let head = head
            .replace("https://reg.example.com", "")
            .replace("/v2/team/app/blobs/", "");
        let head = head.split("?digest").next().unwrap_or_default();
        format!("{head} {body}").trim().to_owned()
    };
    script.seen().into_iter().map(short).collect()
}

#[test]
fn parts_of_a_stream_follow_the_location_that_each_answer_gives() {
    let (script, client, repository) = start(vec![
        goes_on(202, "/up/1", "0-0"),
        goes_on(202, "/up/2", "0-9"),
        goes_on(202, "/up/3", "0-19"),
        status(201),
    ]);
    stream(&client, &repository, b"0123456789abcdefghijXYZ").expect("it is taken");
    assert_eq!(
        sent(&script),
        [
            "POST uploads/",
            "PATCH /up/1 0123456789",
            "PATCH /up/2 abcdefghij",
            "PUT /up/3 XYZ"
        ]
    );
    assert!(script.seen()[2].1.contains("content-range: 10-19\n"));
}

#[test]
fn a_part_that_arrived_only_partly_is_completed() {
    let (script, client, repository) = start(vec![
        goes_on(202, "/up/1", "0-0"),
        status(503),
        goes_on(204, "/up/1b", "0-3"),
        goes_on(202, "/up/2", "0-9"),
        status(201),
    ]);
    stream(&client, &repository, b"0123456789ab").expect("it is taken");
    assert_eq!(
        sent(&script),
        [
            "POST uploads/",
            "PATCH /up/1 0123456789",
            "GET /up/1",
            "PATCH /up/1b 456789",
            "PUT /up/2 ab"
        ]
    );
}

#[test]
fn an_end_that_got_lost_is_found_by_the_blob_being_there() {
    let (script, client, repository) = start(vec![
        goes_on(202, "/up/1", "0-0"),
        goes_on(202, "/up/2", "0-9"),
        status(502),
        status(200),
    ]);
    stream(&client, &repository, b"0123456789ab").expect("it is there");
    assert_eq!(script.seen().len(), 4);
}

#[test]
fn a_registry_that_lost_what_it_had_is_an_error_for_whoever_has_the_bytes() {
    let (_, client, repository) = start(vec![
        goes_on(202, "/up/1", "0-0"),
        goes_on(202, "/up/2", "0-9"),
        status(503),
        goes_on(204, "/up/2", "0-4"),
    ]);
    let error = stream(&client, &repository, b"0123456789abcdefghijk").expect_err("bytes are missing");
    assert!(error.is_retryable(), "{error}");
}

#[test]
fn a_registry_that_claims_more_bytes_than_there_can_be_is_an_error() {
    for end in [
        "18446744073709551615",
        "18446744073709551614",
        "99999999999999999999999",
    ] {
        let range = format!("0-{end}");
        let answers = vec![goes_on(202, "/up/1", "0-0"), status(503), goes_on(204, "/up/1", &range)];
        let (_, client, repository) = start(answers);
        stream(&client, &repository, &[b'x'; 25]).expect_err("it is none");
    }
}

#[test]
fn an_upload_that_is_dropped_is_cancelled() {
    let (script, client, repository) = start(vec![goes_on(202, "/up/1", "0-0"), goes_on(202, "/up/2", "0-9")]);
    let mut upload = client.start_upload(&repository).expect("an upload");
    upload.write_all(b"0123456789abc").expect("it is taken");
    drop(upload);
    assert_eq!(sent(&script).last().map(String::as_str), Some("DELETE /up/2"));
}

#[test]
fn a_wait_that_the_registry_asks_for_is_within_the_budget_or_not_begun() {
    let busy = |seconds: &str| (429, vec![("retry-after", seconds.to_owned())], Vec::new());
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(b"x".to_vec()))) };
    let answers = vec![busy("5"), status(404), goes_on(202, "/up/1", "0-0"), status(201)];
    let (script, client, repository) = start(answers);
    client
        .push_blob(&repository, &digest(b"x"), 1, &mut open)
        .expect("it is taken");
    assert_eq!(script.seen().len(), 4);
    let (script, client, repository) = start(vec![busy("3600")]);
    let error = client
        .push_blob(&repository, &digest(b"x"), 1, &mut open)
        .expect_err("an hour is too long");
    assert_eq!((error.status(), script.seen().len()), (Some(429), 1));
}

#[test]
fn a_wait_until_a_date_is_one_by_the_registrys_own_clock() {
    let busy = |until: &str| {
        let date = ("date", "Sun, 06 Nov 1994 08:00:00 GMT".to_owned());
        (429, vec![date, ("retry-after", until.to_owned())], Vec::new())
    };
    let answers = vec![busy("Sun, 06 Nov 1994 08:00:40 GMT"), status(404)];
    let (script, client, repository) = start(answers);
    let before = client.http().policy().clock.now();
    assert_eq!(client.has_blob(&repository, &digest(b"x")).expect("it answers"), None);
    let waited = client
        .http()
        .policy()
        .clock
        .now()
        .duration_since(before)
        .expect("time goes on");
    assert_eq!((waited.as_secs(), script.seen().len()), (40, 2));
    let (script, client, repository) = start(vec![busy("Sun, 06 Nov 1994 09:00:00 GMT")]);
    let error = client
        .has_blob(&repository, &digest(b"x"))
        .expect_err("an hour is too long");
    assert_eq!((error.status(), script.seen().len()), (Some(429), 1));
}

#[test]
fn the_upload_that_a_refused_mount_began_is_used() {
    let (script, client, repository) = start(vec![goes_on(202, "/up/m", "0-0"), status(404), status(201)]);
    let from = "reg.example.com/base/run".parse().expect("a repository");
    assert!(
        !client
            .mount_blob(&from, &repository, &digest(b"x"))
            .expect("it answers")
    );
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(b"x".to_vec()))) };
    client
        .push_blob(&repository, &digest(b"x"), 1, &mut open)
        .expect("it is taken");
    assert_eq!(sent(&script).last().map(String::as_str), Some("PUT /up/m x"));
}

#[test]
fn a_token_that_expires_while_bytes_are_streamed_is_told_and_the_next_attempt_has_a_new_one() {
    let challenge = || {
        let text = r#"Bearer realm="https://reg.example.com/token",scope="repository:team/app:pull,push""#;
        (401, vec![("www-authenticate", text.to_owned())], Vec::new())
    };
    let token = |text: &str| (200, Vec::new(), format!(r#"{{"token": "{text}"}}"#).into_bytes());
    let (script, client, repository) = start(vec![
        challenge(),
        token("first"),
        goes_on(202, "/up/1", "0-0"),
        challenge(),
        // The upload is given up, with a new token.
        token("second"),
        status(204),
        goes_on(202, "/up/2", "0-0"),
        goes_on(202, "/up/2", "0-4"),
        status(201),
    ]);
    let bytes = || io::Cursor::new(b"layer".to_vec());
    let error = client.stream_blob(&repository, bytes()).expect_err("it has expired");
    assert!(
        matches!(error.reason(), Reason::Expired) && error.is_retryable(),
        "{error:?}"
    );
    assert!(error.to_string().contains("start again"), "{error}");
    let upload = client.stream_blob(&repository, bytes()).expect("it is sent again");
    upload.finish(&digest(b"layer")).expect("it is taken");
    let used: Vec<_> = script
        .seen()
        .iter()
        .filter_map(|(_, text)| {
            let token = text
                .lines()
                .find_map(|line| line.strip_prefix("authorization: Bearer "))?;
            Some(format!("{} {token}", text.split(' ').next()?))
        })
        .collect();
    let expected = [
        "POST first",
        "PATCH first",
        "DELETE second",
        "POST second",
        "PATCH second",
        "PUT second",
    ];
    assert_eq!(used, expected);
}

#[test]
fn the_time_of_a_streamed_upload_is_counted_from_its_begin_to_its_end() {
    /// Takes a minute to be read.
    struct Slow(Arc<dyn Clock>, bool);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.sleep(Duration::from_secs(60));
            let count = usize::from(!std::mem::replace(&mut self.1, true));
            buffer[..count].fill(b'x');
            Ok(count)
        }
    }
    let goes_on = |range| goes_on(202, "/up/1", range);
    for (limit, in_time) in [(121, true), (120, false)] {
        let (_, client, repository) = start(vec![goes_on("0-0"), goes_on("0-1"), status(201)]);
        let limited = client.with_time_limit(Duration::from_secs(limit));
        let clock = Arc::clone(&client.http().policy().clock);
        let upload = limited
            .stream_blob(&repository, Slow(clock, false))
            .expect("it is sent");
        let finished = upload.finish(&digest(b"x"));
        assert_eq!(
            finished.as_ref().err().is_some_and(RegistryError::is_deadline),
            !in_time,
            "{finished:?}"
        );
    }
}

#[test]
fn an_upload_that_was_begun_long_ago_is_not_gone_on_with() {
    let answers = vec![
        goes_on(202, "/up/old", "0-0"),
        goes_on(202, "/up/new", "0-0"),
        goes_on(202, "/up/new", "0-4"),
        status(201),
    ];
    let (script, client, repository) = start(answers);
    let from = "reg.example.com/base/run".parse().expect("a repository");
    let mounted = client.mount_blob(&from, &repository, &digest(b"layer"));
    assert!(!mounted.expect("it answers"));
    client.http().policy().clock.sleep(Duration::from_secs(301));
    let upload = client
        .stream_blob(&repository, io::Cursor::new(b"layer".to_vec()))
        .expect("it is sent");
    upload.finish(&digest(b"layer")).expect("it is taken");
    let used = |text: &String| text.contains("/up/old");
    assert!(!script.seen().iter().any(|(_, text)| used(text)) && script.seen().len() == 4);
}

//! Uploads against registries that stumble.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use registry_auth::{AnonymousKeychain, Digest, Repository};
use registry_client::{Client, Clock, Http, HttpPolicy, RegistryError, Transport};
use sha2::{Digest as _, Sha256};

use crate::script::{Answer, Script};

/// Time stands still and nobody waits.
#[derive(Debug)]
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) {}
}

fn start(answers: Vec<Answer>) -> (Arc<Script>, Client, Repository) {
    let script = Arc::new(Script::new(answers));
    let policy = HttpPolicy {
        upload_chunk: 10,
        clock: Arc::new(NoTime),
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

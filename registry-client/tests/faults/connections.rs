//! Blobs large enough to break in the middle.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use registry_auth::{AnonymousKeychain, Repository};
use registry_client::{Client, HttpErrorKind, HttpPolicy, Reason, RegistryError, RetryPolicy};
use test_support::{Fault, FaultProxy, Registry, Request, Rule};

use crate::place::{self, at, digest};

const SIZE: usize = 3_000_000;

/// A proxy that lets `faults` befall the requests that `fits`, one after the other.
fn before(registry: &Registry, fits: fn(&Request) -> bool, faults: &[Fault]) -> FaultProxy {
    let proxy = FaultProxy::start(&registry.host()).expect("a port");
    for fault in faults {
        proxy.inject(Rule::new(fault.clone(), fits).times(1));
    }
    proxy
}

fn reads_blob(request: &Request) -> bool {
    request.method == "GET" && request.target.contains("/blobs/")
}

fn sends_bytes(request: &Request) -> bool {
    matches!(request.method.as_str(), "PUT" | "PATCH") && request.target.contains("/uploads/")
}

fn policy() -> HttpPolicy {
    HttpPolicy {
        upload_chunk: 1 << 20,
        ..place::policy()
    }
}

fn client(policy: HttpPolicy) -> Client {
    Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good")
}

fn bytes() -> Vec<u8> {
    (0..SIZE)
        .map(|at| u8::try_from(at % 251).expect("it is small"))
        .collect()
}

fn push(client: &Client, repository: &Repository, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client.push_blob(repository, &digest(bytes), bytes.len() as u64, &mut open)
}

fn app(host: &str) -> Repository {
    at(host, "team/app")
}

#[test]
fn a_blob_that_breaks_off_is_taken_up_where_it_broke() {
    let registry = Registry::start().expect("docker-registry starts");
    push(&client(policy()), &app(&registry.host()), &bytes()).expect("it is pushed");
    let faults = vec![
        Fault::CutAnswer(1_000_000),
        Fault::CutAnswer(700_000),
        Fault::CutAnswer(100),
    ];
    let proxy = before(&registry, reads_blob, &faults);
    let mut found = Vec::new();
    client(policy())
        .blob(&app(&proxy.host()), &digest(&bytes()))
        .expect("it is there")
        .read_to_end(&mut found)
        .expect("it is mended");
    assert!(found == bytes(), "the bytes are those that were pushed");
    assert_eq!(proxy.suffered(), 3);
}

#[test]
fn a_blob_that_always_breaks_off_is_an_error_and_never_taken_for_whole() {
    let registry = Registry::start().expect("docker-registry starts");
    push(&client(policy()), &app(&registry.host()), &bytes()).expect("it is pushed");
    let proxy = before(&registry, reads_blob, &vec![Fault::CutAnswer(10_000); 100]);
    let mut blob = client(policy())
        .blob(&app(&proxy.host()), &digest(&bytes()))
        .expect("it is there");
    let error = io::copy(&mut blob, &mut io::sink()).expect_err("it never ends");
    assert!(error.to_string().contains("read blob"), "{error}");
    assert!(blob.read(&mut [0; 10]).is_err(), "and it stays an error");
}

#[test]
fn an_upload_that_breaks_off_is_sent_again() {
    let registry = Registry::start().expect("docker-registry starts");
    let faults = vec![Fault::CutRequest(1_000_000), Fault::CutRequest(500_000)];
    let proxy = before(&registry, sends_bytes, &faults);
    push(&client(policy()), &app(&proxy.host()), &bytes()).expect("the third attempt arrives");
    assert_eq!(proxy.suffered(), 2);
    let size = client(policy())
        .has_blob(&app(&registry.host()), &digest(&bytes()))
        .expect("it answers");
    assert_eq!(size, Some(SIZE as u64));
}

/// This registry gives up an upload whose connection broke in the middle of a part, so only the caller, who can make
/// the bytes again, can go on.
#[test]
fn a_streamed_upload_that_the_registry_gives_up_is_an_error_that_asks_for_another_attempt() {
    let registry = Registry::start().expect("docker-registry starts");
    let proxy = before(&registry, sends_bytes, &[Fault::CutRequest(500_000)]);
    let mut upload = client(policy()).start_upload(&app(&proxy.host())).expect("an upload");
    let error = upload.write_all(&bytes()).expect_err("the registry has forgotten it");
    assert_eq!(proxy.suffered(), 1);
    let error = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<RegistryError>())
        .expect("it is the client's");
    assert!(error.is_retryable(), "{error}");
    drop(upload);
    let size = client(policy())
        .has_blob(&app(&registry.host()), &digest(&bytes()))
        .expect("it answers");
    assert_eq!(size, None, "nothing partial is there");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_beyond_the_limit() {
    let registry = Registry::start().expect("docker-registry starts");
    let proxy = before(&registry, |_| true, &vec![Fault::Silence; 10]);
    let policy = HttpPolicy {
        idle_timeout: Duration::from_millis(300),
        retry: RetryPolicy::never(),
        ..policy()
    };
    let error = client(policy)
        .tags(&app(&proxy.host()))
        .expect_err("there is no answer");
    let Reason::Http(cause) = error.reason() else {
        panic!("{error}")
    };
    assert_eq!(cause.kind, HttpErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
}

#[test]
fn what_cannot_be_read_is_not_blamed_on_the_registry_and_not_tried_again() {
    let registry = Registry::start().expect("docker-registry starts");
    let mut opened = 0;
    let mut open = || -> io::Result<Box<dyn Read + Send>> {
        opened += 1;
        Ok(Box::new(io::Cursor::new(vec![1; 1000])))
    };
    let error = client(policy()).push_blob(&app(&registry.host()), &digest(b"x"), 2000, &mut open);
    let error = error.expect_err("there are too few bytes");
    assert!(matches!(error.reason(), Reason::Local(_)), "{error}");
    assert_eq!(opened, 1);
}

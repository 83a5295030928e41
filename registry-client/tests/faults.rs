//! Faults on real connections: a proxy before a real registry cuts, delays or swallows what passes through.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use registry_auth::{AnonymousKeychain, Digest, Repository};
use registry_client::{Client, HttpErrorKind, HttpPolicy, Reason, RegistryError, RetryPolicy};
use sha2::{Digest as _, Sha256};
use test_support::Registry;

const SIZE: usize = 3_000_000;

/// What happens to one connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The answers end after so many bytes.
    CutAnswer(usize),
    /// The requests end after so many bytes.
    CutRequest(usize),
    /// Nothing is answered.
    Silence,
}

/// Listens on a free port and passes connections on; the first ones suffer `faults`, one after the other.
fn proxy(target: String, faults: Vec<Fault>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let host = format!("127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let suffered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&suffered);
    thread::spawn(move || {
        let mut faults = faults.into_iter();
        for client in listener.incoming().map_while(Result::ok) {
            let mut first = [0; 1];
            // The first byte of TLS; the registry speaks none and answers by itself.
            let is_tls = matches!(client.peek(&mut first), Ok(1) if first[0] == 0x16);
            let fault = if is_tls { None } else { faults.next() };
            count.fetch_add(usize::from(fault.is_some()), Ordering::SeqCst);
            let Ok(server) = TcpStream::connect(&target) else {
                continue;
            };
            let pair = (
                client.try_clone().expect("a handle"),
                server.try_clone().expect("a handle"),
            );
            let (up, down) = match fault {
                Some(Fault::CutAnswer(at)) => (usize::MAX, at),
                Some(Fault::CutRequest(at)) => (at, usize::MAX),
                Some(Fault::Silence) => (usize::MAX, 0),
                None => (usize::MAX, usize::MAX),
            };
            let silent = matches!(fault, Some(Fault::Silence));
            thread::spawn(move || pass(client, server, up, false));
            thread::spawn(move || pass(pair.1, pair.0, down, silent));
        }
    });
    (host, suffered)
}

fn pass(mut from: TcpStream, mut to: TcpStream, limit: usize, silent: bool) {
    let (mut left, mut buffer) = (limit, [0; 16 << 10]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let count = count.min(left);
        left -= count;
        if to.write_all(&buffer[..count]).is_err() || (left == 0 && !silent) {
            break;
        }
    }
    if silent {
        // Longer than any client here waits.
        thread::sleep(Duration::from_secs(20));
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn policy() -> HttpPolicy {
    HttpPolicy {
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        upload_chunk: 1 << 20,
        ..HttpPolicy::default()
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

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

fn push(client: &Client, repository: &Repository, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client.push_blob(repository, &digest(bytes), bytes.len() as u64, &mut open)
}

fn at(host: &str) -> Repository {
    format!("{host}/team/app").parse().expect("a repository")
}

#[test]
fn a_blob_that_breaks_off_is_taken_up_where_it_broke() {
    let registry = Registry::start().expect("docker-registry starts");
    push(&client(policy()), &at(&registry.host()), &bytes()).expect("it is pushed");
    let faults = vec![
        Fault::CutAnswer(1_000_000),
        Fault::CutAnswer(700_000),
        Fault::CutAnswer(100),
    ];
    let (host, suffered) = proxy(registry.host(), faults);
    let mut found = Vec::new();
    client(policy())
        .blob(&at(&host), &digest(&bytes()))
        .expect("it is there")
        .read_to_end(&mut found)
        .expect("it is mended");
    assert!(found == bytes(), "the bytes are those that were pushed");
    assert_eq!(suffered.load(Ordering::SeqCst), 3);
}

#[test]
fn a_blob_that_always_breaks_off_is_an_error_and_never_taken_for_whole() {
    let registry = Registry::start().expect("docker-registry starts");
    push(&client(policy()), &at(&registry.host()), &bytes()).expect("it is pushed");
    let (host, _) = proxy(registry.host(), vec![Fault::CutAnswer(10_000); 100]);
    let mut blob = client(policy())
        .blob(&at(&host), &digest(&bytes()))
        .expect("it is there");
    let error = io::copy(&mut blob, &mut io::sink()).expect_err("it never ends");
    assert!(error.to_string().contains("read blob"), "{error}");
    assert!(blob.read(&mut [0; 10]).is_err(), "and it stays an error");
}

#[test]
fn an_upload_that_breaks_off_is_sent_again() {
    let registry = Registry::start().expect("docker-registry starts");
    let faults = vec![Fault::CutRequest(1_000_000), Fault::CutRequest(500_000)];
    let (host, suffered) = proxy(registry.host(), faults);
    push(&client(policy()), &at(&host), &bytes()).expect("the third attempt arrives");
    assert_eq!(suffered.load(Ordering::SeqCst), 2);
    let size = client(policy())
        .has_blob(&at(&registry.host()), &digest(&bytes()))
        .expect("it answers");
    assert_eq!(size, Some(SIZE as u64));
}

/// This registry gives up an upload whose connection broke in the middle of a part, so only the caller, who can make
/// the bytes again, can go on.
#[test]
fn a_streamed_upload_that_the_registry_gives_up_is_an_error_that_asks_for_another_attempt() {
    let registry = Registry::start().expect("docker-registry starts");
    let (host, suffered) = proxy(registry.host(), vec![Fault::CutRequest(1_500_000)]);
    let mut upload = client(policy()).start_upload(&at(&host)).expect("an upload");
    let error = upload.write_all(&bytes()).expect_err("the registry has forgotten it");
    assert_eq!(suffered.load(Ordering::SeqCst), 1);
    let error = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<RegistryError>())
        .expect("it is the client's");
    assert!(error.is_retryable(), "{error}");
    drop(upload);
    let size = client(policy())
        .has_blob(&at(&registry.host()), &digest(&bytes()))
        .expect("it answers");
    assert_eq!(size, None, "nothing partial is there");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_beyond_the_limit() {
    let registry = Registry::start().expect("docker-registry starts");
    let (host, _) = proxy(registry.host(), vec![Fault::Silence; 10]);
    let policy = HttpPolicy {
        idle_timeout: Duration::from_millis(300),
        retry: RetryPolicy::never(),
        ..policy()
    };
    let begun = Instant::now();
    let error = client(policy).tags(&at(&host)).expect_err("there is no answer");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
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
    let error = client(policy()).push_blob(&at(&registry.host()), &digest(b"x"), 2000, &mut open);
    let error = error.expect_err("there are too few bytes");
    assert!(matches!(error.reason(), Reason::Local(_)), "{error}");
    assert_eq!(opened, 1);
}

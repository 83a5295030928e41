//! Keychains that take their time, as those do that start a program: nobody waits for them longer than it may.

use std::{
    error::Error as _,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use registry_auth::{Credential, Keychain, KeychainError, Repository};
use registry_client::{Cancellation, Client, HttpPolicy, Reason, RetryPolicy};

/// Hangs until it is told to go on, and fails then.
struct Hanging {
    asked: AtomicUsize,
    begun: Mutex<Sender<()>>,
    released: Mutex<Receiver<()>>,
}

impl Keychain for Hanging {
    fn find(&self, _: &Repository) -> Result<Option<Credential>, KeychainError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _ = self.begun.lock().expect("no test panics here").send(());
        let _ = self.released.lock().expect("no test panics here").recv();
        Err(KeychainError {
            source: Some(Arc::new(io::Error::from(io::ErrorKind::TimedOut))),
            ..KeychainError::new("the helper", "it hangs")
        })
    }
}

struct Stage {
    keychain: Arc<Hanging>,
    client: Client,
    repository: Repository,
    begun: Receiver<()>,
    release: Sender<()>,
}

fn client(keychain: Arc<dyn Keychain>) -> Client {
    // Nobody gets so far as to connect to it.
    let policy = HttpPolicy {
        plain_http_hosts: vec!["127.0.0.1".to_owned()],
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    Client::new(policy, keychain).expect("the policy is good")
}

fn repository() -> Repository {
    "127.0.0.1:1/team/app".parse().expect("a repository")
}

fn stage() -> Stage {
    let ((begun, has_begun), (release, released)) = (channel(), channel());
    let keychain = Arc::new(Hanging {
        asked: AtomicUsize::new(0),
        begun: Mutex::new(begun),
        released: Mutex::new(released),
    });
    Stage {
        client: client(Arc::clone(&keychain) as _),
        keychain,
        repository: repository(),
        begun: has_begun,
        release,
    }
}

#[test]
fn an_operation_ends_at_its_time_limit_while_the_keychain_hangs() {
    let stage = stage();
    let started = Instant::now();
    let hasty = stage.client.with_time_limit(Duration::from_millis(200));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let error = hasty.tags(&stage.repository).expect_err("there is no credential yet");
                assert!(error.is_deadline(), "{error:?}");
            });
        }
    });
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(
        stage.keychain.asked.load(Ordering::SeqCst),
        1,
        "it is asked once for all"
    );
}

#[test]
fn cancelling_ends_the_wait_for_a_keychain() {
    let stage = stage();
    let stop = Cancellation::new();
    let client = stage.client.with_cancellation(stop.clone());
    thread::scope(|scope| {
        scope.spawn(|| {
            let error = client.tags(&stage.repository).expect_err("it is cancelled");
            assert!(error.is_cancelled(), "{error:?}");
        });
        stage.begun.recv().expect("the keychain is asked");
        stop.cancel();
    });
}

#[test]
fn the_error_of_a_keychain_is_told_with_its_cause_and_the_next_asks_anew() {
    let stage = stage();
    drop(stage.release);
    for asked in 1..3 {
        let error = stage.client.tags(&stage.repository).expect_err("there is none");
        let Reason::Keychain(error) = error.reason() else {
            panic!("{error:?}");
        };
        assert_eq!(error.to_string(), "cannot get a credential from the helper: it hangs");
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::TimedOut));
        assert_eq!(stage.keychain.asked.load(Ordering::SeqCst), asked);
    }
}

/// Never comes back.
struct Panicking;

impl Keychain for Panicking {
    fn find(&self, _: &Repository) -> Result<Option<Credential>, KeychainError> {
        panic!("on purpose")
    }
}

#[test]
fn a_keychain_that_panics_is_an_error_and_nobody_waits_for_it() {
    let error = client(Arc::new(Panicking))
        .tags(&repository())
        .expect_err("there is none");
    assert!(matches!(error.reason(), Reason::Keychain(_)), "{error:?}");
}

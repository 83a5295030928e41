//! Nothing takes longer than it may, whoever is slow.
//!
//! Servers that say nothing are waited for until a limit of some milliseconds is over; where the work is ours, the clock
//! is set forward instead.

use std::{
    error::Error,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, SystemTime},
};

use registry_auth::{AnonymousKeychain, KubernetesSecret};
use registry_client::{Cancellation, Client, Clock, Http, HttpPolicy, RetryPolicy};
use source_fetch::{
    Access, BlobError, BlobSource, FetchError, GitKeychain, GitSource, ImageSourceError, LimitExceeded, Limits,
    Progress, ResolveError, ResolvedGit, Resolver, Ssh, Step, TransportError, fetch_blob, fetch_git,
    fetch_git_sub_path, fetch_image, resolve_git, resolve_git_with_tree,
};
use test_support::GitServer;

/// A server that takes connections and says nothing.
struct Silent {
    address: String,
    connected: mpsc::Receiver<TcpStream>,
}

fn silent() -> Silent {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (tell, connected) = mpsc::channel();
    std::thread::spawn(move || listener.incoming().flatten().all(|stream| tell.send(stream).is_ok()));
    Silent { address, connected }
}

/// A clock that can be set forward.
#[derive(Debug, Default)]
struct Settable(AtomicU64);

impl Clock for Settable {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) {
        self.0.fetch_add(time.as_secs() + 1, Ordering::SeqCst);
    }
}

fn http(clock: Option<Arc<Settable>>) -> Http {
    let mut policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    if let Some(clock) = clock {
        policy.clock = clock;
    }
    Http::new(&policy).expect("valid")
}

fn short() -> Limits {
    Limits {
        time: Duration::from_millis(50).into(),
        ..Limits::default()
    }
}

fn access() -> Access {
    Access {
        limits: short(),
        ..Access::new(http(None))
    }
}

fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}

const OVER: &str = "it took longer than 50 ms altogether; look why the server is slow, or raise the time limit";

fn check(error: &ResolveError, url: &str) {
    assert!(
        matches!(
            error,
            ResolveError::Transport(TransportError::Limit {
                source: LimitExceeded::Time { .. },
                ..
            })
        ),
        "{error:?}"
    );
    assert!(error.is_retryable());
    let source = error.source().expect("a cause").to_string();
    assert_eq!(
        (error.to_string(), source),
        (format!("gave up on {url}"), OVER.to_owned())
    );
}

#[test]
fn a_git_server_that_says_nothing_is_given_up_when_the_time_is_over() {
    for scheme in ["http", "git"] {
        let server = silent();
        let url = format!("{scheme}://{}/r.git", server.address);
        let source = GitSource::new(&url, "main").with_sub_path("app");
        check(&resolve_git(&source, &access()).expect_err("no answer"), &url);
        let scratch = tempfile::tempdir().expect("a directory");
        check(
            &resolve_git_with_tree(&source, &access(), scratch.path()).expect_err("no answer"),
            &url,
        );
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch_git(&ResolvedGit::unasked(&source), dir.path(), &access(), &mut |_| ()).expect_err("none");
        assert!(
            matches!(&error, FetchError::TooLarge { .. }) && error.is_retryable(),
            "{error:?}"
        );
        assert_eq!(words(&error), format!("{url} is not fetched: {OVER}"));
    }
}

#[test]
fn an_ssh_program_that_says_nothing_is_ended_when_the_time_is_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("ssh");
    let started = dir.path().join("started");
    let made = std::process::Command::new("mkfifo").arg(&started).status();
    assert!(made.expect("mkfifo runs").success());
    let script = format!("#!/bin/sh\necho $$ > {}\nexec sleep 1000\n", started.display());
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    let secret = KubernetesSecret::new("key", "kubernetes.io/ssh-auth")
        .with_annotation("kpack.io/git", "git.example.com")
        .with_data("ssh-privatekey", "no key");
    // The time is over as soon as the program runs.
    let clock = Arc::new(Settable::default());
    let access = Access {
        limits: Limits {
            time: Duration::from_secs(60).into(),
            ..Limits::default()
        },
        git: GitKeychain::from_secrets([&secret]),
        ssh: Some(Ssh {
            program,
            scratch: dir.path().to_owned(),
            trust_unknown_hosts: true,
        }),
        ..Access::new(http(Some(Arc::clone(&clock))))
    };
    let process = std::thread::spawn(move || {
        let process = fs::read_to_string(started).expect("the program writes into it");
        clock.0.fetch_add(61, Ordering::SeqCst);
        process
    });
    let source = GitSource::new("git@git.example.com:r.git", "main");
    let error = resolve_git(&source, &access).expect_err("no answer");
    assert!(
        words(&error).contains("it took longer than 60 seconds altogether"),
        "{}",
        words(&error)
    );
    let process = process.join().expect("it was started");
    assert!(!Path::new("/proc").join(process.trim()).exists(), "it is ended");
}

#[test]
fn an_archive_or_image_server_that_says_nothing_is_given_up_when_the_time_is_over() {
    let server = silent();
    let dir = tempfile::tempdir().expect("a directory");
    let source = BlobSource {
        url: format!("http://{}/a.zip", server.address),
        ..BlobSource::default()
    };
    let error = fetch_blob(&source, dir.path(), &access()).expect_err("no answer");
    assert!(
        matches!(&error, BlobError::TooLarge { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert!(words(&error).ends_with(OVER), "{}", words(&error));
    let client = Client::with_http(http(None), Arc::new(AnonymousKeychain));
    let image = format!("{}/a/b", server.address);
    let error = fetch_image(&image, dir.path(), &client, &short()).expect_err("no answer");
    assert!(
        matches!(&error, ImageSourceError::Limit { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert_eq!(words(&error), format!("source image {image} is not fetched: {OVER}"));
}

#[test]
fn a_cancelled_question_ends_although_the_server_says_nothing() {
    let server = silent();
    let stop = Cancellation::new();
    let access = Access {
        limits: Limits {
            cancel: stop.clone(),
            ..Limits::default()
        },
        ..Access::new(http(None))
    };
    let connected = server.connected;
    std::thread::spawn(move || {
        let stream = connected.recv();
        stop.cancel();
        drop(stream);
    });
    let source = GitSource::new(format!("http://{}/r.git", server.address), "main");
    let error = resolve_git(&source, &access).expect_err("cancelled");
    assert!(
        words(&error).ends_with(": cancelled") && !error.is_retryable(),
        "{}",
        words(&error)
    );
}

/// An access whose clock is set forward by more than it may take, as soon as `when` something happens.
fn late(when: fn(Step) -> bool) -> Access {
    let clock = Arc::new(Settable::default());
    let (set, is_set) = (Arc::clone(&clock), AtomicBool::new(false));
    let progress = Progress::new(move |step| {
        if when(step) && !is_set.swap(true, Ordering::SeqCst) {
            set.0.fetch_add(3601, Ordering::SeqCst);
        }
    });
    Access {
        limits: Limits {
            progress,
            ..Limits::default()
        },
        ..Access::new(http(Some(clock)))
    }
}

#[test]
fn receiving_indexing_and_writing_end_when_the_time_is_over() {
    let server = GitServer::start().expect("git serves");
    let repository = server.create_repository("sample").expect("a repository");
    repository
        .commit(&[("app/a", "a\n"), ("b", "b\n"), ("c", "c\n")], "one")
        .expect("a commit");
    let source = GitSource::new(server.url("sample"), "main").with_sub_path("app");
    let moments: [fn(Step) -> bool; 3] = [
        |step| matches!(step, Step::Received { .. }),
        |step| matches!(step, Step::Objects { .. }),
        |step| matches!(step, Step::Written { .. }),
    ];
    for (number, moment) in moments.into_iter().enumerate() {
        let found = ResolvedGit::unasked(&source);
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch_git(&found, dir.path(), &late(moment), &mut |_| ()).expect_err("the time is over");
        let scratch = tempfile::tempdir().expect("a directory");
        let part = tempfile::tempdir().expect("a directory");
        let other = fetch_git_sub_path(&found, part.path(), &late(moment), scratch.path());
        for error in [error, other.expect_err("the time is over")] {
            assert!(
                words(&error).contains("it took longer than 3600 seconds altogether"),
                "{number}: {}",
                words(&error)
            );
        }
    }
}

#[test]
fn the_time_of_a_question_begins_with_it_although_the_connection_is_an_old_one() {
    let server = GitServer::start().expect("git serves");
    let repository = server.create_repository("sample").expect("a repository");
    repository.commit(&[("app/a", "a\n")], "one").expect("a commit");
    let clock = Arc::new(Settable::default());
    let access = Access::new(http(Some(Arc::clone(&clock))));
    let mirrors = tempfile::tempdir().expect("a directory");
    let resolver = Resolver::new(mirrors.path().to_owned(), Duration::ZERO);
    let source = GitSource::new(server.url("sample"), "main").with_sub_path("app");
    for content in ["b\n", "c\n", "d\n"] {
        let id = repository.commit(&[("app/a", content)], "more").expect("a commit");
        let found = resolver
            .resolve(&source, &access, std::time::Instant::now())
            .expect("in time");
        assert_eq!(found.revision, id);
        clock.0.fetch_add(5000, Ordering::SeqCst);
    }
}

//! Servers that others wrote, whose connections break and whose answers are refusals.

mod support;

use std::{
    error::Error,
    fs,
    io::Write as _,
    sync::{Arc, Mutex},
};

use registry_auth::{AnonymousKeychain, KubernetesSecret, Reference};
use registry_client::{Client, Http, HttpPolicy, RetryPolicy};
use source_fetch::{
    Access, BlobSource, FetchError, GitKeychain, GitSource, Limits, LocalImage, LocalOptions, Progress, ResolveError,
    ResolvedGit, RevisionKind, Step, TransportError, fetch_blob, fetch_git, fetch_image, resolve_git,
    resolve_git_with_tree,
};
use support::file_server::file_server;
use test_support::{Fault, FaultProxy, GitServer, Registry, Rule};

fn access() -> Access {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    Access::new(Http::new(&policy).expect("the policy is valid"))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Bytes that don't get smaller.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| byte()).collect()
}

#[test]
fn a_file_server_with_ranges_is_asked_for_the_rest_of_a_broken_download() {
    let root = tempfile::tempdir().expect("a directory");
    let content = noise(300_000);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("data", zip::write::SimpleFileOptions::default())
        .expect("a file");
    zip.write_all(&content).expect("written");
    fs::write(root.path().join("a.zip"), zip.finish().expect("finished").into_inner()).expect("written");
    let (_server, port) = file_server(root.path());
    let proxy = FaultProxy::start(&format!("127.0.0.1:{port}")).expect("a proxy");
    for cut in [100_000, 50_000] {
        proxy.inject(Rule::new(Fault::CutAnswer(cut), |_| true).times(1));
    }
    let steps: Arc<Mutex<Vec<Step>>> = Arc::default();
    let seen = Arc::clone(&steps);
    let mut access = access();
    access.limits.progress = Progress::new(move |step| seen.lock().expect("a lock").push(step));
    let source = BlobSource {
        url: format!("http://{}/a.zip", proxy.host()),
        ..BlobSource::default()
    };
    let dir = tempfile::tempdir().expect("a directory");
    fetch_blob(&source, dir.path(), &access).expect("the rest is asked for");
    assert!(fs::read(dir.path().join("data")).expect("there") == content);
    let requests = proxy.requests();
    assert_eq!(requests.len(), 3, "two of them broke off");
    assert!(requests[1].header("range").is_some() && requests[2].header("range").is_some());
    // Whoever watches sees it grow to the end.
    let steps = steps.lock().expect("a lock");
    let received: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Received { bytes, of: Some(of) } => Some((*bytes, *of)),
            _ => None,
        })
        .collect();
    assert!(
        received.is_sorted() && received.last().is_some_and(|(bytes, of)| bytes == of),
        "{received:?}"
    );
    assert!(matches!(
        steps.last(),
        Some(Step::Written {
            entries: 1,
            bytes: 300_000
        })
    ));
}

#[test]
fn a_registry_is_asked_for_the_rest_of_a_broken_layer() {
    let registry = Registry::start().expect("a registry");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("a client");
    let local = tempfile::tempdir().expect("a directory");
    fs::write(local.path().join("data"), noise(300_000)).expect("written");
    let image = LocalImage::pack(local.path(), &LocalOptions::default(), &std::env::temp_dir()).expect("packed");
    let destination = Reference::parse(&format!("{}/team/source", registry.host())).expect("valid");
    image.push(&client, &destination, &["latest"]).expect("pushed");
    let proxy = FaultProxy::start(&registry.host()).expect("a proxy");
    proxy.inject(Rule::new(Fault::CutAnswer(100_000), |request| request.target.contains("/blobs/")).times(1));
    let dir = tempfile::tempdir().expect("a directory");
    let name = format!("{}/team/source", proxy.host());
    fetch_image(&name, dir.path(), &client, &Limits::default()).expect("the rest is asked for");
    assert!(fs::read(dir.path().join("data")).expect("there") == noise(300_000));
}

/// A repository with one commit, and its server.
fn served() -> (GitServer, String) {
    let server = GitServer::with_basic_auth("dev", "s3cret").expect("git serves");
    let repository = server.create_repository("sample").expect("a repository");
    server.create_repository("empty").expect("a repository");
    let text: String = noise(100_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let id = repository
        .commit(&[("app/f", "x"), ("large", &text)], "one")
        .expect("a commit");
    (server, id)
}

fn with_password(host: &str, password: &str) -> Access {
    let secret = KubernetesSecret::new("creds", "kubernetes.io/basic-auth")
        .with_annotation("kpack.io/git", format!("http://{host}"))
        .with_data("username", "dev")
        .with_data("password", password);
    Access {
        git: GitKeychain::from_secrets([&secret]),
        ..access()
    }
}

#[test]
fn a_wrong_password_is_told_by_its_secret_and_never_shown() {
    let (server, _) = served();
    let source = GitSource::new(server.url("sample"), "main");
    let error = resolve_git(&source, &with_password(&server.host(), "wr0ng")).expect_err("refused");
    let text = format!("{} {error:?}", chain(&error));
    assert!(
        matches!(error, ResolveError::Transport(TransportError::Unauthorized { .. })),
        "{text}"
    );
    assert!(
        text.contains(&server.url("sample")) && text.contains("secret creds"),
        "{text}"
    );
    assert!(!error.is_retryable() && !text.contains("wr0ng"), "{text}");
    // A password in the url itself is masked wherever the url is shown.
    let url = format!("http://dev:wr0ng@{}/sample", server.host());
    let error = resolve_git(&GitSource::new(&url, "main"), &access()).expect_err("refused");
    let text = format!("{} {error:?}", chain(&error));
    assert!(
        text.contains("dev:***@") && text.contains("the user of the url") && !text.contains("wr0ng"),
        "{text}"
    );
    let url = url.replace("wr0ng", "s3cret");
    resolve_git(&GitSource::new(&url, "main"), &access()).expect("the password of the url is right");
}

#[test]
fn an_unknown_branch_and_an_empty_repository_are_errors_that_say_what_to_check() {
    let (server, _) = served();
    let access = with_password(&server.host(), "s3cret");
    let fetch = |name: &str, revision: &str| {
        let source = GitSource::new(server.url(name), revision);
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch_git(&ResolvedGit::unasked(&source), dir.path(), &access, &mut |_| ());
        error.expect_err("there is no such thing")
    };
    for (name, revision) in [("sample", "nope"), ("empty", "main"), ("empty", "HEAD")] {
        let error = fetch(name, revision);
        assert!(matches!(error, FetchError::NoSuchRevision { .. }), "{error:?}");
        let text = chain(&error);
        assert!(
            text.contains(&server.url(name)) && text.contains(revision) && text.contains("check"),
            "{text}"
        );
        assert!(!error.is_retryable());
    }
    let found = resolve_git(&GitSource::new(server.url("empty"), "main"), &access).expect("it is no error yet");
    assert_eq!(found.kind, RevisionKind::Unknown);
}

#[test]
fn connections_that_are_cut_are_errors_that_may_pass() {
    let (server, id) = served();
    let access = with_password("127.0.0.1:1", "s3cret");
    for (path, cut) in [
        ("/info/refs", 40),
        ("/git-upload-pack", 10),
        ("/git-upload-pack", 5_000),
    ] {
        let proxy = FaultProxy::start(&server.host()).expect("a proxy");
        proxy.inject(Rule::new(Fault::CutAnswer(cut), move |request| {
            request.target.contains(path)
        }));
        let url = format!("http://dev:s3cret@{}/sample", proxy.host());
        let dir = tempfile::tempdir().expect("a directory");
        let source = ResolvedGit::unasked(&GitSource::new(&url, &id));
        let error = fetch_git(&source, dir.path(), &access, &mut |_| ()).expect_err("cut");
        let text = chain(&error);
        assert!(error.is_retryable(), "{path} {cut}: {error:?}");
        assert!(text.contains(&proxy.host()) && !text.contains("s3cret"), "{text}");
        assert!(proxy.suffered() > 0);
        // Nothing of a file that was not received whole is there.
        assert!(!dir.path().join("large").exists());
    }
}

#[test]
fn a_connection_that_is_cut_while_trees_come_is_not_asked_for_them_in_other_ways() {
    let (server, _) = served();
    let proxy = FaultProxy::start(&server.host()).expect("a proxy");
    proxy.inject(Rule::new(Fault::CutAnswer(5_000), |request| {
        request.target.contains("/git-upload-pack")
    }));
    let url = format!("http://dev:s3cret@{}/sample", proxy.host());
    let source = GitSource::new(&url, "main").with_sub_path("app");
    let scratch = tempfile::tempdir().expect("a directory");
    let error = resolve_git_with_tree(&source, &access(), scratch.path()).expect_err("cut");
    assert!(error.is_retryable(), "{error:?}");
    let posts = proxy
        .requests()
        .iter()
        .filter(|request| request.target.contains("/git-upload-pack"))
        .count();
    assert_eq!(posts, 2, "one for the listing and one for the trees");
}

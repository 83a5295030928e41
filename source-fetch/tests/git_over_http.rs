//! Resolving and fetching from a real git server.

use std::{fs, os::unix::fs::PermissionsExt as _};

use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy};
use source_fetch::{
    Access, FetchError, GitKeychain, GitSource, Limits, ResolveError, RevisionKind, TransportError, fetch_git,
    resolve_git,
};
use test_support::{GitRepository, GitServer};

fn access() -> Access {
    Access::new(Http::new(&HttpPolicy::default()).expect("the default policy is valid"))
}

fn with(git: GitKeychain) -> Access {
    Access { git, ..access() }
}

fn sample(server: &GitServer) -> (GitRepository, String) {
    let repository = server.create_repository("sample").expect("a repository is made");
    let work = repository.work();
    fs::create_dir_all(work.join("app/bin")).expect("a directory is made");
    fs::write(work.join("app/bin/run"), "#!/bin/sh\n").expect("a file is written");
    fs::set_permissions(work.join("app/bin/run"), fs::Permissions::from_mode(0o755)).expect("the mode is set");
    std::os::unix::fs::symlink("bin/run", work.join("app/link")).expect("a link is made");
    let id = repository
        .commit(&[("app/app.py", "print()\n"), ("docs/a.md", "a\n")], "one")
        .expect("a commit");
    (repository, id)
}

fn resolve(url: &str, revision: &str) -> Result<(String, RevisionKind), ResolveError> {
    let source = GitSource::new(url, revision);
    resolve_git(&source, &access()).map(|resolved| (resolved.revision, resolved.kind))
}

#[test]
fn branches_tags_commits_full_names_and_head_are_resolved() {
    let server = GitServer::start().expect("git serves");
    let (repository, id) = sample(&server);
    repository.git(&["tag", "v1"]).expect("a tag");
    repository
        .git(&["tag", "-a", "-m", "two", "v2"])
        .expect("an annotated tag");
    repository
        .git(&["push", "--quiet", "--tags", "origin"])
        .expect("tags are pushed");
    let tag_object = repository.git(&["rev-parse", "v2"]).expect("the tag object");
    let url = server.url("sample");
    let same = |revision: &str| resolve(&url, revision).expect(revision);
    assert_eq!(same("main"), (id.clone(), RevisionKind::Branch));
    assert_eq!(same("refs/heads/main"), (id.clone(), RevisionKind::Branch));
    assert_eq!(same("HEAD"), (id.clone(), RevisionKind::Branch));
    assert_eq!(same("v1"), (id.clone(), RevisionKind::Tag));
    assert_eq!(same("v2"), (tag_object, RevisionKind::Tag));
    assert_eq!(same("nope"), ("nope".to_owned(), RevisionKind::Commit));
    let before = server.requests();
    assert_eq!(same(&id), (id.clone(), RevisionKind::Commit));
    assert_eq!(server.requests(), before, "a commit id needs no server");
}

// row 10.5/S7
#[test]
fn a_commit_is_fetched_without_history_with_modes_and_links() {
    let server = GitServer::start().expect("git serves");
    let (repository, _) = sample(&server);
    let id = repository
        .commit(&[("app/app.py", "print(2)\n")], "two")
        .expect("a commit");
    let source = GitSource::new(server.url("sample"), "main").with_sub_path("app");
    let resolved = resolve_git(&source, &access()).expect("main exists");
    let target = tempfile::tempdir().expect("a directory");
    let fetched = fetch_git(&resolved, target.path(), &access(), &mut |_| ());
    let fetched = fetched.expect("the commit is fetched");
    assert_eq!(fetched.commit, id);
    assert_eq!(fetched.tree, repository.git(&["rev-parse", "HEAD:app"]).ok());
    let read = |path: &str| fs::read_to_string(target.path().join(path)).expect(path);
    assert_eq!(read("app/app.py"), "print(2)\n");
    assert_eq!(read("docs/a.md"), "a\n");
    let mode = fs::metadata(target.path().join("app/bin/run"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111);
    assert_eq!(
        fs::read_link(target.path().join("app/link"))
            .expect("a link")
            .to_string_lossy(),
        "bin/run"
    );
    // Git itself agrees that nothing differs and that there is one commit.
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(target.path())
            .args(arguments)
            .output()
            .expect("git runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert_eq!(git(&["rev-list", "--count", "HEAD"]), "1");
    let hooks = fs::read_dir(target.path().join(".git/hooks"))
        .into_iter()
        .flatten()
        .flatten();
    for hook in hooks {
        assert!(
            hook.file_name().to_string_lossy().ends_with(".sample"),
            "{hook:?} could run"
        );
    }
}

#[test]
fn an_annotated_tag_is_fetched_as_its_commit() {
    let server = GitServer::start().expect("git serves");
    let (repository, id) = sample(&server);
    repository.git(&["tag", "-a", "-m", "one", "v1"]).expect("a tag");
    repository
        .git(&["tag", "-a", "-m", "two", "v2", "v1"])
        .expect("a tag of a tag");
    repository
        .git(&["push", "--quiet", "--tags", "origin"])
        .expect("tags are pushed");
    let resolved = resolve_git(&GitSource::new(server.url("sample"), "v2"), &access()).expect("v2");
    let target = tempfile::tempdir().expect("a directory");
    let fetched = fetch_git(&resolved, target.path(), &access(), &mut |_| ()).expect("v2");
    assert_eq!(fetched.commit, id);
}

fn fetch_error(url: &str, revision: &str, sub_path: &str, limits: &Limits) -> FetchError {
    let source = GitSource::new(url, revision).with_sub_path(sub_path);
    let resolved = resolve_git(&source, &access()).expect("it resolves");
    let target = tempfile::tempdir().expect("a directory");
    {
        let access = Access {
            limits: limits.clone(),
            ..access()
        };
        fetch_git(&resolved, target.path(), &access, &mut |_| ())
    }
    .expect_err("it must fail")
}

#[test]
fn what_is_not_there_is_named() {
    let server = GitServer::start().expect("git serves");
    let (_repository, id) = sample(&server);
    let url = server.url("sample");
    let error = fetch_error(&url, "nope", "", &Limits::default());
    assert!(
        matches!(&error, FetchError::NoSuchRevision { revision, .. } if revision == "nope"),
        "{error}"
    );
    let error = fetch_error(&url, &"1".repeat(40), "", &Limits::default());
    assert!(matches!(&error, FetchError::NoSuchRevision { .. }), "{error}");
    let error = fetch_error(&url, &id, "no/such", &Limits::default());
    assert!(
        matches!(&error, FetchError::NoSuchSubPath { sub_path, .. } if sub_path == "no/such"),
        "{error}"
    );
    let error = fetch_error(&url, &id, "app/link", &Limits::default());
    assert!(
        matches!(&error, FetchError::NoSuchSubPath { .. }),
        "a link to a file is no directory: {error}"
    );
    let error = fetch_error(&url, &id, "../x", &Limits::default());
    assert!(matches!(&error, FetchError::SubPath(_)), "{error}");
    let error = resolve(&server.url("other"), "main").expect_err("no such repository");
    assert!(
        matches!(&error, ResolveError::Transport(TransportError::NotFound { .. })),
        "{error}"
    );
}

#[test]
fn limits_and_cancellation_end_a_fetch() {
    let server = GitServer::start().expect("git serves");
    let (_repository, id) = sample(&server);
    let url = server.url("sample");
    for limits in [
        Limits {
            download: 10,
            ..Limits::default()
        },
        Limits {
            unpacked: 3,
            ..Limits::default()
        },
        Limits {
            entries: 2,
            ..Limits::default()
        },
        Limits {
            path: 4,
            ..Limits::default()
        },
    ] {
        let error = fetch_error(&url, &id, "", &limits);
        assert!(matches!(&error, FetchError::TooLarge { .. }), "{error}");
    }
    let cancelled = Limits::default();
    cancelled.cancel.cancel();
    assert!(matches!(
        fetch_error(&url, &id, "", &cancelled),
        FetchError::TooLarge { .. }
    ));
}

#[test]
fn a_secret_opens_its_server_and_no_other() {
    let server = GitServer::with_basic_auth("dev", "s3cret").expect("git serves");
    let (_repository, id) = sample(&server);
    let secret = |host: String| {
        KubernetesSecret::new("creds", "kubernetes.io/basic-auth")
            .with_annotation("kpack.io/git", host)
            .with_data("username", "dev")
            .with_data("password", "s3cret")
    };
    let source = GitSource::new(server.url("sample"), "main");
    let right = GitKeychain::from_secrets([&secret(format!("http://{}", server.host()))]);
    assert_eq!(
        resolve_git(&source, &with(right)).expect("the secret fits").revision,
        id
    );
    let wrong = GitKeychain::from_secrets([&secret("http://elsewhere.example".to_owned())]);
    let error = resolve_git(&source, &with(wrong)).expect_err("no secret fits");
    assert!(
        matches!(&error, ResolveError::Transport(TransportError::Unauthorized { .. })),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

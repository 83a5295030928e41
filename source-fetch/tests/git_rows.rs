//! The rows of the reference's table about git sources, one rule a test.

use std::fs;

use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy, RetryPolicy};
use source_fetch::{
    Access, Fetched, GitCredential, GitKeychain, GitSource, GitUrl, ResolvedGit, RevisionKind, Source, fetch,
    resolve_git, resolve_git_with_tree,
};
use test_support::{GitRepository, GitServer};

fn access() -> Access {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    Access::new(Http::new(&policy).expect("the policy is valid"))
}

/// A repository with a commit that no ref names any more, a branch in front of it, and an annotated tag of that.
struct Sample {
    server: GitServer,
    repository: GitRepository,
    earlier: String,
    head: String,
    tag: String,
}

impl Sample {
    fn new() -> Self {
        let server = GitServer::start().expect("git serves");
        let repository = server.create_repository("sample").expect("a repository");
        let earlier = repository.commit(&[("go/main.go", "package main\n")], "one");
        let head = repository.commit(&[("go/main.go", "package main // two\n"), ("README", "r\n")], "two");
        repository
            .git(&["tag", "-a", "-m", "v1", "v1"])
            .expect("an annotated tag");
        repository
            .git(&["push", "--quiet", "--tags", "origin"])
            .expect("tags are pushed");
        let tag = repository.git(&["rev-parse", "v1"]).expect("the tag");
        Self {
            server,
            earlier: earlier.expect("a commit"),
            head: head.expect("a commit"),
            tag,
            repository,
        }
    }

    fn source(&self, revision: &str) -> GitSource {
        GitSource::new(self.server.url("sample"), revision)
    }

    /// Kind, revision and tree of the sub path.
    fn with_tree(&self, revision: &str, sub_path: &str) -> (RevisionKind, String, Option<String>) {
        let scratch = tempfile::tempdir().expect("a directory");
        let source = self.source(revision).with_sub_path(sub_path);
        let found = resolve_git_with_tree(&source, &access(), scratch.path()).expect("it is there");
        (found.kind, found.revision, found.tree)
    }

    fn tree_of_go(&self, commit: &str) -> Option<String> {
        Some(
            self.repository
                .git(&["rev-parse", &format!("{commit}:go")])
                .expect("a tree"),
        )
    }
}

// row 10.5/S1
#[test]
fn a_commit_behind_the_heads_is_that_commit() {
    let sample = Sample::new();
    let found = resolve_git(&sample.source(&sample.earlier), &access()).expect("it needs no server");
    assert_eq!((found.kind, &found.revision), (RevisionKind::Commit, &sample.earlier));
    let (kind, revision, tree) = sample.with_tree(&sample.earlier, "none");
    assert_eq!((kind, &revision, tree), (RevisionKind::Commit, &sample.earlier, None));
}

// row 10.5/S2
#[test]
fn a_branch_is_its_newest_commit() {
    let sample = Sample::new();
    let found = resolve_git(&sample.source("main"), &access()).expect("it is there");
    assert_eq!((found.kind, &found.revision), (RevisionKind::Branch, &sample.head));
    let expected = (RevisionKind::Branch, sample.head.clone(), sample.tree_of_go("main"));
    assert_eq!(sample.with_tree("main", "go"), expected);
}

// row 10.5/S3
#[test]
fn an_annotated_tag_is_the_tag_and_not_its_commit() {
    let sample = Sample::new();
    assert_ne!(sample.tag, sample.head);
    let found = resolve_git(&sample.source("v1"), &access()).expect("it is there");
    assert_eq!((found.kind, &found.revision), (RevisionKind::Tag, &sample.tag));
    let expected = (RevisionKind::Tag, sample.tag.clone(), sample.tree_of_go("v1"));
    assert_eq!(sample.with_tree("v1", "go"), expected);
}

// The controller goes on with what `unasked` gives.
// row 10.5/S4
#[test]
fn of_a_server_that_cannot_be_asked_the_revision_is_known_as_it_was_given() {
    let server = GitServer::with_basic_auth("dev", "right").expect("git serves");
    let repository = server.create_repository("sample").expect("a repository");
    repository.commit(&[("a", "a")], "one").expect("a commit");
    let secret = KubernetesSecret::new("creds", "kubernetes.io/basic-auth")
        .with_annotation("kpack.io/git", format!("http://{}", server.host()))
        .with_data("username", "dev")
        .with_data("password", "wrong");
    let refused = Access {
        git: GitKeychain::from_secrets([&secret]),
        ..access()
    };
    let scratch = tempfile::tempdir().expect("a directory");
    for url in [server.url("sample"), "http://127.0.0.1:1/x.git".to_owned()] {
        let source = GitSource::new(&url, "main");
        assert!(resolve_git(&source, &refused).is_err(), "{url}");
        assert!(
            resolve_git_with_tree(&source, &refused, scratch.path()).is_err(),
            "{url}"
        );
        let unasked = ResolvedGit::unasked(&source);
        assert_eq!(
            (unasked.kind, unasked.revision.as_str()),
            (RevisionKind::Unknown, "main")
        );
    }
}

// row 10.5/S5
#[test]
fn what_was_fetched_is_told_with_what_was_asked_for() {
    let sample = Sample::new();
    sample.repository.git(&["tag", "light"]).expect("a tag");
    let pushed = sample.repository.git(&["push", "--quiet", "--tags", "origin"]);
    pushed.expect("tags are pushed");
    // Of an annotated tag it is the tag that is told, as recorded, though its commit is what is checked out.
    let head = &sample.head;
    for (revision, told) in [("main", head), ("light", head), (head, head), ("v1", &sample.tag)] {
        let dir = tempfile::tempdir().expect("a directory");
        let fetched = fetch(
            &Source::Git(sample.source(revision)),
            dir.path(),
            &access(),
            &mut |_| (),
        );
        let fetched: Fetched = fetched.expect("it is there");
        let url = sample.server.url("sample");
        let expected = format!(
            "[source]\n  type = \"git\"\n  [source.metadata]\n    repository = \"{url}\"\n    revision = \"{revision}\"\n  \
             [source.version]\n    commit = \"{told}\"\n"
        );
        assert_eq!(fetched.project_metadata(), expected);
        assert_eq!(fs::read_to_string(dir.path().join("README")).expect("a file"), "r\n");
    }
}

// row 10.5/S6
#[test]
fn a_revision_that_is_not_there_is_named() {
    let sample = Sample::new();
    let dir = tempfile::tempdir().expect("a directory");
    let error = fetch(
        &Source::Git(sample.source("no-such-ref")),
        dir.path(),
        &access(),
        &mut |_| (),
    );
    let text = error.expect_err("it is not there").to_string();
    assert!(text.contains("no-such-ref"), "{text}");
}

fn basic(name: &str, annotation: &str, user: &str) -> KubernetesSecret {
    KubernetesSecret::new(name, "kubernetes.io/basic-auth")
        .with_annotation("kpack.io/git", annotation)
        .with_data("username", user)
        .with_data("password", "p")
}

fn ssh(name: &str, annotation: &str, key: &str) -> KubernetesSecret {
    KubernetesSecret::new(name, "kubernetes.io/ssh-auth")
        .with_annotation("kpack.io/git", annotation)
        .with_data("ssh-privatekey", key)
}

/// Whose credential a url gets: the user's or the key.
fn chosen(secrets: &[KubernetesSecret], url: &str) -> Option<String> {
    let url: GitUrl = url.parse().expect("a url");
    let keychain = GitKeychain::from_secrets(secrets);
    let (_, credential) = keychain.find(&url)?;
    Some(match credential {
        GitCredential::Basic { user, .. } => user.clone(),
        GitCredential::SshKey { private_key, .. } => private_key.expose().to_owned(),
        _ => return None,
    })
}

// rows 10.5/K1 10.5/K2
#[test]
fn of_two_secrets_for_a_host_the_first_by_name_is_taken() {
    let host = "https://github.example";
    let both = [basic("zebra", host, "last"), basic("ant", host, "first")];
    assert_eq!(
        chosen(&both, "https://github.example/org/repo").as_deref(),
        Some("first")
    );
    let both = [
        ssh("zebra", "git@github.example", "last"),
        ssh("ant", "git@github.example", "first"),
    ];
    assert_eq!(chosen(&both, "git@github.example:org/repo").as_deref(), Some("first"));
}

// row 10.5/K3
#[test]
fn the_url_says_which_kind_of_secret_serves_it() {
    let both = [
        ssh("ant", "https://github.example", "key"),
        basic("zebra", "https://github.example", "user"),
    ];
    assert_eq!(
        chosen(&both, "https://github.example/org/repo").as_deref(),
        Some("user")
    );
    assert_eq!(
        chosen(&both, "ssh://git@github.example/org/repo").as_deref(),
        Some("key")
    );
}

// rows 10.5/K4 10.5/K5 10.5/K6
#[test]
fn a_host_is_enough_to_match_and_the_scheme_does_not_count() {
    let bare = [basic("bare", "github.example", "user")];
    assert_eq!(
        chosen(&bare, "https://github.example/org/repo").as_deref(),
        Some("user")
    );
    let key = [ssh("key", "https://bitbucket.example", "key")];
    assert_eq!(chosen(&key, "git@bitbucket.example:org/repo").as_deref(), Some("key"));
    assert_eq!(chosen(&bare, "https://other.example/org/repo"), None);
    assert_eq!(chosen(&key, "https://bitbucket.example/org/repo"), None);
}

// row 10.5/S8
#[test]
fn submodules_are_there_where_they_are_asked_for() {
    let sample = Sample::new();
    let library = sample.server.create_repository("library").expect("a repository");
    library.commit(&[("lib.go", "package lib\n")], "one").expect("a commit");
    let url = sample.server.url("library");
    sample
        .repository
        .git(&["submodule", "add", "--quiet", &url, "vendor/lib"])
        .expect("a submodule");
    sample
        .repository
        .commit(&[("README", "three\n")], "three")
        .expect("a commit");
    for (source, there) in [
        (sample.source("main").with_submodules(), true),
        (sample.source("main"), false),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let fetched = fetch(&Source::Git(source), dir.path(), &access(), &mut |_| ());
        fetched.expect("it is there");
        assert_eq!(dir.path().join("vendor/lib/lib.go").is_file(), there);
        assert!(dir.path().join(".gitmodules").is_file());
    }
}

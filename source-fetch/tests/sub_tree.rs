//! What the tree id of a sub path costs.

mod support;

use std::{fs, path::Path, process::Command};

use registry_client::{Http, HttpPolicy};
use source_fetch::{Access, FetchError, GitSource, ResolvedGit, fetch_git_sub_path, resolve_git_with_tree};
use support::repositories::Server;

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=A", "-c", "user.email=a@x"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository of 1,500 files with little in common.
fn serve(options: &[(&str, &str)]) -> (Server, String) {
    let server = Server::start(true);
    let work = tempfile::tempdir().expect("a directory");
    git(work.path(), &["init", "--quiet", "--initial-branch=main"]);
    let mut state = 1_u64;
    for number in 0..1500 {
        let dir = work.path().join(format!("services/s{}/src", number % 50));
        fs::create_dir_all(&dir).expect("made");
        let mut text = String::new();
        for _ in 0..50 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(&format!("{state:x}\n"));
        }
        fs::write(dir.join(format!("f{number}.txt")), text).expect("written");
    }
    git(work.path(), &["add", "--all"]);
    git(work.path(), &["commit", "--quiet", "--message", "m"]);
    let tree = git(work.path(), &["rev-parse", "HEAD:services/s7"]);
    let bare = server.root.path().join("r.git");
    git(
        work.path(),
        &["clone", "--quiet", "--bare", ".", bare.to_str().expect("text")],
    );
    for (key, value) in options {
        git(&bare, &["config", key, value]);
    }
    (server, tree)
}

/// Requests and bytes of resolving with a tree, which must be right.
fn cost(options: &[(&str, &str)]) -> (usize, u64) {
    let (server, tree) = serve(options);
    let source = GitSource::new(format!("{}/r.git", server.url()), "main").with_sub_path("services/s7");
    let access = Access::new(Http::new(&HttpPolicy::default()).expect("valid"));
    let scratch = tempfile::tempdir().expect("a directory");
    let found = resolve_git_with_tree(&source, &access, scratch.path()).expect("it resolves");
    assert_eq!(found.tree, Some(tree));
    assert_eq!(
        fs::read_dir(scratch.path()).expect("readable").count(),
        0,
        "nothing stays behind"
    );
    let requests = server.seen.lock().expect("a lock").len();
    (requests, *server.sent.lock().expect("a lock"))
}

#[test]
fn three_requests_and_kilobytes_where_the_server_can_leave_objects_out() {
    let (requests, bytes) = cost(&[("uploadpack.allowFilter", "true")]);
    assert!(requests == 3 && bytes < 8_000, "{requests} requests, {bytes} bytes");
}

#[test]
fn a_server_that_refuses_one_filter_is_asked_with_another() {
    let options = [
        ("uploadpack.allowFilter", "true"),
        ("uploadpackfilter.allow", "false"),
        ("uploadpackfilter.blob:none.allow", "true"),
    ];
    let (requests, bytes) = cost(&options);
    assert!(requests <= 6 && bytes < 150_000, "{requests} requests, {bytes} bytes");
}

/// Bytes of fetching a sub path, whose files must be right.
fn fetched(options: &[(&str, &str)]) -> u64 {
    let (server, tree) = serve(options);
    let access = Access::new(Http::new(&HttpPolicy::default()).expect("valid"));
    let fetch = |sub_path: &str, dir: &Path| {
        let source = GitSource::new(format!("{}/r.git", server.url()), "main").with_sub_path(sub_path);
        let scratch = tempfile::tempdir().expect("a directory");
        let fetched = fetch_git_sub_path(&ResolvedGit::unasked(&source), dir, &access, scratch.path());
        let left = fs::read_dir(scratch.path()).expect("readable").count();
        assert_eq!(left, 0, "nothing stays behind");
        fetched
    };
    let (ours, theirs) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let found = fetch("services/s7", ours.path()).expect("fetched");
    assert_eq!(found.tree, Some(tree.clone()));
    let bytes = *server.sent.lock().expect("a lock");
    let bare = server.root.path().join("r.git");
    git(
        &bare,
        &[
            "-c",
            "tar.umask=0022",
            "archive",
            "--output",
            theirs.path().join("a.tar").to_str().expect("text"),
            "HEAD",
            "services/s7",
        ],
    );
    let status = Command::new("tar")
        .args(["xf", "a.tar"])
        .current_dir(theirs.path())
        .status();
    assert!(status.expect("tar runs").success());
    fs::remove_file(theirs.path().join("a.tar")).expect("removed");
    let count = support::tree_of(ours.path()).len();
    assert!(count > 30 && support::tree_of(ours.path()) == support::tree_of(theirs.path()));
    for sub_path in ["services/none", "services/s7/src/f7.txt"] {
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch(sub_path, dir.path()).expect_err("no such directory");
        assert!(matches!(error, FetchError::NoSuchSubPath { .. }), "{sub_path}: {error}");
    }
    bytes
}

#[test]
fn a_sub_path_is_fetched_without_what_is_beside_it_where_the_server_can_leave_it_out() {
    let bytes = fetched(&[("uploadpack.allowFilter", "true")]);
    assert!(bytes < 60_000, "{bytes} bytes");
}

#[test]
fn a_sub_path_of_a_server_without_filters_is_cut_out_of_the_whole() {
    let bytes = fetched(&[]);
    assert!(bytes > 500_000, "{bytes} bytes");
}

#[test]
fn a_server_without_filters_gives_one_commit_and_no_history() {
    let (requests, _) = cost(&[]);
    assert_eq!(requests, 3);
}

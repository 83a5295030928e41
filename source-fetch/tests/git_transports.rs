//! Git over ssh and from `git daemon`, with real servers.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use registry_client::{Http, HttpPolicy};
use source_fetch::{
    Access, GitSource, ResolveError, ResolvedGit, RevisionKind, TransportError, fetch_git, fetch_git_sub_path,
    resolve_git, resolve_git_with_tree,
};
use support::{
    file_server::file_server,
    repositories::build_all,
    sshd::{Sshd, ssh},
};
use test_support::Process;

const MAIN: &str = "3683c124f07936163b34ab49c014d3a32b1eda5a";

fn access() -> Access {
    Access::new(Http::new(&HttpPolicy::default()).expect("the default policy is valid"))
}

fn repositories() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    build_all(
        &support::recorded("source/repositories.json"),
        root.path(),
        "http://unused",
    );
    root
}

/// A git daemon for the repositories beneath `root`, and its port; its programs are those of `exec_path`.
fn daemon(root: &Path, exec_path: Option<&Path>) -> (Process, u16) {
    // Not through `git daemon`, which would leave the daemon behind when it is ended.
    let place = Command::new("git")
        .arg("--exec-path")
        .output()
        .expect("git runs")
        .stdout;
    let program = PathBuf::from(String::from_utf8(place).expect("text").trim()).join("git-daemon");
    let command = |port| {
        let mut command = Command::new(&program);
        command
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", root.display()))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs(exec_path.map(|path| ("GIT_EXEC_PATH", path)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    Process::serve(command).expect("git daemon serves")
}

/// What is at a tag and a branch, with trees and files, whatever the protocol.
fn check_all(url: &str, access: &Access) {
    let source = GitSource::new(url, "main").with_sub_path("go");
    let scratch = tempfile::tempdir().expect("a directory");
    let found = resolve_git_with_tree(&source, access, scratch.path()).expect("it resolves");
    assert_eq!((found.revision.as_str(), found.kind), (MAIN, RevisionKind::Branch));
    let dir = tempfile::tempdir().expect("a directory");
    let fetched = fetch_git(&found, dir.path(), access, &mut |_| ()).expect("it is fetched");
    assert!(dir.path().join("go/main.go").is_file());
    assert_eq!((fetched.commit.as_str(), fetched.tree), (MAIN, found.tree));
    let part = tempfile::tempdir().expect("a directory");
    fetch_git_sub_path(&ResolvedGit::unasked(&source), part.path(), access, scratch.path()).expect("it is fetched");
    assert!(part.path().join("go/main.go").is_file() && !part.path().join("bin").exists());
}

#[test]
fn servers_that_only_know_the_older_protocol_are_asked_in_it() {
    let root = repositories();
    // An sshd takes no variables unless it is told to.
    let server = Server {
        sshd: Sshd::with_options(""),
        root: repositories(),
    };
    let scratch = tempfile::tempdir().expect("a directory");
    check_all(server.source().url(), &server.access("key-a", None, scratch.path()));
    // A daemon that does not tell its programs about the version.
    let programs = tempfile::tempdir().expect("a directory");
    let (git, was_asked) = (programs.path().join("git"), programs.path().join("was-asked"));
    let path = Command::new("sh")
        .args(["-c", "command -v git"])
        .output()
        .expect("sh runs")
        .stdout;
    let script = format!(
        "#!/bin/sh\nunset GIT_PROTOCOL GIT_EXEC_PATH\n: > '{}'\nexec {} \"$@\"\n",
        was_asked.display(),
        String::from_utf8(path).expect("text").trim(),
    );
    fs::write(&git, script).expect("written");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("set");
    let (_daemon, port) = daemon(root.path(), Some(programs.path()));
    check_all(&format!("git://127.0.0.1:{port}/app.git"), &access());
    assert!(was_asked.exists());
}

#[test]
fn a_server_of_plain_files_is_refused_with_what_to_do() {
    let root = repositories();
    let bare = root.path().join("app.git");
    let status = Command::new("git")
        .arg("update-server-info")
        .current_dir(&bare)
        .status();
    assert!(status.expect("git runs").success());
    let (_server, port) = file_server(root.path());
    let url = format!("http://127.0.0.1:{port}/app.git");
    let error = resolve_git(&GitSource::new(&url, "main"), &access()).expect_err("it can't be told");
    assert_eq!(
        error.to_string(),
        format!(
            "git server of {url} answers as a server of plain files or pages does; check the url, or serve it with git \
             http-backend"
        )
    );
    assert!(!error.is_retryable());
}

#[test]
fn a_git_daemon_is_asked_and_fetched_from() {
    let root = repositories();
    let (_daemon, port) = daemon(root.path(), None);
    check_all(&format!("git://127.0.0.1:{port}/app.git"), &access());
    let none = GitSource::new(format!("git://127.0.0.1:{port}/none.git"), "main");
    let error = resolve_git(&none, &access()).expect_err("no such repository");
    assert!(
        matches!(error, ResolveError::Transport(TransportError::Protocol { .. })),
        "{error:?}"
    );
}

struct Server {
    sshd: Sshd,
    root: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        Self {
            sshd: Sshd::start(),
            root: repositories(),
        }
    }

    fn source(&self) -> GitSource {
        let (user, port) = (Sshd::user(), self.sshd.port);
        let url = format!("ssh://{user}@localhost:{port}{}/app.git", self.root.path().display());
        GitSource::new(url, "main")
    }

    fn access(&self, key: &str, known_hosts: Option<&str>, scratch: &Path) -> Access {
        Access {
            git: self.sshd.keychain(key, known_hosts),
            ssh: Some(ssh(scratch, known_hosts.is_none())),
            ..access()
        }
    }

    fn resolve(&self, key: &str, known_hosts: Option<&str>) -> Result<ResolvedGit, ResolveError> {
        let scratch = tempfile::tempdir().expect("a directory");
        let found = resolve_git(&self.source(), &self.access(key, known_hosts, scratch.path()));
        let left = fs::read_dir(scratch.path()).expect("readable").count();
        assert_eq!(left, 0, "no key stays behind");
        found
    }
}

// rows 10.5/K7 10.5/K8
#[test]
fn ssh_takes_the_key_and_the_known_hosts_of_the_secret_and_nothing_else() {
    let server = Server::start();
    assert_eq!(server.resolve("key-a", None).expect("it resolves").revision, MAIN);
    let host = server.sshd.key("host.pub");
    let known = format!("[localhost]:{} {host}", server.sshd.port);
    assert_eq!(
        server.resolve("key-a", Some(&known)).expect("it resolves").revision,
        MAIN
    );

    let error = server.resolve("key-b", None).expect_err("a wrong key");
    assert!(error.to_string().contains("Permission denied"), "{error}");
    let wrong = format!("[localhost]:{} {}", server.sshd.port, server.sshd.key("key-a.pub"));
    let error = server.resolve("key-a", Some(&wrong)).expect_err("a changed host key");
    assert!(
        error
            .to_string()
            .to_lowercase()
            .contains("host key verification failed"),
        "{error}"
    );
    let other = format!("[localhost]:1 {host}");
    let error = server.resolve("key-a", Some(&other)).expect_err("an unknown host");
    assert!(
        error
            .to_string()
            .to_lowercase()
            .contains("host key verification failed"),
        "{error}"
    );
    let error = server.resolve("key-a", Some("")).expect_err("nothing to compare with");
    assert!(error.to_string().contains("known_hosts"), "{error}");

    let scratch = tempfile::tempdir().expect("a directory");
    let access = server.access("key-a", Some(&known), scratch.path());
    let found = resolve_git(&server.source(), &access).expect("it resolves");
    let dir = tempfile::tempdir().expect("a directory");
    let fetched = fetch_git(&found, dir.path(), &access, &mut |_| ()).expect("it is fetched");
    assert_eq!(fetched.commit, MAIN);
    assert!(dir.path().join("go/main.go").is_file());
}

#[test]
fn a_local_repository_is_read_only_where_that_is_allowed() {
    let root = repositories();
    let url = format!("file://{}/app.git", root.path().display());
    let error = resolve_git(&GitSource::new(&url, "main"), &access()).expect_err("not allowed");
    assert!(
        matches!(error, ResolveError::Transport(TransportError::Unsupported { .. })),
        "{error:?}"
    );
    let allowed = Access {
        allow_file: true,
        ..access()
    };
    let path = root.path().join("app.git").display().to_string();
    for url in [url, path] {
        let found = resolve_git(&GitSource::new(&url, "v2.0.0"), &allowed).expect("it resolves");
        let dir = tempfile::tempdir().expect("a directory");
        fetch_git(&found, dir.path(), &allowed, &mut |_| ()).expect("it is fetched");
        assert!(dir.path().join("main.py").is_file());
    }
}

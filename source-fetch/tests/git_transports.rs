//! Git over ssh and from `git daemon`, with real servers.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use registry_client::{Http, HttpPolicy};
use source_fetch::{
    Access, GitSource, ResolveError, ResolvedGit, RevisionKind, TransportError, fetch_git, resolve_git,
};
use support::{
    repositories::build_all,
    sshd::{Sshd, free_port, ssh, wait_for},
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

#[test]
fn a_git_daemon_is_asked_and_fetched_from() {
    let root = repositories();
    let port = free_port();
    // Not through `git daemon`, which would leave the daemon behind when it is ended.
    let place = Command::new("git")
        .arg("--exec-path")
        .output()
        .expect("git runs")
        .stdout;
    let program = PathBuf::from(String::from_utf8(place).expect("text").trim()).join("git-daemon");
    let mut command = Command::new(program);
    command
        .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", root.path().display()))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _daemon = Process::spawn(&command).expect("git daemon starts");
    wait_for(port);
    let source = GitSource::new(format!("git://127.0.0.1:{port}/app.git"), "main");
    let found = resolve_git(&source, &access()).expect("it resolves");
    assert_eq!((found.revision.as_str(), found.kind), (MAIN, RevisionKind::Branch));
    let dir = tempfile::tempdir().expect("a directory");
    fetch_git(&found, dir.path(), &access(), &mut |_| ()).expect("it is fetched");
    assert!(dir.path().join("bin/run.sh").is_file());
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

//! Git over ssh and from `git daemon`, with real servers.

mod support;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy};
use source_fetch::{
    Access, GitKeychain, GitSource, ResolveError, ResolvedGit, RevisionKind, Ssh, TransportError, fetch_git,
    resolve_git,
};
use support::repositories::build_all;
use test_support::{Process, Program, require};

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

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn wait_for(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "no server at port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
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

/// An sshd of this test, with one user key and one host key.
struct Sshd {
    port: u16,
    root: tempfile::TempDir,
    keys: tempfile::TempDir,
    _process: Process,
}

fn make_key(path: &Path) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("ssh-keygen runs").success());
}

impl Sshd {
    fn start() -> Self {
        require(&[
            Program::new("sshd", "openssh-server"),
            Program::new("ssh", "openssh-client"),
        ])
        .expect("sshd and ssh are there");
        // Without it sshd does not start; it is empty and belongs to root.
        let _ = fs::create_dir_all("/run/sshd");
        let keys = tempfile::tempdir().expect("a directory");
        for name in ["host", "key-a", "key-b"] {
            make_key(&keys.path().join(name));
        }
        let authorized = keys.path().join("authorized");
        fs::copy(keys.path().join("key-a.pub"), &authorized).expect("copied");
        fs::set_permissions(&authorized, fs::Permissions::from_mode(0o600)).expect("the mode is set");
        let port = free_port();
        let config = keys.path().join("sshd_config");
        let lines = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n",
            keys.path().display()
        );
        fs::write(&config, lines).expect("written");
        let program = ["/usr/sbin/sshd", "/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let mut command = Command::new(program.expect("sshd is installed"));
        command
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::spawn(&command).expect("sshd starts");
        wait_for(port);
        Self {
            port,
            root: repositories(),
            keys,
            _process: process,
        }
    }

    fn key(&self, name: &str) -> String {
        fs::read_to_string(self.keys.path().join(name)).expect("a key")
    }

    fn source(&self) -> GitSource {
        let user = String::from_utf8(Command::new("id").arg("-un").output().expect("id runs").stdout).expect("text");
        let url = format!(
            "ssh://{}@localhost:{}{}/app.git",
            user.trim(),
            self.port,
            self.root.path().display()
        );
        GitSource::new(url, "main")
    }

    fn access(&self, key: &str, known_hosts: Option<&str>, scratch: &Path) -> Access {
        let mut secret = KubernetesSecret::new("s1", "kubernetes.io/ssh-auth")
            .with_annotation("kpack.io/git", format!("localhost:{}", self.port))
            .with_data("ssh-privatekey", self.key(key).trim_end());
        if let Some(known_hosts) = known_hosts {
            secret = secret.with_data("known_hosts", known_hosts);
        }
        Access {
            git: GitKeychain::from_secrets([&secret]),
            ssh: Some(Ssh {
                program: PathBuf::from("/usr/bin/ssh"),
                scratch: scratch.to_owned(),
                trust_unknown_hosts: known_hosts.is_none(),
            }),
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
    let server = Sshd::start();
    assert_eq!(server.resolve("key-a", None).expect("it resolves").revision, MAIN);
    let host = server.key("host.pub");
    let known = format!("[localhost]:{} {host}", server.port);
    assert_eq!(
        server.resolve("key-a", Some(&known)).expect("it resolves").revision,
        MAIN
    );

    let error = server.resolve("key-b", None).expect_err("a wrong key");
    assert!(error.to_string().contains("Permission denied"), "{error}");
    let wrong = format!("[localhost]:{} {}", server.port, server.key("key-a.pub"));
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

//! A store with its server, and `kubectl` with its kubeconfig.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use kpack_engine::logs::LogStore;
use kpack_engine::server::{Server, ServerOptions};
use kpack_engine::store::{Clock, Store, StoreOptions};
use kpack_engine::{Kind, Object, Resources};
use tempfile::TempDir;
use test_support::{Program, require};

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) logs: LogStore,
    server: Server,
    dir: TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        require(&[Program::new("kubectl", "kubernetes-client")]).unwrap_or_else(|error| panic!("{error}"));
        Self::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(dir: TempDir) -> Self {
        let clock: Clock = Arc::new(Timestamp::now);
        let store = Store::open(StoreOptions {
            dir: dir.path().join("store"),
            clock: clock.clone(),
        })
        .unwrap();
        for name in ["default", "kpack"] {
            let _ = store.create(Object::new(Kind::Namespace, None, name));
        }
        let logs = LogStore::open(dir.path().join("logs")).unwrap();
        let options = ServerOptions {
            dir: dir.path().join("server"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            kubeconfig: Some(dir.path().join("kubeconfig")),
        };
        let server = Server::start(&options, store.clone(), logs.clone(), clock).unwrap();
        Self {
            store,
            logs,
            server,
            dir,
        }
    }

    /// Stops everything and starts it on the same directory.
    pub(crate) fn restart(self) -> Self {
        let Self {
            store,
            logs,
            server,
            dir,
        } = self;
        store.close();
        let address = server.address();
        drop((server, store, logs));
        // Tasks of the server let go of the store and the port in a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while std::net::TcpStream::connect(address).is_ok() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self::start_in(dir)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.server.address())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.dir())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.pipe("", arguments)
    }

    /// The same with something on its standard input.
    pub(crate) fn pipe(&self, input: &str, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "kubectl {} failed:\n{out}{err}",
            arguments.join(" ")
        );
        out.into_owned()
    }
}

/// The lines of a stream, as they come.
pub(crate) fn lines(stream: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(stream).lines().map_while(Result::ok)
}

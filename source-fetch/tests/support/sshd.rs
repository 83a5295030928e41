//! A real sshd, with one user key and one host key.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use registry_auth::KubernetesSecret;
use source_fetch::{GitKeychain, Ssh};
use test_support::{Process, Program, require};

pub(crate) struct Sshd {
    pub(crate) port: u16,
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
    /// Starts one that lets in `key-a`, but not `key-b`, as the user of this process.
    pub(crate) fn start() -> Self {
        Self::with_options("AcceptEnv GIT_PROTOCOL")
    }

    /// As [`Sshd::start`], with other lines in the configuration than that git's version may be asked for.
    pub(crate) fn with_options(options: &str) -> Self {
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
        let program = ["/usr/sbin/sshd", "/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let program = program.expect("sshd is installed");
        let config = keys.path().join("sshd_config");
        let (process, port) = Process::serve(|port| {
            let lines = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n{options}\n",
                keys.path().display()
            );
            fs::write(&config, lines).expect("written");
            let mut command = Command::new(program);
            command
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        })
        .expect("sshd serves");
        Self {
            port,
            keys,
            _process: process,
        }
    }

    /// The text of `host.pub`, `key-a`, `key-a.pub` or `key-b`.
    pub(crate) fn key(&self, name: &str) -> String {
        fs::read_to_string(self.keys.path().join(name)).expect("a key")
    }

    /// The user that the server lets in.
    pub(crate) fn user() -> String {
        let output = Command::new("id").arg("-un").output().expect("id runs");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    pub(crate) fn keychain(&self, key: &str, known_hosts: Option<&str>) -> GitKeychain {
        let mut secret = KubernetesSecret::new("s1", "kubernetes.io/ssh-auth")
            .with_annotation("kpack.io/git", format!("localhost:{}", self.port))
            .with_data("ssh-privatekey", self.key(key).trim_end());
        if let Some(known_hosts) = known_hosts {
            secret = secret.with_data("known_hosts", known_hosts);
        }
        GitKeychain::from_secrets([&secret])
    }
}

/// The `ssh` program, with its files in `scratch`.
pub(crate) fn ssh(scratch: &Path, trust_unknown_hosts: bool) -> Ssh {
    Ssh {
        program: PathBuf::from("/usr/bin/ssh"),
        scratch: scratch.to_owned(),
        trust_unknown_hosts,
    }
}

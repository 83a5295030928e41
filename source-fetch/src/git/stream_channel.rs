//! The conversation over one connection that stays: the `ssh` program, or `git daemon`.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use super::{
    channel::Channel,
    greeting::Greeting,
    keychain::{GitCredential, GitKeychain},
    patient::Patient,
    transport::{MAX_LISTING, TransportError, protocol_error},
    url::GitUrl,
};
use crate::{access::Ssh, limits::Limits};

pub(super) struct StreamChannel {
    url: String,
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
    program: Option<Program>,
}

/// A running `ssh`, ended when it is no longer needed, and its key files.
struct Program {
    child: Child,
    words: Option<JoinHandle<String>>,
    _files: tempfile::TempDir,
}

const KEY: &str = "key";
const KNOWN_HOSTS: &str = "known_hosts";
/// How much of what `ssh` says is kept.
const MAX_WORDS: u64 = 4096;
/// How long connecting to a git daemon may take.
const CONNECT: Duration = Duration::from_secs(15);

impl StreamChannel {
    /// Starts `ssh` with the key and the known hosts of the credential, and nothing of the user's own configuration.
    pub(super) fn ssh(
        url: &GitUrl,
        keychain: &GitKeychain,
        ssh: &Ssh,
        limits: &Limits,
    ) -> Result<(Self, Greeting), TransportError> {
        let failed = |problem: &str, source: io::Error| TransportError::Ssh {
            url: url.to_string(),
            problem: problem.to_owned(),
            source: Some(source),
        };
        let Some((
            _,
            GitCredential::SshKey {
                private_key,
                known_hosts,
            },
        )) = keychain.find(url)
        else {
            return Err(TransportError::Unauthorized {
                url: url.to_string(),
                hint: "no ssh key was found; add a kubernetes.io/ssh-auth secret annotated kpack.io/git".to_owned(),
            });
        };
        if !ssh.trust_unknown_hosts && known_hosts.is_empty() {
            return Err(TransportError::Unauthorized {
                url: url.to_string(),
                hint: "the host's key can't be checked; add known_hosts to the secret".to_owned(),
            });
        }
        let files = key_files(ssh, private_key.expose(), known_hosts);
        let files = files.map_err(|source| failed("its key can't be stored", source))?;
        let (key, known) = (files.path().join(KEY), files.path().join(KNOWN_HOSTS));
        let mut child = command(url, ssh, &key, &known)
            .spawn()
            .map_err(|source| failed("the ssh program can't be started; install it or use https", source))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("the ssh program has no pipes", io::ErrorKind::BrokenPipe.into()));
        };
        let words = std::thread::spawn(move || words(stderr));
        let channel = Self {
            url: url.to_string(),
            reader: Box::new(BufReader::new(Patient::new(stdout, limits))),
            writer: Box::new(Patient::new(stdin, limits)),
            program: Some(Program {
                child,
                words: Some(words),
                _files: files,
            }),
        };
        channel.greet()
    }

    /// Connects to a git daemon.
    pub(super) fn daemon(url: &GitUrl, limits: &Limits) -> Result<(Self, Greeting), TransportError> {
        let failed = |error| protocol_error(&url.to_string(), error);
        let addresses = (url.host_name(), url.port().unwrap_or(9418))
            .to_socket_addrs()
            .map_err(failed)?;
        let mut stream = Err(io::ErrorKind::HostUnreachable.into());
        for address in addresses {
            let left = limits.time.left().unwrap_or(CONNECT);
            if left.is_zero() {
                break;
            }
            stream = TcpStream::connect_timeout(&address, CONNECT.min(left));
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream.map_err(failed)?;
        let mut writer = Patient::new(stream.try_clone().map_err(failed)?, limits);
        let hello = format!(
            "git-upload-pack {}\0host={}\0\0version=2\0",
            url.decoded_path(),
            url.host()
        );
        write!(writer, "{:04x}{hello}", hello.len() + 4).map_err(failed)?;
        let channel = Self {
            url: url.to_string(),
            reader: Box::new(BufReader::new(Patient::new(stream, limits))),
            writer: Box::new(writer),
            program: None,
        };
        channel.greet()
    }

    fn greet(mut self) -> Result<(Self, Greeting), TransportError> {
        match Greeting::read(&mut self.reader.by_ref().take(MAX_LISTING)) {
            Ok(greeting) => Ok((self, greeting)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The error, with what `ssh` said about it.
    fn failed(&mut self, error: io::Error) -> TransportError {
        let Some(program) = &mut self.program else {
            return protocol_error(&self.url, error);
        };
        let _ = program.child.kill();
        let words = program
            .words
            .take()
            .and_then(|words| words.join().ok())
            .unwrap_or_default();
        let words = words.replace(|c: char| c.is_control(), " ");
        let words = words.trim();
        if words.is_empty() {
            return protocol_error(&self.url, error);
        }
        TransportError::Ssh {
            url: self.url.clone(),
            problem: words.to_owned(),
            source: None,
        }
    }
}

/// What a program says, as much as is shown of it.
fn words(mut stderr: impl Read) -> String {
    let mut words = Vec::new();
    // What can't be read is not shown; the rest is read so that the program does not wait.
    let _ = stderr.by_ref().take(MAX_WORDS).read_to_end(&mut words);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&words).into_owned()
}

/// The key and the known hosts in files that only this user can read.
fn key_files(ssh: &Ssh, private_key: &str, known_hosts: &str) -> io::Result<tempfile::TempDir> {
    let files = tempfile::Builder::new().prefix("ssh-").tempdir_in(&ssh.scratch)?;
    let mut pem = private_key.to_owned();
    if !pem.ends_with('\n') {
        // The program does not read a key whose last line is open.
        pem.push('\n');
    }
    write_private(&files.path().join(KEY), pem.as_bytes())?;
    write_private(&files.path().join(KNOWN_HOSTS), known_hosts.as_bytes())?;
    Ok(files)
}

fn command(url: &GitUrl, ssh: &Ssh, key: &Path, known: &Path) -> Command {
    let mut command = Command::new(&ssh.program);
    let strict = if ssh.trust_unknown_hosts { "no" } else { "yes" };
    let known = if ssh.trust_unknown_hosts {
        Path::new("/dev/null")
    } else {
        known
    };
    command
        .env_clear()
        .env("GIT_PROTOCOL", "version=2")
        .args(["-F", "none", "-T", "-a", "-x"])
        .arg("-i")
        .arg(key);
    for option in [
        "BatchMode=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ConnectTimeout=15".to_owned(),
        "ServerAliveInterval=30".to_owned(),
        "SendEnv=GIT_PROTOCOL".to_owned(),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "LogLevel=ERROR".to_owned(),
        format!("StrictHostKeyChecking={strict}"),
        format!("UserKnownHostsFile={}", known.display()),
    ] {
        command.arg("-o").arg(option);
    }
    if let Some(port) = url.port() {
        command.arg("-p").arg(port.to_string());
    }
    let path = url.decoded_path().replace('\'', "'\\''");
    command
        .arg("-l")
        .arg(url.user().unwrap_or("git"))
        .arg("--")
        .arg(url.host_name())
        .arg(format!("git-upload-pack '{path}'"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(content)
}

impl Channel for StreamChannel {
    fn is_stateless(&self) -> bool {
        false
    }

    fn ask(&mut self, request: Vec<u8>, _limits: &Limits) -> Result<Box<dyn Read + '_>, TransportError> {
        if let Err(error) = self.writer.write_all(&request).and_then(|()| self.writer.flush()) {
            return Err(self.failed(error));
        }
        Ok(Box::new(&mut self.reader))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

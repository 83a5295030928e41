//! `git http-backend` behind a small http server, and repositories for it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::Engine as _;
use tempfile::TempDir;

use crate::{
    Program,
    http::{Head, Listener, Request},
    require,
};

/// A git server over http on a free loopback port: `git http-backend`, run for each request.
pub struct GitServer {
    listener: Listener,
    folder: TempDir,
    state: Arc<State>,
}

struct State {
    root: PathBuf,
    authorization: Option<String>,
    requests: AtomicUsize,
}

impl GitServer {
    /// Starts a server that anyone may read from and push to.
    ///
    /// # Errors
    /// When git is missing and can't be installed, or no port can be had.
    pub fn start() -> io::Result<Self> {
        Self::serve(None)
    }

    /// Starts a server that asks for `user` and `password`.
    ///
    /// # Errors
    /// As [`GitServer::start`].
    pub fn with_basic_auth(user: &str, password: &str) -> io::Result<Self> {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Self::serve(Some(format!("Basic {encoded}")))
    }

    fn serve(authorization: Option<String>) -> io::Result<Self> {
        require(&[Program::new("git", "git")]).map_err(io::Error::other)?;
        let folder = tempfile::Builder::new().prefix("git-").tempdir()?;
        let root = folder.path().join("served");
        fs::create_dir(&root)?;
        let state = Arc::new(State {
            root,
            authorization,
            requests: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let listener = Listener::start(Ipv4Addr::LOCALHOST.into(), move |stream| answer(stream, &shared))?;
        Ok(Self {
            listener,
            folder,
            state,
        })
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.listener.host()
    }

    /// Returns the url of repository `name`: `http://127.0.0.1:PORT/name`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.host())
    }

    /// Returns the directory whose bare repositories are served.
    pub fn root(&self) -> &Path {
        &self.state.root
    }

    /// Returns how many http requests have been answered so far.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Makes an empty repository `name` with branch `main`, and a work tree for it.
    ///
    /// # Errors
    /// When git fails.
    pub fn create_repository(&self, name: &str) -> io::Result<GitRepository> {
        let bare = self.state.root.join(name);
        let work = self.folder.path().join("work").join(name);
        fs::create_dir_all(&bare)?;
        fs::create_dir_all(&work)?;
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"])?;
        git(&bare, &["config", "http.receivepack", "true"])?;
        git(&work, &["init", "--quiet", "--initial-branch=main"])?;
        let target = bare.to_string_lossy().into_owned();
        git(&work, &["remote", "add", "origin", &target])?;
        Ok(GitRepository { bare, work })
    }
}

/// A repository of a [`GitServer`]: the served bare one, and a work tree to commit in.
pub struct GitRepository {
    bare: PathBuf,
    work: PathBuf,
}

impl GitRepository {
    /// Returns the served bare repository.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// Returns the work tree.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Writes `files` (path and text), commits all of the work tree on the current branch, pushes,
    /// and returns the commit id.
    ///
    /// # Errors
    /// When a file can't be written or git fails.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> io::Result<String> {
        for (path, text) in files {
            let path = self.work.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        git(&self.work, &["add", "--all"])?;
        git(
            &self.work,
            &["commit", "--quiet", "--allow-empty", "--message", message],
        )?;
        git(&self.work, &["push", "--quiet", "origin", "HEAD"])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the work tree and returns what it printed, trimmed.
    ///
    /// # Errors
    /// When git fails: the error holds its message.
    pub fn git(&self, arguments: &[&str]) -> io::Result<String> {
        git(&self.work, arguments)
    }
}

fn git(folder: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=Dev",
            "-c",
            "user.email=dev@acme.example",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "git {}: {}",
        arguments.join(" "),
        words.trim()
    )))
}

fn answer(stream: TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let Some(head) = Head::read(&mut reader)? else {
        return Ok(());
    };
    state.requests.fetch_add(1, Ordering::SeqCst);
    let wanted = state.authorization.as_deref();
    if wanted.is_some_and(|wanted| head.header("authorization") != wanted) {
        return writer.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    if head.header("expect").eq_ignore_ascii_case("100-continue") {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = head.read_body(&mut reader)?;
    run_backend(&Request::new(&head, body), state, &mut writer)
}

fn run_backend(request: &Request, state: &State, client: &mut TcpStream) -> io::Result<()> {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &state.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", "dev")
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = backend
        .stdin
        .take()
        .ok_or_else(|| io::Error::other("no standard input"))?;
    let stdout = backend
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("no standard output"))?;
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(&request.body));
        relay(BufReader::new(stdout), client)
    })?;
    backend.wait()?;
    Ok(())
}

/// Turns a CGI answer into an http one.
fn relay(mut answer: impl BufRead, client: &mut TcpStream) -> io::Result<()> {
    let (mut status, mut headers) = ("200 OK".to_owned(), String::new());
    loop {
        let mut line = String::new();
        if answer.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("status") => value.trim().clone_into(&mut status),
            _ => headers.push_str(&format!("{}\r\n", line.trim_end())),
        }
    }
    write!(client, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n")?;
    io::copy(&mut answer, client)?;
    client.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_seen_by_a_clone_over_http() {
        let server = GitServer::start().expect("git serves");
        let repository = server.create_repository("sample").expect("a repository is made");
        let id = repository
            .commit(&[("app/app.py", "print()\n")], "one")
            .expect("a commit is made");
        let listed = repository
            .git(&["ls-remote", &server.url("sample"), "main"])
            .expect("git lists");
        assert_eq!(listed.split_whitespace().next(), Some(id.as_str()));
    }

    #[test]
    fn without_the_password_nothing_is_served() {
        let server = GitServer::with_basic_auth("dev", "s3cret").expect("git serves");
        let repository = server.create_repository("sample").expect("a repository is made");
        repository.commit(&[("a", "a")], "one").expect("a commit is made");
        assert!(
            repository
                .git(&["-c", "core.askPass=true", "ls-remote", &server.url("sample")])
                .is_err()
        );
        let url = format!("http://dev:s3cret@{}/sample", server.host());
        assert!(repository.git(&["ls-remote", &url]).is_ok());
    }
}

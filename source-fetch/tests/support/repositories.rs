//! The recorded histories as repositories, and a git server for them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use git2::{ObjectType, Odb, Oid, Repository};
use serde_json::Value;

/// A directory of a tree, or what is in it.
enum Node {
    Dir(BTreeMap<String, Node>),
    Leaf(&'static str, Oid),
}

fn write_dir(odb: &Odb<'_>, entries: &BTreeMap<String, Node>) -> Oid {
    let mut lines: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, node) in entries {
        let (mode, id, is_dir) = match node {
            Node::Dir(inner) => ("40000", write_dir(odb, inner), true),
            Node::Leaf(mode, id) => (*mode, *id, false),
        };
        // Git sorts directories as if their names ended with a slash.
        let key = if is_dir { format!("{name}/") } else { name.clone() };
        let mut line = format!("{mode} {name}\0").into_bytes();
        line.extend_from_slice(id.as_bytes());
        lines.push((key.into_bytes(), line));
    }
    lines.sort();
    let tree: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).collect();
    odb.write(ObjectType::Tree, &tree).expect("a tree is written")
}

/// Makes the recorded repositories beneath `root`; `git` is the address of the server.
pub(crate) fn build_all(recorded: &Value, root: &Path, git: &str) {
    let mut commits: BTreeMap<String, Oid> = BTreeMap::new();
    let author = format!(
        "{} <{}>",
        recorded["author"]["name"].as_str().expect("a name"),
        recorded["author"]["email"].as_str().expect("an address")
    );
    let tag_date = recorded["tag_date"].as_str().expect("a date");
    for case in recorded["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        build(
            case,
            name,
            &root.join(format!("{name}.git")),
            git,
            &author,
            tag_date,
            &mut commits,
        );
    }
}

fn build(
    case: &Value,
    repository_name: &str,
    path: &Path,
    git: &str,
    author: &str,
    tag_date: &str,
    commits: &mut BTreeMap<String, Oid>,
) {
    let repository = Repository::init_bare(path).expect("a repository");
    let odb = repository.odb().expect("objects");
    for (position, commit) in case["commits"].as_array().into_iter().flatten().enumerate() {
        let id = commit["id"].as_str().expect("an id");
        let mut root = BTreeMap::new();
        for (file, described) in commit["files"].as_object().into_iter().flatten() {
            let leaf = leaf(&odb, described, git, commits);
            let mut parts: Vec<&str> = file.split('/').collect();
            let last = parts.pop().expect("a name");
            let mut dir = &mut root;
            for part in parts {
                let node = dir.entry(part.to_owned()).or_insert_with(|| Node::Dir(BTreeMap::new()));
                let Node::Dir(inner) = node else { panic!("{file}") };
                dir = inner;
            }
            dir.insert(last.to_owned(), leaf);
        }
        let mut text = format!("tree {}\n", write_dir(&odb, &root));
        for parent in commit["parents"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let parent = commits[&format!("{repository_name}#{parent}")];
            text.push_str(&format!("parent {parent}\n"));
        }
        let date = 1_700_000_000 + 60 * position;
        text.push_str(&format!(
            "author {author} {date} +0000\ncommitter {author} {date} +0000\n\n{id}\n"
        ));
        let written = odb.write(ObjectType::Commit, text.as_bytes()).expect("a commit");
        if let Some(expected) = case["ids"]["commits"][id]["id"].as_str() {
            assert_eq!(written.to_string(), expected, "{repository_name}#{id}");
        }
        commits.insert(format!("{repository_name}#{id}"), written);
    }
    let id_of = |name: &str| commits[&format!("{repository_name}#{name}")];
    let mut refs: BTreeMap<String, Oid> = BTreeMap::new();
    for (branch, id) in case["branches"].as_object().into_iter().flatten() {
        refs.insert(format!("refs/heads/{branch}"), id_of(id.as_str().expect("an id")));
    }
    for (name, id) in case["refs"].as_object().into_iter().flatten() {
        refs.insert(name.clone(), id_of(id.as_str().expect("an id")));
    }
    let tags = case["tags"].as_object();
    // A tag of a tag comes after it.
    let mut left: Vec<(&String, &Value)> = tags.into_iter().flatten().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|(tag, described)| {
            let target = described.as_str().or(described["target"].as_str()).expect("a target");
            let found = refs.get(&format!("refs/tags/{target}")).copied();
            let found = found.or_else(|| commits.get(&format!("{repository_name}#{target}")).copied());
            let Some(target) = found else { return true };
            let id = described["message"].as_str().map_or(target, |message| {
                let (kind, _) = odb.read_header(target).map(|(size, kind)| (kind, size)).expect("there");
                let text =
                    format!("object {target}\ntype {kind}\ntag {tag}\ntagger {author} {tag_date}\n\n{message}\n");
                odb.write(ObjectType::Tag, text.as_bytes()).expect("a tag")
            });
            if let Some(expected) = case["ids"]["tags"][*tag].as_str() {
                assert_eq!(id.to_string(), expected, "{repository_name} {tag}");
            }
            refs.insert(format!("refs/tags/{tag}"), id);
            false
        });
        assert!(left.len() < before, "{left:?}");
    }
    let packed: Vec<String> = refs.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
    fs::write(path.join("packed-refs"), packed.concat()).expect("refs");
    let head = match case["detached"].as_str() {
        Some(id) => format!("{}\n", id_of(id)),
        None => format!("ref: {}\n", case["HEAD"].as_str().unwrap_or("refs/heads/main")),
    };
    fs::write(path.join("HEAD"), head).expect("a head");
    let mut config = repository.config().expect("a configuration");
    match case["config"].as_object() {
        Some(options) => {
            for (key, value) in options {
                config.set_str(key, value.as_str().expect("text")).expect("an option");
            }
        }
        None => {
            for option in ["allowTipSHA1InWant", "allowReachableSHA1InWant", "allowFilter"] {
                config
                    .set_str(&format!("uploadpack.{option}"), "true")
                    .expect("an option");
            }
        }
    }
}

fn leaf(odb: &Odb<'_>, described: &Value, git: &str, commits: &BTreeMap<String, Oid>) -> Node {
    let blob = |bytes: &[u8]| odb.write(ObjectType::Blob, bytes).expect("a blob");
    if let Some(target) = described["link"].as_str() {
        return Node::Leaf("120000", blob(target.as_bytes()));
    }
    if let Some(commit) = described["commit"].as_str() {
        let id = commits.get(commit).copied();
        return Node::Leaf("160000", id.unwrap_or_else(|| Oid::from_str(commit).expect("an id")));
    }
    let mode = match described["mode"].as_str() {
        Some("100755") => "100755",
        Some("100664") => "100664",
        _ => "100644",
    };
    match described["b64"].as_str() {
        Some(bytes) => Node::Leaf(mode, blob(&super::base64(bytes))),
        None => Node::Leaf(
            mode,
            blob(
                described["content"]
                    .as_str()
                    .unwrap_or_default()
                    .replace("<git>", git)
                    .as_bytes(),
            ),
        ),
    }
}

/// A git server over http: `/private/…` wants `user` and `pass`, `/forbidden/…` is.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) root: tempfile::TempDir,
    /// Path and `Authorization` of each request.
    pub(crate) seen: Arc<Mutex<Vec<(String, String)>>>,
    /// Bytes of all answers.
    pub(crate) sent: Arc<Mutex<u64>>,
}

impl Server {
    /// Starts one that speaks version 2, or only what was there before.
    pub(crate) fn start(version_2: bool) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let sent: Arc<Mutex<u64>> = Arc::default();
        let (path, log, bytes) = (root.path().to_owned(), Arc::clone(&seen), Arc::clone(&sent));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (path, log, bytes) = (path.clone(), Arc::clone(&log), Arc::clone(&bytes));
                thread::spawn(move || drop(answer(stream, &path, version_2, &log, &bytes)));
            }
        });
        Self { port, root, seen, sent }
    }

    /// The address, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }
}

fn answer(
    mut stream: TcpStream,
    root: &Path,
    version_2: bool,
    seen: &Mutex<Vec<(String, String)>>,
    sent: &Mutex<u64>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    seen.lock()
        .expect("a lock")
        .push((target.clone(), header("authorization")));
    let length = header("content-length").parse().unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let path = target.split('?').next().unwrap_or_default();
    let mut reply = |status: &str, kind: &str, body: &[u8]| {
        *sent.lock().expect("a lock") += body.len() as u64;
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)
    };
    if path.starts_with("/forbidden/") {
        return reply("403 Forbidden", "text/plain", b"Forbidden\n");
    }
    let inner = path.strip_prefix("/private");
    if inner.is_some() && header("authorization") != "Basic dXNlcjpwYXNz" {
        return reply("401 Unauthorized", "text/plain", b"Authentication required\n");
    }
    let path = inner.unwrap_or(path);
    let (name, is_listing) = match (path.strip_suffix("/info/refs"), path.strip_suffix("/git-upload-pack")) {
        (Some(name), _) => (name, true),
        (_, Some(name)) => (name, false),
        _ => ("/none", true),
    };
    let mut dir: PathBuf = root.join(name.trim_start_matches('/'));
    if !dir.is_dir() {
        dir = root.join(format!("{}.git", name.trim_start_matches('/')));
    }
    if !dir.join("HEAD").is_file() {
        return reply("404 Not Found", "text/plain", b"not found\n");
    }
    let mut command = Command::new("git");
    command
        .args(["upload-pack", "--stateless-rpc"])
        .args(is_listing.then_some("--advertise-refs"))
        .arg(&dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if version_2 {
        command.env("GIT_PROTOCOL", header("git-protocol"));
    }
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || drop(stdin.write_all(&body)));
    let mut output = child.stdout.take().expect("a pipe");
    // Handed on as it comes; the end of the connection is the end of the answer.
    let kind = if is_listing { "advertisement" } else { "result" };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nConnection: close\r\n\r\n"
    )?;
    let count = |bytes: usize| *sent.lock().expect("a lock") += bytes as u64;
    if is_listing {
        let service = b"001e# service=git-upload-pack\n0000";
        count(service.len());
        stream.write_all(service)?;
    }
    let mut buffer = vec![0; 64 << 10];
    let mut done = Ok(());
    while done.is_ok() {
        match output.read(&mut buffer)? {
            0 => break,
            read => {
                count(read);
                done = stream.write_all(&buffer[..read]);
            }
        }
    }
    drop(output);
    let _ = writer.join();
    child.wait()?;
    done
}

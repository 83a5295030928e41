//! The recorded archives are unpacked as the reference unpacks them, and the hostile ones stay beneath the target.

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy};
use serde_json::Value;
use source_fetch::{Access, BlobAuthError, BlobError, BlobKeychain, BlobSource, Fetched, FetchedBlob, fetch_blob};

/// What the server says for a path.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    auth: Option<String>,
    body: Vec<u8>,
    /// Send only so many bytes of the body, once.
    cut: Option<usize>,
}

type Seen = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

/// A small http server: one answer a path.
struct Server {
    port: u16,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    seen: Seen,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answers: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let seen: Seen = Arc::default();
        let (shared, log) = (Arc::clone(&answers), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &shared, &log);
            }
        });
        Self { port, answers, seen }
    }

    fn put(&self, path: &str, answer: Answer) -> String {
        self.answers.lock().expect("a lock").insert(path.to_owned(), answer);
        format!("http://localhost:{}{path}", self.port)
    }
}

fn serve(mut stream: TcpStream, answers: &Mutex<BTreeMap<String, Answer>>, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
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
    seen.lock().expect("a lock").push((path.clone(), headers.clone()));
    let name = path.split('?').next().unwrap_or_default();
    let mut answer = answers.lock().expect("a lock").get(name).cloned().unwrap_or_default();
    if answer.auth.is_some() && answer.auth.as_ref() != headers.get("authorization") {
        answer = Answer {
            status: 401,
            body: b"authentication required".to_vec(),
            ..Answer::default()
        };
    }
    let range = headers.get("range").and_then(|range| range.strip_prefix("bytes="));
    let start: Option<usize> = range.and_then(|range| range.trim_end_matches('-').parse().ok());
    if let Some(start) = start {
        answer.status = 206;
        let total = answer.body.len();
        answer
            .headers
            .push(("Content-Range".into(), format!("bytes {start}-{}/{total}", total - 1)));
        answer.body.drain(..start);
    }
    write!(
        stream,
        "HTTP/1.1 {} Status\r\nConnection: close\r\n",
        answer.status.max(100)
    )?;
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\n\r\n", answer.body.len())?;
    match (answer.cut, start) {
        (Some(cut), None) => stream.write_all(&answer.body[..cut]),
        _ => stream.write_all(&answer.body),
    }
}

fn access() -> Access {
    Access::new(Http::new(&HttpPolicy::default()).expect("the default policy is valid"))
}

fn fetch(url: &str, dir: &Path) -> Result<FetchedBlob, BlobError> {
    let source = BlobSource {
        url: url.to_owned(),
        ..BlobSource::default()
    };
    fetch_blob(&source, dir, &access())
}

fn archive_of(case: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = support::base64(case["archive"]["gzip_b64"].as_str().unwrap_or_default());
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_end(&mut bytes)
        .expect("gzip");
    bytes
}

fn secrets_of(case: &Value, place: impl Fn(&str) -> String) -> Vec<KubernetesSecret> {
    let arguments = case["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let annotated = arguments.filter_map(|argument| argument.strip_prefix("-blob=")?.split_once('='));
    let secret = |(name, host): (&str, &str)| {
        let found = case["secrets"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|secret| secret["name"] == name);
        let data = found.and_then(|secret| secret["data"].as_object());
        let secret = KubernetesSecret::new(name, "Opaque").with_annotation("kpack.io/blob", place(host));
        let with = |secret: KubernetesSecret, (key, value): (&String, &Value)| {
            secret.with_data(key, value.as_str().unwrap_or_default())
        };
        data.into_iter().flatten().fold(secret, with)
    };
    annotated.map(secret).collect()
}

/// Runs a case; returns what differs.
fn problem(case: &Value, server: &Server) -> Option<String> {
    let address = format!("localhost:{}", server.port);
    let other = format!("127.0.0.1:{}", server.port);
    let place = |text: &str| text.replace("<blobs>", &address).replace("127.0.0.1:5138", &other);
    let bytes = archive_of(case);
    let described = &case["server"];
    let mut headers = Vec::new();
    for (name, value) in described["headers"].as_object().into_iter().flatten() {
        headers.push((name.clone(), place(value.as_str().unwrap_or_default())));
    }
    let url = place(case["env"]["BLOB_URL"].as_str().expect("a url"));
    let path = url.strip_prefix(&format!("http://{address}"))?;
    server.put(
        path.split('?').next()?,
        Answer {
            status: described["status"]
                .as_u64()
                .map_or(200, |status| u16::try_from(status).expect("a status")),
            headers,
            auth: described["auth"].as_str().map(str::to_owned),
            body: bytes,
            cut: None,
        },
    );
    let strip: i64 = case["env"]["BLOB_STRIP_COMPONENTS"]
        .as_str()
        .map_or(0, |text| text.parse().expect("a number"));
    // A negative number crashes the reference; here it can't be said.
    let strip_components = u32::try_from(strip).ok()?;
    let source = BlobSource {
        url: url.clone(),
        strip_components,
        authorize: case["env"]["BLOB_AUTH"] == "true",
        sha256: None,
    };
    let access = Access {
        blob: BlobKeychain::from_secrets(&secrets_of(case, place)),
        ..access()
    };
    let outside = tempfile::tempdir().expect("a directory");
    let dir = outside.path().join("workspace");
    std::fs::create_dir(&dir).expect("a directory");
    let result = fetch_blob(&source, &dir, &access);
    if std::fs::read_dir(outside.path()).expect("readable").count() != 1 {
        return Some("it escaped".into());
    }
    let recorded = &case["out"];
    let hostile = case["hostile"] == true;
    match &result {
        Err(error) if recorded["exit"] == 0 && !hostile => return Some(format!("refused: {error:?}")),
        Ok(_) if recorded["exit"] != 0 && !hostile => return Some("not refused".into()),
        _ => {}
    }
    if let Ok(fetched) = &result {
        let metadata = Fetched::Blob {
            url,
            sha256: fetched.sha256.clone(),
        };
        let expected = recorded["project_metadata"].as_str().map(place);
        // The target of redirects is an archive of our own.
        let redirected = case["name"].as_str().is_some_and(|name| name.contains("redirect"));
        if !hostile && !redirected && expected != Some(metadata.project_metadata()) {
            return Some(format!("metadata {}", metadata.project_metadata()));
        }
    } else if recorded["log"].as_array().is_some_and(|log| {
        let last = log.last().and_then(Value::as_str).unwrap_or_default();
        let own = last.contains("auths found") || last.contains("secrets matched") || last.contains("unexpected blob");
        let chain = result.as_ref().map_err(chain).err().unwrap_or_default();
        own && !hostile && !place(last).contains(&chain.replace(": :", ":"))
    }) {
        return Some(format!("message {:?}", result.map_err(|error| chain(&error))));
    }
    if hostile && result.is_err() {
        return None;
    }
    let expected = support::recorded_tree(&recorded["tree"], place);
    let differences = support::differences(&expected, &support::tree_of(&dir));
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn chain(error: &BlobError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

// Cases `plain-tar`, `plain-tar-gz`, `plain-zip` (B1), `plain-zip-fat` (B2; recorded with a umask of 022), `mode-755-tar` (B3),
// `strip-1-tar`, `strip-1-zip` (B4), `text-file`, `html-file` (B6), `auth-not-enabled` (B7), `auth-basic` (B10).
// rows 10.5/B1 10.5/B2 10.5/B3 10.5/B4 10.5/B6 10.5/B7 10.5/B10
#[test]
fn recorded_archives_are_unpacked_as_the_reference_does() {
    let cases = support::recorded("source/blob.json");
    let server = Server::start();
    let mut target = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    target
        .append_data(&mut header, "target.txt", &b"t\n"[..])
        .expect("appended");
    server.put(
        "/blob/target.tar",
        Answer {
            status: 200,
            body: target.into_inner().expect("finished"),
            ..Answer::default()
        },
    );
    let mut problems = Vec::new();
    for case in cases["cases"].as_array().expect("cases") {
        if let Some(problem) = problem(case, &server) {
            problems.push(format!("{}: {problem}", case["name"]));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

// Cases `bearer`, `authorization` (B11), `empty`, `two-kinds`, and the urls of other hosts (B12).
// rows 10.5/B11 10.5/B12
#[test]
fn recorded_blob_secrets_give_the_recorded_headers() {
    let recorded = support::recorded("auth/blob-secrets.json");
    for case in recorded["cases"].as_array().expect("cases") {
        // Arguments that can't be split never reach a keychain.
        let Some(resolved) = case["out"]["resolved"].as_array() else {
            continue;
        };
        let mut with_arguments = case.clone();
        for argument in with_arguments["args"].as_array_mut().expect("arguments") {
            *argument = Value::from(format!("-blob={}", argument.as_str().expect("text")));
        }
        let keychain = BlobKeychain::from_secrets(&secrets_of(&with_arguments, str::to_owned));
        for (url, expected) in recorded["urls"].as_array().expect("urls").iter().zip(resolved) {
            let found = match url.as_str().expect("text").parse() {
                Ok(url) => keychain.authorization(&url).map(|header| header.expose().to_owned()),
                Err(_) => Err(BlobAuthError::NoMatch { host: String::new() }),
            };
            match (&found, &expected["authorization"]) {
                (Ok(found), Value::String(header)) => assert_eq!(found, header, "{} {url}", case["name"]),
                (Err(error), Value::Null) => assert_eq!(expected["error"], error.to_string(), "{} {url}", case["name"]),
                (found, expected) => panic!("{} {url}: {found:?} instead of {expected}", case["name"]),
            }
        }
    }
}

#[test]
fn cve_2026_41506_a_credential_does_not_follow_a_redirect_to_another_origin() {
    let (server, other) = (Server::start(), Server::start());
    let secret = KubernetesSecret::new("s", "Opaque")
        .with_annotation("kpack.io/blob", "localhost")
        .with_data("bearer", "tok");
    let access = Access {
        blob: BlobKeychain::from_secrets([&secret]),
        ..access()
    };
    let target = other.put(
        "/a.zip",
        Answer {
            status: 404,
            ..Answer::default()
        },
    );
    let url = server.put(
        "/a.zip",
        Answer {
            status: 302,
            headers: vec![("Location".into(), target)],
            ..Answer::default()
        },
    );
    let source = BlobSource {
        url,
        authorize: true,
        ..BlobSource::default()
    };
    let dir = tempfile::tempdir().expect("a directory");
    let result = fetch_blob(&source, dir.path(), &access);
    assert!(
        matches!(result, Err(BlobError::Refused { status: 404, .. })),
        "{result:?}"
    );
    let sent = |server: &Server| {
        let seen = server.seen.lock().expect("a lock");
        seen.iter()
            .map(|(_, headers)| headers.get("authorization").cloned())
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(&server), [Some("Bearer tok".to_owned())]);
    assert_eq!(sent(&other), [None]);
}

#[test]
fn an_archive_with_another_digest_is_not_unpacked() {
    let server = Server::start();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("f", zip::write::SimpleFileOptions::default())
        .expect("a file");
    let url = server.put(
        "/a.zip",
        Answer {
            status: 200,
            body: zip.finish().expect("finished").into_inner(),
            ..Answer::default()
        },
    );
    let dir = tempfile::tempdir().expect("a directory");
    let fetch = |sha256: &str| {
        let source = BlobSource {
            url: url.clone(),
            sha256: Some(sha256.to_owned()),
            ..BlobSource::default()
        };
        fetch_blob(&source, dir.path(), &access())
    };
    let error = fetch(&"0".repeat(64)).expect_err("another digest");
    let BlobError::WrongDigest { actual, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    fetch(&actual.to_uppercase()).expect("the right digest");
    assert!(dir.path().join("f").is_file());
}

#[test]
fn a_download_that_breaks_off_is_resumed_where_it_stopped() {
    let server = Server::start();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("f", zip::write::SimpleFileOptions::default())
        .expect("a file");
    zip.write_all(&[b'x'; 3000]).expect("written");
    let body = zip.finish().expect("finished").into_inner();
    let url = server.put(
        "/a.zip",
        Answer {
            status: 200,
            headers: vec![("ETag".into(), "\"one\"".into())],
            cut: Some(body.len() / 2),
            body,
            auth: None,
        },
    );
    let dir = tempfile::tempdir().expect("a directory");
    fetch(&url, dir.path()).expect("the rest is fetched");
    assert_eq!(std::fs::read(dir.path().join("f")).expect("there").len(), 3000);
    let seen = server.seen.lock().expect("a lock");
    assert!(seen[1].1.contains_key("range") && seen[1].1["if-range"] == "\"one\"");
}

#[test]
fn zip_and_gzip_bombs_end_at_the_limit() {
    let cases = support::recorded("source/blob.json");
    let server = Server::start();
    let bombs = cases["cases"].as_array().expect("cases").iter();
    for case in bombs.filter(|case| case["name"].as_str().is_some_and(|name| name.contains("bomb"))) {
        let url = server.put(
            "/bomb",
            Answer {
                status: 200,
                body: archive_of(case),
                ..Answer::default()
            },
        );
        let source = BlobSource {
            url,
            ..BlobSource::default()
        };
        let mut access = access();
        access.limits.unpacked = 1 << 20;
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch_blob(&source, dir.path(), &access).expect_err("too large");
        assert!(
            matches!(&error, BlobError::Archive(error) if error.limit().is_some()),
            "{error:?}"
        );
    }
}

/// Nothing but zeros, of which a megabyte is a kilobyte.
fn zeros(bytes: u64) -> std::io::Take<std::io::Repeat> {
    std::io::repeat(0).take(bytes)
}

#[test]
fn zip_and_gzip_bombs_end_at_the_compression_ratio_long_before_the_limit_of_bytes() {
    const SIZE: u64 = 1 << 30;
    let server = Server::start();
    let gzip = |tar: &mut dyn std::io::Read| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::copy(tar, &mut encoder).expect("compressed");
        encoder.finish().expect("finished")
    };
    let header = |kind| {
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros").expect("a name");
        header.set_entry_type(kind);
        header.set_size(SIZE);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let tar = gzip(&mut header(tar::EntryType::Regular).chain(zeros(SIZE / 8)));
    // What is left out costs time, too.
    let left_out = gzip(&mut header(tar::EntryType::GNUSparse).chain(zeros(SIZE / 8)));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("zeros", options).expect("a file");
    std::io::copy(&mut zeros(SIZE / 8), &mut zip).expect("compressed");
    let zip = zip.finish().expect("finished").into_inner();
    for body in [tar, left_out, zip] {
        assert!(body.len() < 1 << 20);
        let url = server.put(
            "/bomb",
            Answer {
                status: 200,
                body,
                ..Answer::default()
            },
        );
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch(&url, dir.path()).expect_err("a bomb");
        let BlobError::Archive(error) = &error else {
            panic!("{error:?}")
        };
        assert!(
            matches!(error.limit(), Some(source_fetch::LimitExceeded::Ratio { limit: 200 })),
            "{error:?}"
        );
    }
}

#[test]
fn cve_2026_33056_a_directory_entry_does_not_change_the_mode_of_what_a_link_leads_to() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o777);
    builder
        .append_data(&mut header, "d/", std::io::empty())
        .expect("appended");
    let url = server.put(
        "/a.tar",
        Answer {
            status: 200,
            body: builder.into_inner().expect("finished"),
            ..Answer::default()
        },
    );
    let (outside, dir) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o700)).expect("set");
    std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).expect("a link");
    fetch(&url, dir.path()).expect_err("the link is in the way");
    let mode = std::fs::metadata(outside.path()).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn a_file_url_is_read_only_where_that_is_allowed() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = fetch("file:///etc/passwd", dir.path()).expect_err("refused");
    assert!(matches!(error, BlobError::FileUrl { .. }));
}

// row 10.5/B5
#[test]
fn a_server_that_does_not_have_the_archive_is_quoted_with_the_url() {
    let server = Server::start();
    let url = server.put(
        "/gone.tar",
        Answer {
            status: 404,
            body: b"nothing of that name".to_vec(),
            ..Answer::default()
        },
    );
    let dir = tempfile::tempdir().expect("a directory");
    let text = fetch(&url, dir.path()).expect_err("it is not there").to_string();
    assert_eq!(
        text,
        format!("failed to get blob {url}: 404 Not Found: nothing of that name")
    );
}

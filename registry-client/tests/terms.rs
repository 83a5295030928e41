//! Time limits, cancellation, progress, limits, mirrors, foreign layers and client certificates against real sockets.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use registry_auth::{AnonymousKeychain, Digest, Reference, Repository};
use registry_client::{
    Cancellation, Client, HostLimits, HttpErrorKind, HttpPolicy, Mirror, Progress, Reason, RegistryError, RetryPolicy,
};
use sha2::Digest as _;

/// A server that gives each connection to `serve`, with the first line of each request.
fn server(serve: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address").to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || answer(stream, &*serve));
        }
    });
    address
}

fn answer(stream: TcpStream, serve: &dyn Fn(&str, &mut TcpStream) -> io::Result<()>) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut size) = (String::new(), 0);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                size = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        io::copy(&mut reader.by_ref().take(size), &mut io::sink())?;
        let line = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        serve(&line, &mut writer)?;
    }
}

fn reply(to: &mut TcpStream, status: &str, body: &[u8]) -> io::Result<()> {
    write!(to, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len())?;
    to.write_all(body)
}

fn policy(host: &str) -> HttpPolicy {
    HttpPolicy {
        plain_http_hosts: vec![host.to_owned()],
        retry: RetryPolicy::never(),
        idle_timeout: Duration::from_secs(20),
        ..HttpPolicy::default()
    }
}

fn client(policy: HttpPolicy) -> Client {
    Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good")
}

fn repository(host: &str) -> Repository {
    format!("{host}/team/app").parse().expect("a repository")
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(sha2::Sha256::digest(bytes).into())
}

fn read(client: &Client, repository: &Repository, digest: &Digest) -> Result<Vec<u8>, io::Error> {
    let mut bytes = Vec::new();
    client.blob(repository, digest)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn registry_error(error: &io::Error) -> &RegistryError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .expect("it is a registry's error")
}

/// Sends one byte after the other, and would do so for days.
fn drip(_: &str, to: &mut TcpStream) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")?;
    loop {
        to.write_all(b"x")?;
    }
}

#[test]
fn a_drip_ends_at_the_time_limit_of_the_operation() {
    let host = server(drip);
    let client = client(policy(&host)).with_time_limit(Duration::from_millis(300));
    let repository = repository(&host);
    let error = read(&client, &repository, &digest(b"x")).expect_err("it takes too long");
    assert!(registry_error(&error).is_deadline(), "{error}");
    let reference = Reference::tagged(&repository, "v1").expect("a tag");
    let error = client.manifest(&reference).expect_err("it takes too long");
    assert!(error.is_deadline(), "{error}");
}

#[test]
fn a_drip_ends_by_itself_when_it_is_slower_than_the_policy_bears() {
    let host = server(drip);
    let policy = HttpPolicy {
        idle_timeout: Duration::from_millis(200),
        lowest_rate: u64::MAX,
        ..policy(&host)
    };
    let client = client(policy);
    let repository = repository(&host);
    let error = read(&client, &repository, &digest(b"x")).expect_err("it is too slow");
    let reason = registry_error(&error).reason();
    assert!(
        matches!(reason, Reason::Http(error) if error.kind == HttpErrorKind::Timeout),
        "{error}"
    );
}

#[test]
fn whoever_waits_for_a_token_that_another_asks_for_waits_no_longer_than_it_may() {
    let (asked, heard) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (asked, released) = (Mutex::new(asked), Mutex::new(released));
    let host = server(move |line, to| {
        if !line.contains("/token") {
            let host = to.local_addr()?;
            return write!(
                to,
                "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{host}/token\"\r\ncontent-length: 0\r\n\r\n"
            );
        }
        let _ = asked.lock().expect("no test panics here").send(());
        let _ = released.lock().expect("no test panics here").recv();
        reply(to, "500 Internal Server Error", b"")
    });
    let client = client(policy(&host));
    let repository = repository(&host);
    thread::scope(|scope| {
        let slow = scope.spawn(|| client.tags(&repository).expect_err("there is no token"));
        heard.recv().expect("a token is asked for");
        let hasty = client.with_time_limit(Duration::from_millis(200));
        let error = hasty.tags(&repository).expect_err("there is no token yet");
        assert!(error.is_deadline(), "{error}");
        let stop = Cancellation::new();
        stop.cancel();
        let error = client
            .with_cancellation(stop)
            .tags(&repository)
            .expect_err("it is cancelled");
        assert!(error.is_cancelled(), "{error}");
        drop(release);
        assert_eq!(slow.join().expect("no test panics here").status(), Some(500));
    });
}

#[test]
fn cancelling_ends_the_wait_for_a_server_that_says_nothing() {
    let (asked, heard) = std::sync::mpsc::channel();
    let asked = Mutex::new(asked);
    let host = server(move |_, to| {
        let _ = asked.lock().expect("no test panics here").send(());
        // Until the client goes away.
        to.read(&mut [0]).map(|_| ())
    });
    let stop = Cancellation::new();
    let client = client(policy(&host)).with_cancellation(stop.clone());
    let reference = Reference::tagged(&repository(&host), "v1").expect("a tag");
    thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            heard.recv().expect("it is asked");
            stop.cancel();
        });
        let error = client.manifest(&reference).expect_err("it is cancelled");
        assert!(error.is_cancelled(), "{error:?}");
    });
    let error = client.head(&reference).expect_err("it stays cancelled");
    assert!(error.is_cancelled(), "{error:?}");
}

#[test]
fn cancelling_ends_a_blob_in_the_middle_for_its_reader() {
    let host = server(|_, to| {
        write!(to, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        to.read(&mut [0]).map(|_| ())
    });
    let stop = Cancellation::new();
    let client = client(policy(&host)).with_cancellation(stop.clone());
    let mut blob = client
        .blob(&repository(&host), &digest(b"half and half"))
        .expect("it begins");
    blob.read_exact(&mut [0; 4]).expect("half of it comes");
    thread::scope(|scope| {
        scope.spawn(|| stop.cancel());
        let error = blob.read(&mut [0; 4]).expect_err("it is cancelled");
        assert!(registry_error(&error).is_cancelled(), "{error:?}");
    });
}

#[test]
fn whoever_listens_hears_of_every_byte_and_of_what_needs_none() {
    let bytes = b"some bytes of a layer".to_vec();
    let served = bytes.clone();
    let host = server(move |line, to| match line.split(' ').next() {
        Some("GET") => reply(to, "200 OK", &served),
        Some("HEAD") if line.contains("/other/") => {
            to.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        }
        Some("POST") if line.contains("mount=") => reply(to, "201 Created", b""),
        _ => reply(to, "404 Not Found", b""),
    });
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let client = client(policy(&host)).with_progress(move |progress| {
        let text = match progress {
            Progress::Received { bytes, size, .. } => format!("received {bytes} of {size:?}"),
            Progress::Mounted { from, .. } => format!("mounted from {}", from.path()),
            Progress::Present { .. } => "present".to_owned(),
            other => format!("{other:?}"),
        };
        listener.lock().expect("no test panics here").push(text);
    });
    let (here, there) = (
        repository(&host),
        format!("{host}/other/app").parse().expect("a repository"),
    );
    let digest = digest(&bytes);
    assert_eq!(read(&client, &here, &digest).expect("it comes"), bytes);
    let mut open = || -> io::Result<Box<dyn Read + Send>> { panic!("nothing needs to be sent") };
    client.push_blob(&there, &digest, 21, &mut open).expect("it is mounted");
    client.push_blob(&there, &digest, 21, &mut open).expect("it is there");
    let heard = heard.lock().expect("no test panics here").clone();
    assert_eq!(heard, ["received 21 of Some(21)", "mounted from team/app", "present"]);
}

#[test]
fn no_more_requests_are_under_way_than_a_host_may_be_asked_by_all_clones_together() {
    let under_way = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = Arc::clone(&under_way);
    let host = server(move |_, to| {
        let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(now, Ordering::SeqCst);
        for _ in 0..100 {
            thread::yield_now();
        }
        counts.0.fetch_sub(1, Ordering::SeqCst);
        reply(to, "200 OK", b"{\"tags\":[\"a\"]}")
    });
    let limits = HostLimits {
        in_flight: Some(2),
        ..HostLimits::default()
    };
    let client = client(HttpPolicy {
        limits: vec![(host.clone(), limits)],
        ..policy(&host)
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            let client = client.clone();
            let host = &host;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(client.tags(&repository(host)).expect("it answers"), ["a"]);
                }
            });
        }
    });
    assert!(under_way.1.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_for_the_rest_and_for_every_write() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = |name: &'static str, has: &'static [u8]| {
        let log = Arc::clone(&log);
        server(move |line, to| {
            let short = line
                .replace(digest(b"both").as_str(), "B")
                .replace(digest(b"one").as_str(), "O");
            log.lock().expect("no test panics here").push(format!("{name} {short}"));
            if line.starts_with("GET") && line.ends_with(digest(has).as_str())
                || name == "origin" && line.starts_with("GET")
            {
                let body: &[u8] = if line.ends_with(digest(b"both").as_str()) {
                    b"both"
                } else {
                    b"one"
                };
                return reply(to, "200 OK", body);
            }
            reply(
                to,
                if line.starts_with("GET") {
                    "404 Not Found"
                } else {
                    "201 Created"
                },
                b"",
            )
        })
    };
    let (mirror, origin) = (start("mirror", b"both"), start("origin", b"one"));
    let client = client(HttpPolicy {
        plain_http_hosts: vec!["127.0.0.1".to_owned()],
        mirrors: vec![Mirror {
            prefix: "hub".to_owned(),
            ..Mirror::new(origin.parse().expect("a host"), mirror.parse().expect("a host"))
        }],
        ..policy(&origin)
    });
    let repository = repository(&origin);
    assert_eq!(read(&client, &repository, &digest(b"both")).expect("it comes"), b"both");
    assert_eq!(read(&client, &repository, &digest(b"one")).expect("it comes"), b"one");
    let reference = Reference::tagged(&repository, "v1").expect("a tag");
    client.push_manifest(&reference, "a/b", b"{}").expect("it is taken");
    let log = log.lock().expect("no test panics here").clone();
    assert_eq!(
        log,
        [
            "mirror GET /v2/hub/team/app/blobs/B",
            "mirror GET /v2/hub/team/app/blobs/O",
            "origin GET /v2/team/app/blobs/O",
            "origin PUT /v2/team/app/manifests/v1",
        ]
    );
}

#[test]
fn a_mirror_that_breaks_off_is_left_for_the_registry_in_the_middle_of_a_blob() {
    let bytes = b"the whole of a blob";
    let mirror = server(|line, to| {
        if line.starts_with("GET") {
            write!(
                to,
                "HTTP/1.1 200 OK\r\ncontent-length: 19\r\nconnection: close\r\n\r\nthe whole"
            )?;
        }
        Err(io::ErrorKind::ConnectionReset.into())
    });
    let origin = server(move |_, to| reply(to, "200 OK", bytes));
    let client = client(HttpPolicy {
        plain_http_hosts: vec!["127.0.0.1".to_owned()],
        mirrors: vec![Mirror::new(
            origin.parse().expect("a host"),
            mirror.parse().expect("a host"),
        )],
        ..policy(&origin)
    });
    let found = read(&client, &repository(&origin), &digest(bytes));
    assert_eq!(found.expect("the rest comes from the registry"), bytes);
}

#[test]
fn a_foreign_layer_comes_from_its_address_when_the_registry_does_not_have_it() {
    let elsewhere = server(|line, to| {
        assert_eq!(line, "GET /layers/base.tar");
        reply(to, "200 OK", b"foreign")
    });
    let registry = server(|_, to| reply(to, "404 Not Found", b""));
    let client = client(policy(&registry));
    let urls = [
        "ftp://nowhere/x".to_owned(),
        format!("http://{elsewhere}/layers/base.tar"),
    ];
    let fetch = |wanted: &[u8]| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let blob = client.foreign_blob(&repository(&registry), &digest(wanted), &urls)?;
        blob.expecting(wanted.len() as u64)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    assert_eq!(fetch(b"foreign").expect("it is there"), b"foreign");
    let error = fetch(b"private").expect_err("the bytes are others");
    assert!(matches!(registry_error(&error).reason(), Reason::WrongBytes { .. }));
}

#[test]
fn a_body_that_does_not_end_is_left_at_the_size_that_was_expected() {
    let host = server(|_, to| {
        write!(to, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        loop {
            to.write_all(b"5\r\nendle\r\n")?;
        }
    });
    let blob = client(policy(&host)).blob(&repository(&host), &digest(b"endless"));
    let mut blob = blob.expect("it begins").expecting(7).expect("no size was announced");
    let error = blob.read_to_end(&mut Vec::new()).expect_err("it is too long");
    assert!(matches!(registry_error(&error).reason(), Reason::WrongBytes { .. }));
}

#[test]
fn of_a_blob_that_somebody_else_checks_only_the_size_counts() {
    let host = server(|_, to| reply(to, "200 OK", b"other bytes"));
    let read = |size| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let blob = client(policy(&host)).blob(&repository(&host), &digest(b"these bytes"))?;
        blob.expecting(size)?.unchecked().read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    assert_eq!(read(11).expect("it has the size"), b"other bytes");
    let error = read(12).expect_err("it has another size");
    assert!(matches!(registry_error(&error).reason(), Reason::WrongBytes { .. }));
}

#[test]
fn a_small_blob_goes_in_one_request_where_the_registry_takes_that() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let host = server(move |line, to| {
        let line = line.split('=').next().unwrap_or_default();
        lines
            .lock()
            .expect("no test panics here")
            .push(line.split("sha256").next().unwrap_or_default().to_owned());
        reply(
            to,
            if line.starts_with("HEAD") {
                "404 Not Found"
            } else {
                "201 Created"
            },
            b"",
        )
    });
    let client = client(policy(&host));
    for size in [10, 100_000] {
        let bytes = vec![1; size];
        let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.clone()))) };
        client
            .push_blob(&repository(&host), &digest(&bytes), size as u64, &mut open)
            .expect("it is taken");
    }
    let (head, post) = ("HEAD /v2/team/app/blobs/", "POST /v2/team/app/blobs/uploads/?digest");
    assert_eq!(*log.lock().expect("no test panics here"), [head, post, head, post]);
}

/// A server that takes the heads of requests for a blob, and none of its bytes.
fn reads_no_body() -> (String, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let host = listener.local_addr().expect("it has an address").to_string();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let released = Arc::clone(&released);
            thread::spawn(move || -> io::Result<()> {
                let mut writer = stream.try_clone()?;
                let mut lines = BufReader::with_capacity(1, stream).lines();
                while let Some(first) = lines.next().transpose()? {
                    for line in lines.by_ref() {
                        if line?.is_empty() {
                            break;
                        }
                    }
                    match first.split(' ').next() {
                        Some("HEAD") => reply(&mut writer, "404 Not Found", b"")?,
                        Some("POST") if first.contains("digest=") => {}
                        Some("POST") => write!(
                            writer,
                            "HTTP/1.1 202 Accepted\r\nlocation: /v2/team/app/blobs/uploads/1\r\ncontent-length: 0\r\n\r\n"
                        )?,
                        _ => {
                            let _ = released.lock().expect("no test panics here").recv();
                            return Ok(());
                        }
                    }
                }
                Ok(())
            });
        }
    });
    (host, release)
}

#[test]
fn a_server_that_takes_no_more_bytes_is_not_waited_for_beyond_the_limit() {
    let (host, _until_the_end) = reads_no_body();
    let policy = HttpPolicy {
        idle_timeout: Duration::from_millis(300),
        ..policy(&host)
    };
    let bytes = vec![7; 32 << 20];
    let repository = repository(&host);
    let client = client(policy);
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(vec![7; 32 << 20]))) };
    let error = client.push_blob(&repository, &digest(&bytes), 32 << 20, &mut open);
    let error = error.expect_err("it takes too long");
    assert!(
        matches!(error.reason(), Reason::Http(error) if error.kind == HttpErrorKind::Timeout),
        "{error:?}"
    );
    let mut upload = client.start_upload(&repository).expect("it begins");
    let written = upload.write_all(&bytes);
    let error = written.expect_err("it takes too long");
    assert!(registry_error(&error).is_retryable(), "{error:?}");
}

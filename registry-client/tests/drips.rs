//! Servers that send byte after byte of what nobody asked for: no step waits for them without end.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use registry_auth::{AnonymousKeychain, Digest, Reference, Repository};
use registry_client::{Client, HttpErrorKind, HttpPolicy, ProxyPolicy, Reason, RegistryError, RetryPolicy};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use test_support::Authority;

/// What a drip below takes if nobody ends it.
const LONG: Duration = Duration::from_secs(60);
/// How long a connection may stand still here.
const PATIENCE: Duration = Duration::from_millis(300);

/// A server that begins every answer with `head` and then sends `drop` again and again, with a pause after each.
fn server(head: &'static str, drop: &'static str, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Until the client goes away.
            thread::spawn(move || answer(&stream, head, drop, pause));
        }
    });
    address
}

fn answer(mut stream: &TcpStream, head: &str, drop: &str, pause: Duration) -> io::Result<()> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    if lines.take_while(|line| !line.is_empty()).count() == 0 {
        return Ok(());
    }
    stream.write_all(head.as_bytes())?;
    let started = Instant::now();
    while started.elapsed() < LONG {
        stream.write_all(drop.as_bytes())?;
        pass(stream, pause)?;
    }
    Ok(())
}

/// Lets time pass, unless the client goes away.
fn pass(mut stream: &TcpStream, pause: Duration) -> io::Result<()> {
    if pause.is_zero() {
        return Ok(());
    }
    stream.set_read_timeout(Some(pause))?;
    match stream.read(&mut [0; 512]) {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Answers whose body gives nothing, however much is sent.
const DRIPS: [(&str, &str, Duration); 3] = [
    ("5\r\nbytes\r\n1;", "x", Duration::from_millis(50)),
    ("5\r\nbytes\r\n0\r\nTrailer: ", "x", Duration::from_millis(50)),
    ("5\r\nbytes\r\n0\r\n", "Trailer: x\r\n", Duration::ZERO),
];

fn start((head, drop, pause): (&str, &'static str, Duration)) -> String {
    let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{head}");
    server(head.leak(), drop, pause)
}

fn policy(host: &str) -> HttpPolicy {
    HttpPolicy {
        plain_http_hosts: vec![host.to_owned()],
        retry: RetryPolicy::never(),
        idle_timeout: PATIENCE,
        ..HttpPolicy::default()
    }
}

fn client(policy: HttpPolicy) -> Client {
    Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good")
}

fn repository(host: &str) -> Repository {
    format!("{host}/team/app").parse().expect("a repository")
}

fn read(client: &Client, host: &str) -> RegistryError {
    let mut bytes = Vec::new();
    let blob = client.blob(&repository(host), &Digest::from_sha256_bytes([0; 32]));
    let error = blob
        .expect("it begins")
        .read_to_end(&mut bytes)
        .expect_err("it does not end");
    error.downcast().expect("it is a registry's error")
}

#[track_caller]
fn assert_kind(error: &RegistryError, kind: HttpErrorKind) {
    let found = match error.reason() {
        Reason::Http(error) => Some(error.kind),
        _ => None,
    };
    assert_eq!(found, Some(kind), "{error:?}");
}

#[test]
fn a_body_that_gives_nothing_is_not_waited_for_longer_than_one_that_stands_still() {
    thread::scope(|scope| {
        for drip in DRIPS {
            scope.spawn(move || {
                let (host, started) = (start(drip), Instant::now());
                let client = client(policy(&host));
                assert_kind(&read(&client, &host), HttpErrorKind::Timeout);
                let reference = Reference::tagged(&repository(&host), "v1").expect("a tag");
                let error = client.manifest(&reference).expect_err("it does not end");
                assert_kind(&error, HttpErrorKind::Timeout);
                assert!(started.elapsed() < LONG / 2, "{drip:?}");
            });
        }
    });
}

#[test]
fn a_body_that_gives_nothing_ends_at_the_time_limit_of_the_operation() {
    thread::scope(|scope| {
        for drip in DRIPS {
            scope.spawn(move || {
                let (host, started) = (start(drip), Instant::now());
                let policy = HttpPolicy {
                    idle_timeout: LONG,
                    ..policy(&host)
                };
                let client = client(policy).with_time_limit(PATIENCE);
                assert_kind(&read(&client, &host), HttpErrorKind::Deadline);
                assert!(started.elapsed() < LONG / 2, "{drip:?}");
            });
        }
    });
}

#[test]
fn a_proxy_whose_answer_drips_is_left_when_the_time_to_connect_or_that_of_the_operation_is_over() {
    let proxy = server("HTTP/1.1 200 OK\r\nX-Drip: ", "x", Duration::from_millis(50));
    let host = "registry.invalid:5000";
    let limited = |connect_timeout| {
        client(HttpPolicy {
            proxy: ProxyPolicy {
                http: Some(format!("http://{proxy}")),
                ..ProxyPolicy::default()
            },
            connect_timeout,
            ..policy(host)
        })
    };
    let started = Instant::now();
    let error = limited(PATIENCE).tags(&repository(host)).expect_err("it does not end");
    assert_kind(&error, HttpErrorKind::Timeout);
    let hasty = limited(LONG).with_time_limit(PATIENCE);
    let error = hasty.tags(&repository(host)).expect_err("it does not end");
    assert_kind(&error, HttpErrorKind::Deadline);
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
}

/// A server behind TLS, which begins a record after `head` and sends it byte by byte.
fn tls_server(authority: &Authority, head: &'static str) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    authority.issue_into(folder.path()).expect("it signs");
    let chain = CertificateDer::from_pem_file(folder.path().join("server.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.path().join("server.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key);
    let config = Arc::new(config.expect("the key fits"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address").to_string();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("the configuration is good");
            thread::spawn(move || drip_record(StreamOwned::new(connection, socket), head));
        }
    });
    address
}

fn drip_record(stream: StreamOwned<ServerConnection, TcpStream>, head: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let to = stream.get_mut();
    to.write_all(head.as_bytes())?;
    to.flush()?;
    // Data, of a version, 16 KiB.
    to.sock.write_all(&[23, 3, 3, 0x40, 0])?;
    let started = Instant::now();
    while started.elapsed() < LONG {
        to.sock.write_all(b"x")?;
        pass(&to.sock, Duration::from_millis(50))?;
    }
    Ok(())
}

#[test]
fn a_record_of_tls_that_drips_is_a_body_that_gives_nothing() {
    let authority = Authority::new().expect("an authority");
    let host = tls_server(&authority, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbytes");
    let started = Instant::now();
    let client = client(HttpPolicy {
        extra_ca_pems: vec![authority.pem().as_bytes().to_vec()],
        plain_http_hosts: Vec::new(),
        ..policy(&host)
    });
    assert_kind(&read(&client, &host), HttpErrorKind::Timeout);
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
}

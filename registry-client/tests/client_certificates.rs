//! A server that asks who its clients are: the certificate goes to the host it is for, and to no other.

use std::{
    fs, io,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
    thread,
};

use registry_auth::{AnonymousKeychain, Repository, Secret};
use registry_client::{Client, ClientCertificate, HostPolicy, HttpPolicy, RetryPolicy};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use test_support::Authority;

struct Issued {
    chain: Vec<u8>,
    key: Vec<u8>,
}

fn issue(authority: &Authority) -> Issued {
    let folder = tempfile::tempdir().expect("a directory");
    authority.issue_into(folder.path()).expect("it signs");
    let files = fs::read_dir(folder.path()).expect("it is there").map_while(Result::ok);
    let texts: Vec<Vec<u8>> = files.map(|file| fs::read(file.path()).expect("it is read")).collect();
    let find = |label: &str| {
        let is = |text: &&Vec<u8>| String::from_utf8_lossy(text).contains(label);
        texts.iter().find(is).expect("it was written").clone()
    };
    Issued {
        chain: find("BEGIN CERTIFICATE"),
        key: find("PRIVATE KEY"),
    }
}

/// Starts a server that lets in only whom `authority` knows, and tells all of them the same tag.
fn server(authority: &Authority) -> String {
    let issued = issue(authority);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&issued.chain)
        .map_while(Result::ok)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(&issued.key).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authority.pem().as_bytes()).map_while(Result::ok));
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_client_cert_verifier(verifier.expect("there is an authority"))
        .with_single_cert(chain, key)
        .expect("the key fits");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address").to_string();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("the configuration is good");
            // Whoever is not let in sees it.
            let _ = answer(StreamOwned::new(connection, socket));
        }
    });
    address
}

fn answer(stream: StreamOwned<ServerConnection, std::net::TcpStream>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = r#"{"tags":["v1"]}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let to = stream.get_mut();
    to.write_all(head.as_bytes())?;
    to.write_all(body.as_bytes())?;
    to.conn.send_close_notify();
    to.flush()
}

fn policy(authority: &Authority, host: &str, own: &Issued) -> HttpPolicy {
    HttpPolicy {
        extra_ca_pems: vec![authority.pem().as_bytes().to_vec()],
        hosts: vec![HostPolicy {
            host: host.to_owned(),
            client_certificate: Some(ClientCertificate {
                chain_pem: own.chain.clone(),
                key_pem: Secret::new(String::from_utf8(own.key.clone()).expect("PEM is text")),
            }),
            ..HostPolicy::default()
        }],
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    }
}

#[test]
fn a_host_gets_its_own_client_certificate_and_others_get_none() {
    let authority = Authority::new().expect("an authority");
    let (host, other, own) = (server(&authority), server(&authority), issue(&authority));
    let policy = policy(&authority, &host, &own);
    assert!(!format!("{policy:?}").contains("PRIVATE KEY"));
    let client = Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good");
    let tags = |host: &str| {
        let repository: Repository = format!("{host}/team/app").parse().expect("a repository");
        client.tags(&repository)
    };
    assert_eq!(tags(&host).expect("it lets us in"), ["v1"]);
    tags(&other).expect_err("it is another host");
}

#[test]
fn an_authority_of_one_host_is_not_trusted_for_another() {
    let authority = Authority::new().expect("an authority");
    let (host, other, own) = (server(&authority), server(&authority), issue(&authority));
    let mut policy = policy(&authority, &host, &own);
    policy.hosts[0].extra_ca_pems = std::mem::take(&mut policy.extra_ca_pems);
    let client = Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good");
    let tags = |host: &str| {
        let repository: Repository = format!("{host}/team/app").parse().expect("a repository");
        client.tags(&repository).map_err(|error| error.to_string())
    };
    assert_eq!(tags(&host).expect("it is trusted"), ["v1"]);
    let error = tags(&other).expect_err("nobody vouches for it");
    assert!(error.contains("certificate is not trusted"), "{error}");
}

#[test]
fn a_key_that_is_none_is_refused_at_once_without_showing_it() {
    let authority = Authority::new().expect("an authority");
    let mut own = issue(&authority);
    own.key = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".to_vec();
    let policy = policy(&authority, "reg.example.com", &own);
    let error = Client::new(policy, Arc::new(AnonymousKeychain)).expect_err("the key is none");
    let text = format!("{error:?}");
    assert!(
        !text.contains("c2VjcmV0") && text.contains("client certificate"),
        "{text}"
    );
}

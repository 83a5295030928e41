//! Registries and token servers with an authority of their own.

use std::sync::Arc;

use registry_auth::{AnonymousKeychain, RealmPolicy};
use registry_client::{Client, HttpErrorKind, HttpPolicy, Reason};
use test_support::{Authority, Registry, RegistryOptions, TokenServer, TokenServerOptions};

use crate::image::{anonymous, at, client_of, policy, pull_image, push_image, tagged};

fn trusting(authorities: &[&Authority]) -> HttpPolicy {
    let pem = |authority: &&Authority| authority.pem().as_bytes().to_vec();
    HttpPolicy {
        extra_ca_pems: authorities.iter().map(pem).collect(),
        ..policy()
    }
}

#[test]
fn a_registry_with_an_authority_of_its_own_is_reached_when_that_is_trusted() {
    let authority = Authority::new().expect("an authority");
    let options = RegistryOptions {
        tls: Some(&authority),
        ..RegistryOptions::default()
    };
    let registry = Registry::with_options(&options).expect("docker-registry starts");
    let repository = at(&registry.host(), "team/app");
    let trusting = Client::new(trusting(&[&authority]), Arc::new(AnonymousKeychain)).expect("the policy is good");
    push_image(&trusting, &repository, "v1");
    let insecure = HttpPolicy {
        insecure_hosts: vec![registry.host()],
        ..policy()
    };
    let insecure = Client::new(insecure, Arc::new(AnonymousKeychain)).expect("the policy is good");
    assert_eq!(
        insecure.tags(&repository).expect("the certificate is not looked at"),
        ["v1"]
    );
    let error = anonymous().tags(&repository).expect_err("nobody knows this authority");
    let Reason::Http(cause) = error.reason() else {
        panic!("{error}");
    };
    assert_eq!(cause.kind, HttpErrorKind::Certificate, "{error}");
}

#[test]
fn a_registry_that_was_down_at_first_is_spoken_to_with_tls_when_it_is_up() {
    let authority = Authority::new().expect("an authority");
    let options = RegistryOptions {
        tls: Some(&authority),
        ..RegistryOptions::default()
    };
    let mut registry = Registry::with_options(&options).expect("docker-registry starts");
    let client = Client::new(trusting(&[&authority]), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let repository = at(&registry.host(), "team/app");
    registry.pause();
    client.check_write(&repository).expect_err("it is down");
    registry.resume().expect("docker-registry starts again");
    client.check_write(&repository).expect("it is up");
}

#[test]
fn a_token_server_needs_a_trusted_certificate_too_and_is_told_nothing_without() {
    let (known, unknown) = (
        Authority::new().expect("an authority"),
        Authority::new().expect("an authority"),
    );
    for (authority, trusted) in [(&known, true), (&unknown, false)] {
        let tokens = TokenServer::with_options(&TokenServerOptions {
            tls: Some(authority),
            ..TokenServerOptions::default()
        });
        let tokens = tokens.expect("a token server");
        let registry = Registry::with_options(&RegistryOptions {
            tls: Some(&known),
            token_server: Some(&tokens),
            ..RegistryOptions::default()
        });
        let registry = registry.expect("docker-registry starts");
        let repository = at(&registry.host(), "team/app");
        let client = client_of(trusting(&[&known]), &repository, "user", "pass");
        if trusted {
            push_image(&client, &repository, "v1");
            assert!(pull_image(&client, &tagged(&repository, "v1")).is_ok());
            continue;
        }
        let error = client
            .check_write(&repository)
            .expect_err("nobody knows this token server");
        let Reason::Http(cause) = error.reason() else {
            panic!("{error}");
        };
        assert_eq!(cause.kind, HttpErrorKind::Certificate, "{error}");
        assert!(tokens.requests().is_empty());
        assert!(!error.is_retryable());
    }
}

#[test]
fn no_tls_at_the_token_server_of_a_registry_with_tls_is_refused() {
    let authority = Authority::new().expect("an authority");
    let tokens = TokenServer::start().expect("a token server");
    let registry = Registry::with_options(&RegistryOptions {
        tls: Some(&authority),
        token_server: Some(&tokens),
        ..RegistryOptions::default()
    });
    let registry = registry.expect("docker-registry starts");
    let repository = at(&registry.host(), "team/app");
    let client = client_of(trusting(&[&authority]), &repository, "user", "pass");
    let error = client
        .check_write(&repository)
        .expect_err("the password would be sent in the open");
    assert!(matches!(error.reason(), Reason::Token(_)), "{error}");
    assert!(tokens.requests().is_empty());
}

/// The registry's own certificate is not looked at, as the user wants it; who holds the tokens is somebody else.
#[test]
fn cve_2019_10214_an_insecure_registry_does_not_make_its_token_server_on_another_host_insecure() {
    let (unknown, elsewhere) = (
        Authority::new().expect("an authority"),
        Authority::new().expect("an authority"),
    );
    for tls in [Some(&elsewhere), None] {
        let tokens = TokenServer::with_options(&TokenServerOptions {
            tls,
            ..TokenServerOptions::default()
        });
        let tokens = tokens.expect("a token server");
        let registry = Registry::with_options(&RegistryOptions {
            tls: Some(&unknown),
            token_server: Some(&tokens),
            ..RegistryOptions::default()
        });
        let registry = registry.expect("docker-registry starts");
        let host = registry.host();
        let (_, port) = host.rsplit_once(':').expect("it has a port");
        let token_host = tokens.realm().split('/').nth(2).map(str::to_owned).expect("an address");
        let repository = at(&format!("localhost:{port}"), "team/app");
        let listed = |authorities: Vec<Vec<u8>>| HttpPolicy {
            // Every port of this name; the token server is called `127.0.0.1`.
            insecure_hosts: vec!["localhost".to_owned()],
            realms: RealmPolicy {
                trusted: vec![token_host.clone()],
            },
            extra_ca_pems: authorities,
            ..policy()
        };
        let client = client_of(listed(Vec::new()), &repository, "user", "pass");
        let error = client
            .check_write(&repository)
            .expect_err("its token server is not trusted");
        match (tls, error.reason()) {
            (Some(_), Reason::Http(cause)) => assert_eq!(cause.kind, HttpErrorKind::Certificate, "{error}"),
            (None, Reason::Token(cause)) => {
                assert!(cause.to_string().contains("uses https and it does not"), "{error}");
            }
            _ => panic!("{error}"),
        }
        assert!(tokens.requests().is_empty(), "nothing is sent to it");
        // What is wrong is the certificate alone.
        if tls.is_some() {
            let trusted = vec![elsewhere.pem().as_bytes().to_vec()];
            let client = client_of(listed(trusted), &repository, "user", "pass");
            client
                .check_write(&repository)
                .expect("its token server is trusted now");
            assert!(tokens.requests()[0].header("authorization").is_some());
        }
    }
}

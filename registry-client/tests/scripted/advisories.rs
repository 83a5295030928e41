//! Advisories of other registry clients, each as a test named after it, and where credentials may go in general.
//!
//! At the end of each test what each host has seen is searched for the secrets.

use std::{
    io::{self, Read},
    sync::Arc,
};

use registry_auth::{Credential, Digest, RealmPolicy, Reference, Repository, StaticKeychain};
use registry_client::{Client, Http, HttpPolicy, Reason, RegistryError, RetryPolicy, Transport};
use sha2::{Digest as _, Sha256};

use crate::script::{Answer, Script};

pub(crate) const PASSWORD: &str = "hunter2";
/// `me:hunter2` in base64.
const BASIC: &str = "bWU6aHVudGVyMg==";
const TOKEN: &str = "granted-token";

/// Fails when a secret went anywhere but to what is listed.
pub(crate) fn assert_secrets_stay_with(script: &Script, allowed: &[&str]) {
    for (origin, text) in script.seen() {
        let secret = [PASSWORD, BASIC, TOKEN].iter().any(|secret| text.contains(secret));
        assert!(
            !secret || allowed.contains(&origin.as_str()),
            "{origin} has seen\n{text}"
        );
    }
}

pub(crate) fn on(registry: &str, policy: &HttpPolicy, answers: Vec<Answer>) -> (Arc<Script>, Client, Repository) {
    let script = Arc::new(Script::new(answers));
    let http = Http::with_transport(policy, Arc::clone(&script) as Arc<dyn Transport>);
    let keychain = StaticKeychain::new().with(registry.parse().expect("a registry"), Credential::basic("me", PASSWORD));
    let repository = format!("{registry}/team/app").parse().expect("a repository");
    (script, Client::with_http(http, Arc::new(keychain)), repository)
}

pub(crate) fn policy() -> HttpPolicy {
    HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    }
}

pub(crate) fn start(answers: Vec<Answer>) -> (Arc<Script>, Client, Repository) {
    on("reg.example.com", &policy(), answers)
}

pub(crate) fn tagged(repository: &Repository) -> Reference {
    Reference::tagged(repository, "v1").expect("a tag")
}

pub(crate) fn bearer(realm: &str) -> Answer {
    (
        401,
        vec![(
            "www-authenticate",
            format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:team/app:pull\""),
        )],
        Vec::new(),
    )
}

pub(crate) fn basic() -> Answer {
    (
        401,
        vec![("www-authenticate", "Basic realm=\"r\"".to_owned())],
        Vec::new(),
    )
}

pub(crate) fn token() -> Answer {
    ok(format!(r#"{{"token": "{TOKEN}", "expires_in": 300}}"#).as_bytes())
}

pub(crate) fn ok(body: &[u8]) -> Answer {
    (200, vec![("content-length", body.len().to_string())], body.to_vec())
}

pub(crate) fn to(status: u16, location: &str) -> Answer {
    (status, vec![("location", location.to_owned())], Vec::new())
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

pub(crate) fn push(client: &Client, repository: &Repository) -> Result<(), RegistryError> {
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(b"layer".to_vec()))) };
    client.push_blob(repository, &digest(b"layer"), 5, &mut open)
}

pub(crate) fn assert_no_secret(error: &RegistryError) {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!("{error} {error:?}");
        cause = error.source();
    }
    assert!(
        [PASSWORD, BASIC, TOKEN, "signature"]
            .iter()
            .all(|secret| !text.contains(secret)),
        "{text}"
    );
}

#[test]
fn cve_2026_48978_the_realm_that_a_registry_names_gets_no_credentials_of_another_domain() {
    for realm in [
        "https://auth.evil.example.net/token",
        "https://reg.example.com.evil.net/token",
        "https://203.0.113.9/token",
    ] {
        let (script, client, repository) = start(vec![bearer(realm), token(), ok(b"{}")]);
        let error = client
            .manifest(&tagged(&repository))
            .expect_err("the realm is a stranger's");
        assert!(matches!(error.reason(), Reason::Token(_)), "{error}");
        assert!(error.to_string().contains("another domain"), "{error}");
        assert_eq!(script.origins(), ["https://reg.example.com"], "it is not even asked");
        assert_no_secret(&error);
    }
}

#[test]
fn cve_2026_48978_a_realm_of_the_same_domain_or_a_listed_one_is_asked() {
    let (script, client, repository) = start(vec![bearer("https://auth.example.com/token"), token(), ok(b"{}")]);
    assert!(client.manifest(&tagged(&repository)).expect("it is allowed").is_some());
    assert_secrets_stay_with(&script, &["https://reg.example.com", "https://auth.example.com"]);

    let realms = RealmPolicy {
        trusted: vec!["login.example.net".to_owned()],
    };
    let policy = HttpPolicy { realms, ..policy() };
    let answers = vec![bearer("https://login.example.net/token"), token(), ok(b"{}")];
    let (script, client, repository) = on("reg.example.com", &policy, answers);
    assert!(client.manifest(&tagged(&repository)).expect("it is listed").is_some());
    assert_secrets_stay_with(&script, &["https://reg.example.com", "https://login.example.net"]);
}

#[test]
fn cve_2026_33540_a_mirror_with_a_realm_of_its_own_does_not_get_the_upstreams_credentials() {
    let (script, client, repository) = on(
        "mirror.example.org",
        &policy(),
        vec![bearer("https://auth.example.com/token")],
    );
    client
        .manifest(&tagged(&repository))
        .expect_err("the realm is of another domain");
    assert_secrets_stay_with(&script, &[]);
}

#[test]
fn go_containerregistry_2026_a_private_realm_is_not_asked_however_it_is_written() {
    for host in [
        "0.0.0.0",
        "127.0.0.1",
        "[::ffff:169.254.169.254]",
        "[::1]",
        "169.254.169.254",
        "2130706433",
        "0x7f.1",
        "localhost",
    ] {
        let (script, client, repository) = start(vec![bearer(&format!("https://{host}/token")), token(), ok(b"{}")]);
        client.manifest(&tagged(&repository)).expect_err("the realm is private");
        assert_eq!(script.origins(), ["https://reg.example.com"], "{host}");
    }
}

#[test]
fn go_containerregistry_2026_a_redirect_of_the_token_server_into_a_private_network_is_not_followed() {
    for target in [
        "https://0.0.0.0/t",
        "https://[::ffff:10.0.0.1]/t",
        "http://auth.example.com/t",
        "https://169.254.169.254/t",
    ] {
        let answers = vec![
            bearer("https://auth.example.com/token"),
            to(307, target),
            token(),
            ok(b"{}"),
        ];
        let (script, client, repository) = start(answers);
        client
            .manifest(&tagged(&repository))
            .expect_err("the redirect is refused");
        assert_eq!(
            script.origins(),
            ["https://reg.example.com", "https://auth.example.com"],
            "{target}"
        );
    }
}

#[test]
fn a_redirect_of_the_token_server_to_another_origin_loses_the_password() {
    let answers = vec![
        bearer("https://auth.example.com/token"),
        to(302, "https://other.example.net/t"),
        token(),
        ok(b"{}"),
    ];
    let (script, client, repository) = start(answers);
    let _ = client.manifest(&tagged(&repository));
    assert_secrets_stay_with(&script, &["https://reg.example.com", "https://auth.example.com"]);
}

#[test]
fn cve_2019_10214_the_token_server_is_not_asked_without_tls() {
    let (script, client, repository) = start(vec![bearer("http://reg.example.com/token"), token(), ok(b"{}")]);
    client.manifest(&tagged(&repository)).expect_err("the realm has no TLS");
    assert_eq!(script.origins(), ["https://reg.example.com"]);
}

#[test]
fn cve_2026_50151_the_location_of_an_upload_on_another_origin_gets_no_credentials() {
    let answers = vec![
        basic(),
        (404, vec![], vec![]),
        to(202, "https://storage.example.net/up?signature=s"),
        (201, vec![], vec![]),
    ];
    let (script, client, repository) = start(answers);
    push(&client, &repository).expect("storage elsewhere is fine");
    assert_eq!(
        script.origins().last().map(String::as_str),
        Some("https://storage.example.net")
    );
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
}

#[test]
fn cve_2026_50151_the_location_of_an_upload_without_tls_or_in_a_private_network_is_not_used() {
    for target in [
        "http://reg.example.com/up?signature=s",
        "https://127.0.0.1/up",
        "https://[::ffff:127.0.0.1]/up",
        "https://me:x@reg.example.com/up",
        "ftp://reg.example.com/up",
    ] {
        let (script, client, repository) = start(vec![
            basic(),
            (404, vec![], vec![]),
            to(202, target),
            (201, vec![], vec![]),
        ]);
        let error = push(&client, &repository).expect_err("it is refused");
        assert!(matches!(error.reason(), Reason::Location { .. }), "{target}: {error}");
        assert!(
            script
                .origins()
                .iter()
                .all(|origin| origin == "https://reg.example.com"),
            "{target}"
        );
        assert_no_secret(&error);
    }
}

#[test]
fn ghsa_vh4v_2xq2_g5cg_a_redirect_to_another_registry_carries_no_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let answers = vec![
            basic(),
            to(status, "https://other.example.net/v2/team/app/manifests/v1"),
            ok(b"{}"),
        ];
        let (script, client, repository) = start(answers);
        assert!(client.manifest(&tagged(&repository)).expect("it is followed").is_some());
        assert_eq!(
            script.origins().last().map(String::as_str),
            Some("https://other.example.net")
        );
        assert_secrets_stay_with(&script, &["https://reg.example.com"]);
    }
}

#[test]
fn ghsa_vh4v_2xq2_g5cg_a_challenge_at_the_end_of_a_redirect_is_not_answered() {
    let answers = vec![basic(), to(307, "https://other.example.net/x"), basic(), ok(b"{}")];
    let (script, client, repository) = start(answers);
    let error = client
        .manifest(&tagged(&repository))
        .expect_err("it asks for credentials");
    assert_eq!(error.status(), Some(401));
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
}

#[test]
fn a_redirect_away_and_back_carries_credentials_only_at_home() {
    let answers = vec![
        basic(),
        to(307, "https://other.example.net/x"),
        to(307, "https://reg.example.com/v2/y"),
        ok(b"{}"),
    ];
    let (script, client, repository) = start(answers);
    assert!(client.manifest(&tagged(&repository)).expect("it is followed").is_some());
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
}

#[test]
fn a_redirect_to_another_port_or_without_tls_is_another_origin() {
    let (script, client, repository) = start(vec![basic(), to(307, "https://reg.example.com:8443/x"), ok(b"{}")]);
    let _ = client.manifest(&tagged(&repository));
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
    let (script, client, repository) = start(vec![basic(), to(307, "http://reg.example.com/x"), ok(b"{}")]);
    client.manifest(&tagged(&repository)).expect_err("TLS is not left");
    assert_eq!(script.seen().len(), 2);
}

#[test]
fn foreign_layers_and_blobs_are_not_fetched_from_a_private_network_by_a_redirect() {
    for target in [
        "https://0.0.0.0/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://10.0.0.1/x",
        "https://localhost/x",
    ] {
        let (script, client, repository) = start(vec![to(307, target), ok(b"layer")]);
        client.blob(&repository, &digest(b"layer")).expect_err("it is refused");
        assert_eq!(script.seen().len(), 1, "{target}");
    }
}

#[test]
fn cve_2024_3727_a_digest_that_is_a_path_is_not_believed() {
    let answer = (
        200,
        vec![("docker-content-digest", "sha256:../../../etc/passwd".to_owned())],
        b"{}".to_vec(),
    );
    let (_, client, repository) = start(vec![answer.clone(), answer]);
    let found = client
        .head(&tagged(&repository))
        .expect("the manifest is read instead")
        .expect("it is there");
    assert_eq!(found.digest, digest(b"{}"));
    assert!("sha256:../../../etc/passwd".parse::<Digest>().is_err());
}

#[test]
fn cve_2024_29902_what_a_registry_sends_is_bounded() {
    let large = vec![b' '; (4 << 20) + 1];
    let (_, client, repository) = start(vec![(200, vec![], large)]);
    let error = client.manifest(&tagged(&repository)).expect_err("it is too large");
    assert!(matches!(error.reason(), Reason::TooLarge { .. }), "{error}");

    let (_, client, repository) = start(vec![
        bearer("https://reg.example.com/token"),
        (200, vec![], vec![b' '; (1 << 20) + 1]),
    ]);
    let error = client.manifest(&tagged(&repository)).expect_err("it is too large");
    assert!(matches!(error.reason(), Reason::TooLarge { .. }), "{error}");

    let endless = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "m".repeat(15_000));
    let (_, client, repository) = start(vec![(500, vec![], endless.into_bytes())]);
    let error = client.check_read(&tagged(&repository)).expect_err("it failed");
    assert!(error.to_string().len() < 1000, "{error}");
}

#[test]
fn pages_of_tags_are_not_followed_to_another_server() {
    let page = (
        200,
        vec![(
            "link",
            "<https://other.example.net/v2/team/app/tags/list?last=a>; rel=\"next\"".to_owned(),
        )],
        br#"{"tags": ["a"]}"#.to_vec(),
    );
    let (script, client, repository) = start(vec![basic(), page]);
    client.tags(&repository).expect_err("the page is elsewhere");
    assert!(
        script
            .origins()
            .iter()
            .all(|origin| origin == "https://reg.example.com")
    );
}

#[test]
fn a_token_is_kept_for_its_repository_and_asked_for_anew_when_it_is_refused() {
    let (script, client, repository) = start(vec![
        bearer("https://reg.example.com/token"),
        token(),
        ok(b"{}"),
        ok(b"{}"),
        bearer("https://reg.example.com/token"),
        token(),
        ok(b"{}"),
    ]);
    for _ in 0..3 {
        assert!(client.manifest(&tagged(&repository)).expect("it answers").is_some());
    }
    let asked = script
        .seen()
        .iter()
        .filter(|(_, text)| text.contains("/token?"))
        .count();
    assert_eq!((script.seen().len(), asked), (7, 2));
}

#[test]
fn no_error_and_no_debug_form_shows_a_secret() {
    let (_, client, repository) = start(vec![basic(), basic()]);
    let error = client
        .manifest(&tagged(&repository))
        .expect_err("the password is wrong");
    assert!(error.is_unauthorized());
    assert_no_secret(&error);
    let (_, client, repository) = start(vec![
        bearer("https://reg.example.com/token"),
        (401, vec![], b"no".to_vec()),
    ]);
    let error = client
        .manifest(&tagged(&repository))
        .expect_err("the password is wrong");
    assert!(error.is_unauthorized());
    assert_no_secret(&error);
    let policy = HttpPolicy {
        proxy: registry_client::ProxyPolicy {
            http: Some(format!("http://me:{PASSWORD}@proxy:3128")),
            ..Default::default()
        },
        ..policy()
    };
    assert!(!format!("{policy:?} {client:?} {:?}", client.http()).contains(PASSWORD));
}

#[test]
fn a_refresh_token_that_came_with_a_token_is_used_next_and_the_password_when_it_is_refused() {
    let with_refresh = || ok(format!(r#"{{"token": "{TOKEN}", "refresh_token": "renew-me"}}"#).as_bytes());
    let realm = || bearer("https://reg.example.com/token");
    let (script, client, repository) = start(vec![
        realm(),
        with_refresh(),
        ok(b"{}"),
        realm(),
        with_refresh(),
        ok(b"{}"),
        realm(),
        (400, vec![], br#"{"error": "invalid_grant"}"#.to_vec()),
        token(),
        ok(b"{}"),
    ]);
    for _ in 0..3 {
        assert!(client.manifest(&tagged(&repository)).expect("it answers").is_some());
    }
    let seen = script.seen();
    let renews = |at: usize| seen[at].1.contains("grant_type=refresh_token") && seen[at].1.contains("renew-me");
    assert!(seen[1].1.contains(BASIC) && renews(4) && renews(7) && seen[8].1.contains(BASIC));
}

/// Gives another password each time it is asked.
struct Rotating(std::sync::Mutex<Vec<&'static str>>);

impl registry_auth::Keychain for Rotating {
    fn find(&self, _: &Repository) -> Result<Option<Credential>, registry_auth::KeychainError> {
        let mut passwords = self.0.lock().expect("no test panics here");
        let password = if passwords.len() > 1 {
            passwords.remove(0)
        } else {
            passwords[0]
        };
        Ok(Some(Credential::basic("me", password)))
    }
}

fn rotating(answers: Vec<Answer>) -> (Arc<Script>, Client, Repository) {
    let script = Arc::new(Script::new(answers));
    let http = Http::with_transport(&policy(), Arc::clone(&script) as Arc<dyn Transport>);
    let keychain = Rotating(std::sync::Mutex::new(vec!["old", "new"]));
    let repository = "reg.example.com/team/app".parse().expect("a repository");
    (script, Client::with_http(http, Arc::new(keychain)), repository)
}

#[test]
fn a_password_that_ended_is_asked_for_again_and_one_that_is_wrong_is_not_tried_twice() {
    // `me:old` and `me:new`.
    let (old, new) = ("bWU6b2xk", "bWU6bmV3");
    let (script, client, repository) = rotating(vec![basic(), ok(b"{}"), basic(), ok(b"{}"), basic(), basic()]);
    for _ in 0..2 {
        assert!(client.manifest(&tagged(&repository)).expect("it answers").is_some());
    }
    let error = client.manifest(&tagged(&repository)).expect_err("nothing is left");
    assert_eq!(error.status(), Some(401));
    let seen = script.seen();
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(seen[1].1.contains(old) && seen[2].1.contains(old) && seen[3].1.contains(new) && seen[4].1.contains(new));

    let realm = || bearer("https://reg.example.com/token");
    let refused = || (401, vec![], Vec::new());
    let (script, client, repository) = rotating(vec![realm(), refused(), token(), ok(b"{}")]);
    assert!(client.manifest(&tagged(&repository)).expect("it answers").is_some());
    assert!(script.seen()[1].1.contains(old) && script.seen()[2].1.contains(new));
    let (script, client, repository) = rotating(vec![realm(), refused(), refused(), refused()]);
    client.manifest(&tagged(&repository)).expect_err("neither is right");
    assert_eq!(script.seen().len(), 3);
}

#[test]
fn a_refresh_token_goes_only_to_the_token_server_that_gave_it() {
    let with_refresh = || ok(format!(r#"{{"token": "{TOKEN}", "refresh_token": "renew-me"}}"#).as_bytes());
    let (script, client, repository) = start(vec![
        bearer("https://auth.example.com/token"),
        with_refresh(),
        ok(b"{}"),
        bearer("https://other.example.com/token"),
        token(),
        ok(b"{}"),
    ]);
    for _ in 0..2 {
        assert!(client.manifest(&tagged(&repository)).expect("it answers").is_some());
    }
    let told = |(origin, text): &(String, String)| origin.contains("other") && text.contains("renew-me");
    assert!(!script.seen().iter().any(told));

    // A stranger may be asked without credentials, again and again, whatever it gives.
    let script = Arc::new(Script::new(vec![
        bearer("https://auth.example.net/token"),
        with_refresh(),
        ok(b"{}"),
        bearer("https://auth.example.net/token"),
        with_refresh(),
        ok(b"{}"),
    ]));
    let http = Http::with_transport(&policy(), Arc::clone(&script) as Arc<dyn Transport>);
    let client = Client::with_http(http, Arc::new(registry_auth::AnonymousKeychain));
    for _ in 0..2 {
        assert!(client.manifest(&tagged(&repository)).expect("anyone may").is_some());
    }
    assert!(!script.seen().iter().any(|(_, text)| text.contains("renew-me")));
}

//! Advisories about places that others name: addresses of foreign layers, mirrors, digests, attachments.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Chain, Credential, Digest, Reference, StaticKeychain};
use registry_client::{Client, Http, HttpPolicy, Mirror, Reason, RegistryError, Transport};

use crate::{
    advisories::{
        assert_no_secret, assert_secrets_stay_with, basic, bearer, digest, ok, on, policy, start, tagged, to,
    },
    script::{Answer, Script},
};

fn missing() -> Answer {
    (404, Vec::new(), Vec::new())
}

fn read(client: &Client, repository: &registry_auth::Repository, urls: &[&str]) -> Result<Vec<u8>, RegistryError> {
    let urls: Vec<_> = urls.iter().map(|url| (*url).to_owned()).collect();
    let mut bytes = Vec::new();
    let mut blob = client.foreign_blob(repository, &digest(b"layer"), &urls)?;
    blob.read_to_end(&mut bytes)
        .map_err(|error| error.downcast::<RegistryError>().expect("it is the client's"))?;
    Ok(bytes)
}

/// Addresses that are of this machine or its network, in ways that were taken for public ones.
const PRIVATE: [&str; 12] = [
    "0.0.0.0",
    "0",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::7f00:1]",
    "169.254.169.254",
];

#[test]
fn go_containerregistry_2026_a_foreign_layer_is_not_fetched_from_a_private_address_however_it_is_written() {
    for host in PRIVATE {
        let (script, client, repository) = start(vec![missing(), ok(b"layer")]);
        let url = format!("https://{host}/layer");
        let error = read(&client, &repository, &[&url]).expect_err("the address is private");
        assert_eq!(script.origins(), ["https://reg.example.com"], "{host}: {error}");
    }
}

#[test]
fn go_containerregistry_2026_a_foreign_layer_is_not_fetched_from_a_private_address_by_a_redirect_after_the_check() {
    for host in PRIVATE {
        for target in [format!("https://{host}/x"), format!("//{host}/x")] {
            let answers = vec![missing(), to(302, &target), ok(b"layer")];
            let (script, client, repository) = start(answers);
            read(&client, &repository, &["https://cdn.example.net/layer"]).expect_err("the redirect is refused");
            let asked = script.origins();
            assert_eq!(
                asked,
                ["https://reg.example.com", "https://cdn.example.net"],
                "{target}"
            );
        }
    }
}

#[test]
fn a_foreign_layer_comes_without_credentials_and_only_if_it_is_the_right_one() {
    let elsewhere = ["https://cdn.example.net/layer"];
    let (script, client, repository) = start(vec![basic(), missing(), ok(b"layer")]);
    assert_eq!(read(&client, &repository, &elsewhere).expect("it is there"), b"layer");
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);

    let (script, client, repository) = start(vec![basic(), missing(), ok(b"other")]);
    let error = read(&client, &repository, &elsewhere).expect_err("it is another one");
    assert!(matches!(error.reason(), Reason::WrongBytes { .. }), "{error}");
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);

    // A challenge there is nobody's business.
    let (script, client, repository) = start(vec![basic(), missing(), basic(), ok(b"layer")]);
    read(&client, &repository, &elsewhere).expect_err("it asks for a password");
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
    let (script, client, repository) = start(vec![missing(), ok(b"layer")]);
    read(&client, &repository, &["http://cdn.example.net/layer"]).expect_err("TLS is not left");
    assert_eq!(script.seen().len(), 1);
}

/// A client with a mirror, and a password for each of the two.
fn mirrored(answers: Vec<Answer>) -> (Arc<Script>, Client, Reference) {
    let host = |name: &str| name.parse().expect("a host");
    let policy = HttpPolicy {
        mirrors: vec![Mirror::new(host("reg.example.com"), host("mirror.example.org"))],
        ..policy()
    };
    let script = Arc::new(Script::new(answers));
    let http = Http::with_transport(&policy, Arc::clone(&script) as Arc<dyn Transport>);
    let keychain = Chain::default()
        .then(StaticKeychain::new().with(host("reg.example.com"), Credential::basic("me", "hunter2")))
        .then(AnonymousKeychain);
    let client = Client::with_http(http, Arc::new(keychain));
    let repository = "reg.example.com/team/app".parse().expect("a repository");
    (script, client, tagged(&repository))
}

#[test]
fn cve_2026_33540_a_mirrors_realm_is_judged_by_the_mirrors_own_domain_and_gets_no_password_of_the_upstream() {
    // The mirror names the token server of the upstream, which would give it a token.
    // There it is asked as nobody, and refused.
    let refused = (401, Vec::new(), Vec::new());
    let answers = vec![bearer("https://auth.example.com/token"), refused, ok(b"{}")];
    let (script, client, reference) = mirrored(answers);
    let found = client.manifest(&reference).expect("the upstream has it");
    assert!(found.is_some(), "{:?}", script.seen());
    let asked = [
        "https://mirror.example.org",
        "https://auth.example.com",
        "https://reg.example.com",
    ];
    assert_eq!(script.origins(), asked);
    assert_secrets_stay_with(&script, &[]);
}

#[test]
fn cve_2026_33540_a_mirror_that_asks_for_a_password_gets_its_own_or_none() {
    let (script, client, reference) = mirrored(vec![basic(), basic(), ok(b"{}")]);
    assert!(client.manifest(&reference).expect("the upstream has it").is_some());
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
}

#[test]
fn cve_2024_3727_nothing_that_is_no_digest_becomes_one() {
    let good = digest(b"x").to_string();
    let upper = good.to_ascii_uppercase().replace("SHA256", "sha256");
    for text in [
        "",
        "sha256",
        "sha256:",
        "sha256:..",
        "sha256:../../../../etc/passwd",
        "../../../etc/passwd",
        "sha256:/etc/passwd",
        "sha512:../x",
        &good[..good.len() - 1],
        &format!("{good}0"),
        &format!(" {good}"),
        &format!("{good}\n"),
        &upper,
        &good.replace("sha256", "SHA256"),
        &good.replace("sha256:", "sha256:\0"),
        &good.replace("sha256", "md5"),
    ] {
        assert!(text.parse::<Digest>().is_err(), "{text:?}");
    }
    assert!(good.parse::<Digest>().is_ok());
}

#[test]
fn cve_2024_3727_a_digest_of_the_registry_that_is_none_is_never_part_of_an_address() {
    for bad in ["sha256:../../x", "sha256:%2e%2e", "sha256:ABC", "other:1"] {
        let head = (200, vec![("docker-content-digest", bad.to_owned())], Vec::new());
        let (script, client, repository) = start(vec![head, missing()]);
        assert_eq!(client.head(&tagged(&repository)).expect("it answers"), None, "{bad}");
        assert!(script.seen().iter().all(|(_, text)| !text.contains(bad)));
    }
}

/// A header that announces far more than there is memory for.
fn announced(length: &str) -> Answer {
    (200, vec![("content-length", length.to_owned())], b"layer".to_vec())
}

#[test]
fn cve_2024_29902_an_announced_size_reserves_no_memory_and_is_no_size() {
    for length in ["18446744073709551615", "9223372036854775807", "99999999999999999999999"] {
        let (_, client, repository) = start(vec![announced(length)]);
        let error = client
            .manifest(&tagged(&repository).with_digest(&digest(b"layer")))
            .err();
        // What is there may be taken, since the digest is right; or its length is found wrong.
        assert!(error.is_none_or(|error| matches!(error.reason(), Reason::TooLarge { .. } | Reason::Http(_))));
        let (_, client, repository) = start(vec![announced(length)]);
        if let Ok(mut blob) = client.blob(&repository, &digest(b"layer")) {
            let mut bytes = Vec::new();
            let read = blob.read_to_end(&mut bytes);
            assert!(read.is_err() || bytes == b"layer");
        }
    }
}

#[test]
fn pages_that_go_in_circles_or_never_end_are_no_list() {
    let page = |next: &str, name: &str| -> Answer {
        let link = format!("</v2/team/app/tags/list?last={next}>; rel=\"next\"");
        (
            200,
            vec![("link", link)],
            format!(r#"{{"tags": ["{name}"]}}"#).into_bytes(),
        )
    };
    let list = |pages: Vec<Answer>| {
        let (script, client, repository) = start(pages);
        (client.tags(&repository), script.seen().len())
    };
    let (circle, asked) = list(vec![page("a", "1"), page("b", "2"), page("a", "1"), page("b", "2")]);
    let error = circle.expect_err("it goes in circles");
    assert!(error.to_string().contains("does not end"), "{error}");
    assert_eq!(asked, 3);
    // One name of many bytes a page.
    let long = "x".repeat(8_000_000);
    let (endless, asked) = list((0..30).map(|at| page(&at.to_string(), &long)).collect());
    endless.expect_err("it is too long");
    assert!(asked < 20, "{asked}");
    // A cursor may have a comma in it.
    let (tags, _) = list(vec![page("a,b", "1"), ok(br#"{"tags": ["2"]}"#)]);
    assert_eq!(tags.expect("it ends"), ["1", "2"]);
}

#[test]
fn cve_2024_29902_attachments_and_lists_are_bounded() {
    let large = (200, Vec::new(), vec![b' '; (8 << 20) + 1]);
    let (_, client, repository) = start(vec![large.clone()]);
    let error = client
        .referrers(&repository, &digest(b"x"))
        .expect_err("it is too large");
    assert!(matches!(error.reason(), Reason::TooLarge { .. }), "{error}");
    let (_, client, repository) = start(vec![large]);
    let error = client.tags(&repository).expect_err("it is too large");
    assert!(matches!(error.reason(), Reason::TooLarge { .. }), "{error}");
}

#[test]
fn cve_2026_50151_a_streamed_upload_follows_a_location_elsewhere_without_credentials() {
    let policy = HttpPolicy {
        upload_chunk: 2,
        ..policy()
    };
    let answers = vec![
        basic(),
        to(202, "https://storage.example.net/up/1"),
        to(202, "https://storage.example.net/up/2"),
        to(202, "https://storage.example.net/up/3"),
        (201, Vec::new(), Vec::new()),
    ];
    let (script, client, repository) = on("reg.example.com", &policy, answers);
    let mut upload = client.start_upload(&repository).expect("an upload");
    upload.write_all(b"layer").expect("it is taken");
    upload.finish(&digest(b"layer")).expect("it is closed");
    assert_eq!(
        script.origins().last().map(String::as_str),
        Some("https://storage.example.net")
    );
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
}

#[test]
fn cve_2026_50151_a_streamed_upload_does_not_follow_a_location_into_a_private_network() {
    for host in PRIVATE {
        let policy = HttpPolicy {
            upload_chunk: 2,
            ..policy()
        };
        let answers = vec![basic(), to(202, &format!("https://{host}/up")), to(202, "/up/2")];
        let (script, client, repository) = on("reg.example.com", &policy, answers);
        let mut upload = client.start_upload(&repository).expect("an upload");
        let error: io::Error = upload.write_all(b"layer").expect_err("it is refused");
        let error = error.downcast::<RegistryError>().expect("it is the client's");
        assert_no_secret(&error);
        drop(upload);
        assert!(
            script
                .origins()
                .iter()
                .all(|origin| origin == "https://reg.example.com"),
            "{host}"
        );
    }
}

#[test]
fn ghsa_vh4v_2xq2_g5cg_a_challenge_of_an_upload_elsewhere_is_not_answered() {
    let answers = vec![
        basic(),
        missing(),
        to(202, "https://storage.example.net/up"),
        basic(),
        (201, Vec::new(), Vec::new()),
    ];
    let (script, client, repository) = start(answers);
    let error = crate::advisories::push(&client, &repository).expect_err("it asks for a password");
    assert_eq!(error.status(), Some(401));
    assert_secrets_stay_with(&script, &["https://reg.example.com"]);
}

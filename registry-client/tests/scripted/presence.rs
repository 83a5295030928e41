//! Whether a blob is there, asked of registries that lead elsewhere: the place at the end knows.

use crate::{
    advisories::{assert_secrets_stay_with, basic, digest, ok, push, start, to},
    script::Answer,
};

const ELSEWHERE: &str = "https://storage.example.net/layer?signature=1";

fn status(status: u16) -> Answer {
    (status, Vec::new(), Vec::new())
}

#[test]
fn a_blob_is_there_or_not_as_the_place_says_that_the_registry_leads_to() {
    for redirect in [301, 302, 303, 307, 308] {
        for (last, expected) in [(ok(b"layer"), Some(5)), (status(404), None)] {
            let (script, client, repository) = start(vec![basic(), to(redirect, ELSEWHERE), last]);
            let found = client.has_blob(&repository, &digest(b"layer")).expect("it is told");
            assert_eq!(found, expected, "{redirect}");
            let seen = script.seen();
            assert_eq!(seen.len(), 3, "{redirect}");
            assert!(
                seen.iter().all(|(_, request)| request.starts_with("HEAD ")),
                "{redirect}"
            );
            assert_secrets_stay_with(&script, &["https://reg.example.com"]);
        }
    }
}

#[test]
fn a_place_that_says_neither_is_an_error() {
    for last in [status(403), status(500), status(206)] {
        let (_, client, repository) = start(vec![to(307, ELSEWHERE), last.clone()]);
        let error = client
            .has_blob(&repository, &digest(b"layer"))
            .expect_err("it is not known");
        assert_eq!(error.status(), Some(last.0));
    }
    // It leads nowhere.
    let (_, client, repository) = start(vec![status(307)]);
    client
        .has_blob(&repository, &digest(b"layer"))
        .expect_err("it is not known");
}

#[test]
fn whether_a_blob_is_there_is_not_asked_in_a_private_network_or_without_tls() {
    for target in [
        "https://10.0.0.1/x",
        "https://[::ffff:127.0.0.1]/x",
        "http://reg.example.com/x",
    ] {
        let (script, client, repository) = start(vec![to(307, target), ok(b"layer")]);
        client
            .has_blob(&repository, &digest(b"layer"))
            .expect_err("it is refused");
        assert_eq!(script.seen().len(), 1, "{target}");
    }
}

#[test]
fn a_blob_that_is_not_where_the_registry_leads_to_is_pushed() {
    let answers = vec![to(307, ELSEWHERE), status(404), status(201)];
    let (script, client, repository) = start(answers);
    push(&client, &repository).expect("it is taken");
    let seen = script.seen();
    assert!(seen.len() == 3 && seen[2].1.starts_with("POST "), "{seen:?}");
}

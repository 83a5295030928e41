//! Whatever a server answers: nothing panics, nothing wrong is accepted, no secret leaves.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use registry_auth::Origin;

use crate::{
    advisories::{basic, bearer, digest, ok, policy, push, tagged, to},
    script::{Answer, Script},
};
use registry_client::HttpPolicy;

/// Values that servers send in one header or another, good and bad.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,30}",
        "(Basic|Bearer|bearer|Digest|,|=)( realm=\"?https?://(auth\\.example\\.com|evil\\.test|127\\.0\\.0\\.1|\\[::1\\])/t\"?)?(,service=\"[a-z]{0,3}\")?(,scope=\"repository:[a-z/]{0,5}:pull\")?",
        "<?/?(v2/team/app/tags/list)?(\\?n=1)?>?; rel=\"?next\"?",
        "(https?:)?//(reg\\.example\\.com|evil\\.test|0\\.0\\.0\\.0|\\[::ffff:10\\.0\\.0\\.1\\])(:[0-9]{0,6})?/[a-z?=&#%]{0,8}",
        "sha256:[0-9a-fA-F]{62,65}",
        "(bytes )?[0-9]{0,25}-[0-9]{0,25}(/[0-9*]{0,3})?",
        "(0-)?1844674407370955161[4-6]",
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let name = prop::sample::select(vec![
        "www-authenticate",
        "location",
        "link",
        "docker-content-digest",
        "content-type",
        "content-length",
        "content-range",
        "range",
        "retry-after",
    ]);
    let body = prop_oneof![
        Just(b"layer".to_vec()),
        "[ -~]{0,40}".prop_map(String::into_bytes),
        "\\{\"(token|access_token|tags|manifests|errors|mediaType|expires_in)\": ?(\"[a-z\\\\n]{0,5}\"|[-0-9e.]{1,30}|\\[?\\{?\"?a\"?\\}?\\]?|null)\\}"
            .prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let status = prop::sample::select(vec![
        200_u16, 200, 201, 202, 204, 206, 301, 302, 307, 308, 400, 401, 401, 403, 404, 416, 429, 500, 503,
    ]);
    let hosts = prop::sample::select(vec![
        "reg.example.com",
        "auth.example.com",
        "evil.test",
        "0.0.0.0",
        "[::1]",
    ]);
    // What leads further than chance does.
    prop_oneof![
        4 => (status, proptest::collection::vec((name, any_value()), 0..4), body),
        2 => Just(basic()),
        1 => hosts.clone().prop_map(|host| bearer(&format!("https://{host}/token"))),
        1 => Just(ok(br#"{"token": "granted", "expires_in": 300}"#)),
        1 => (prop::sample::select(vec![202, 307]), hosts).prop_map(|(status, host)| to(status, &format!("https://{host}/x"))),
        1 => Just((404, Vec::new(), Vec::new())),
    ]
}

proptest! {
    #[test]
    fn no_answer_makes_the_client_panic_or_lie_or_betray(answers in proptest::collection::vec(any_answer(), 1..6)) {
        let policy = HttpPolicy { upload_chunk: 2, ..policy() };
        let operations: [fn(&registry_client::Client, &registry_auth::Repository); 10] = [
            |client, repository| {
                let pinned = tagged(repository).with_digest(&digest(b"layer"));
                if let Ok(Some(manifest)) = client.manifest(&pinned) {
                    assert_eq!(manifest.bytes, b"layer");
                }
                if let Ok(Some(found)) = client.head(&pinned) {
                    assert_eq!(found.digest, digest(b"layer"));
                }
            },
            |client, repository| {
                let mut bytes = Vec::new();
                let urls = ["https://cdn.example.net/layer".to_owned()];
                if let Ok(mut blob) = client.foreign_blob(repository, &digest(b"layer"), &urls)
                    && blob.read_to_end(&mut bytes).is_ok()
                {
                    assert_eq!(bytes, b"layer");
                }
            },
            |client, repository| drop(client.tags(repository)),
            |client, repository| drop(client.referrers(repository, &digest(b"layer"))),
            |client, repository| drop(push(client, repository)),
            |client, repository| {
                if let Ok(mut upload) = client.start_upload(repository)
                    && upload.write_all(b"layer").is_ok()
                {
                    drop(upload.finish(&digest(b"layer")));
                }
            },
            |client, repository| {
                let bytes = io::Cursor::new(b"layer".to_vec());
                if let Ok(upload) = client.stream_blob(repository, bytes) {
                    drop(upload.finish(&digest(b"layer")));
                }
            },
            |client, repository| {
                let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(b"layer"))) };
                drop(client.push_new_blob(repository, &digest(b"layer"), 5, &mut open));
            },
            |client, repository| drop(client.check_write(repository)),
            |client, repository| {
                drop(client.push_manifest(&tagged(repository), "application/json", b"layer"));
                drop(client.delete(&tagged(repository)));
            },
        ];
        for operation in operations {
            let (script, client, repository) = crate::advisories::on("reg.example.com", &policy, answers.clone());
            operation(&client, &repository);
            check(&script);
        }
    }
}

/// Nothing goes to a private network or without TLS, and the password only to the registry's own domain.
fn check(script: &Script) {
    for (origin, text) in script.seen() {
        let address = format!("{origin}/").parse().expect("an address");
        let origin = Origin::of(&address).expect("an origin");
        assert!(
            !origin.is_private() && origin.scheme() == registry_auth::Scheme::Https,
            "{text}"
        );
        let secret = ["hunter2", "bWU6aHVudGVyMg=="]
            .iter()
            .any(|secret| text.contains(secret));
        let own = origin.host() == "reg.example.com" || origin.host() == "auth.example.com";
        assert!(!secret || own, "{text}");
    }
}

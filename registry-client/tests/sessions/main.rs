//! Recorded token sessions of the reference client, whole: what is sent to whom in which order, and how it ends.

#[path = "../page/mod.rs"]
mod page;
mod play;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Credential, Keychain, Reference, Repository, StaticKeychain};
use registry_client::{Client, Http, HttpPolicy, RegistryError, RetryPolicy};
use serde_json::{Value, json};

use page::assert_page;
use play::{Contact, Play, Still, recorded, text};

fn keychain(case: &Value) -> Arc<dyn Keychain> {
    let auth = &case["auth"];
    if auth.is_null() {
        return Arc::new(AnonymousKeychain);
    }
    let credential = match text(auth, "username") {
        "" if !text(auth, "auth").is_empty() => Credential::basic_token(text(auth, "auth")),
        _ => Credential::basic(text(auth, "username"), text(auth, "password"))
            .with_identity_token(text(auth, "identitytoken"))
            .with_registry_token(text(auth, "registrytoken")),
    };
    let registry = text(case, "registry").parse().expect("a registry");
    Arc::new(StaticKeychain::new().with(registry, credential))
}

/// Does what was asked for after the handshake, and tells how it ended: the status and the body, or `error`.
fn ask(client: &Client, case: &Value, wanted: &Value) -> String {
    let address = text(wanted, "url").trim_start_matches("https://");
    let (registry, path) = address.split_once("/v2/").expect("an address of a registry");
    let at = |path: &str| -> Repository { format!("{registry}/{path}").parse().expect("a repository") };
    let error = |error: RegistryError| {
        error
            .status()
            .map_or_else(|| "error".to_owned(), |status| status.to_string())
    };
    let scopes: Vec<_> = case["scopes"].as_array().into_iter().flatten().collect();
    match (scopes.as_slice(), path.split_once("/manifests/")) {
        // What needs two repositories is a mount.
        ([_, second], Some((to, _))) if *second == "repository:base/img:pull" => {
            let mounted = client.mount_blob(&at("base/img"), &at(to), &DIGEST.parse().expect("a digest"));
            mounted.map_or_else(error, |_| "200 m".to_owned())
        }
        (_, Some((path, tag))) => {
            let reference = Reference::tagged(&at(path), tag).expect("a tag");
            match client.manifest(&reference) {
                Ok(Some(manifest)) => format!("200 {}", String::from_utf8_lossy(&manifest.bytes)),
                Ok(None) => "404".to_owned(),
                Err(failed) => error(failed),
            }
        }
        (_, None) => {
            let path = path.strip_suffix("/blobs/uploads/").expect("an upload");
            client
                .check_write(&at(path))
                .map_or_else(error, |()| "202 m".to_owned())
        }
    }
}

const DIGEST: &str = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a";

/// How a session went.
#[derive(Debug, PartialEq, Eq)]
struct Course {
    requests: Vec<String>,
    /// How each question ended.
    ends: Vec<String>,
}

fn ours(case: &Value, contact: Contact) -> Course {
    let play = Arc::new(Play::new(case, contact));
    let registry = text(case, "registry").to_owned();
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        clock: Arc::new(Still),
        // Where both schemes are possible the registry is asked for the scheme, and for nothing else, first.
        insecure_hosts: (contact == Contact::Ping).then_some(registry).into_iter().collect(),
        ..HttpPolicy::default()
    };
    let client = Client::with_http(Http::with_transport(&policy, Arc::clone(&play) as _), keychain(case));
    let ends = questions(case)
        .iter()
        .map(|wanted| ask(&client, case, wanted))
        .collect();
    let requests = play.seen();
    Course { requests, ends }
}

/// What is asked after the handshake, or because of it.
fn questions(case: &Value) -> Vec<Value> {
    let then = case["then"].as_array().expect("there are questions");
    if !then.is_empty() {
        return then.clone();
    }
    let address = format!("https://{}/v2/team/app/manifests/latest", text(case, "registry"));
    vec![json!({"method": "GET", "url": address})]
}

/// What the reference did, as ours would show it.
fn theirs(case: &Value, contact: Contact) -> Course {
    let out = &case["out"];
    let mut requests: Vec<_> = out["requests"].as_array().into_iter().flatten().map(recorded).collect();
    let questions = questions(case);
    if contact == Contact::Question {
        match case["responses"][0]["status"] == 200 {
            true => drop(requests.remove(0)),
            false => requests[0] = recorded(&questions[0]),
        }
    }
    let end = |at: usize| {
        let result = &out["results"][at];
        match result["status"].as_u64() {
            Some(status @ 200..300) => format!("{status} {}", text(result, "body")),
            Some(status) => status.to_string(),
            None => "error".to_owned(),
        }
    };
    let ends = (0..questions.len()).map(end).collect();
    Course { requests, ends }
}

/// Tells whether ours went as theirs; where they had an error, ours may tell its status.
fn alike(ours: &Course, theirs: &Course) -> bool {
    let ends = ours.ends.iter().zip(&theirs.ends);
    let same_end = |(ours, theirs): (&String, &String)| ours == theirs || (theirs == "error" && is_error(ours));
    ours.requests == theirs.requests && ends.into_iter().all(same_end)
}

fn is_error(end: &str) -> bool {
    end == "error" || end.parse::<u16>().is_ok()
}

/// What a secret may be sent to: the registry itself, its token server, and what the rule allows besides.
fn assert_secrets_stay_at_home(name: &str, course: &Course) {
    for request in &course.requests {
        let secret = ["Basic ", "Bearer ", "refresh_token="]
            .iter()
            .any(|secret| request.contains(secret));
        let address = request.split(' ').nth(1).unwrap_or_default();
        let home = [
            "https://reg.example.com/",
            "https://reg.example.com:443/",
            "https://auth.example.com/",
            "https://auth.example.com:8443/",
            "https://10.1.2.3/",
            // The registry is `10.1.2.3` itself.
            "https://10.1.2.3:5001/",
            // A realm of the same registrable domain, whatever it is called.
            "https://evil.example.com/",
        ];
        assert!(
            !secret || home.iter().any(|home| address.starts_with(home)),
            "{name}: {request}"
        );
    }
}

#[test]
fn recorded_sessions_go_the_same_way_or_as_the_page_says() {
    let document = include_str!("../fixtures/auth/sessions.json");
    // The scopes of that session are those of `team/app`, and a name of one letter is none.
    let document = document.replace("/v2/x/manifests/y", "/v2/team/app/manifests/latest");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let cases = document["cases"].as_array().expect("there are cases");
    let listed = DIFFERENCES
        .iter()
        .flat_map(|(way, names, why)| names.iter().map(|name| ((*name, *way), *why)));
    let differences: BTreeMap<_, _> = listed.collect();
    let (mut unused, mut unexplained) = (differences.clone(), Vec::new());
    let (mut page, mut counts) = (
        String::new(),
        BTreeMap::from([(Contact::Ping, 0), (Contact::Question, 0)]),
    );
    for case in cases {
        let name = text(case, "name");
        for contact in [Contact::Question, Contact::Ping] {
            let (ours, theirs) = (ours(case, contact), theirs(case, contact));
            assert_secrets_stay_at_home(name, &ours);
            if alike(&ours, &theirs) {
                *counts.entry(contact).or_default() += 1;
                continue;
            }
            let key = [(name, Some(contact)), (name, None)]
                .into_iter()
                .find(|key| differences.contains_key(key));
            let why = key.map_or("?", |key| differences[&key]);
            if let Some(key) = key {
                unused.remove(&key);
            } else {
                unexplained.push(name);
            }
            tell(&mut page, name, contact, why, &ours, &theirs).expect("a String takes every write");
        }
    }
    let head = format!(
        "{} sessions; the same requests and ends where the first contact is the question itself: {}, where it is \
         `GET /v2/`: {}.\n",
        cases.len(),
        counts[&Contact::Question],
        counts[&Contact::Ping],
    );
    assert_page(
        "docs/sessions.md",
        "<!-- written by the test -->\n\n",
        &format!("{head}{page}"),
    );
    assert!(unexplained.is_empty(), "{unexplained:?} in\n{page}");
    assert!(unused.is_empty(), "these go the same way: {unused:?}");
    assert_eq!(cases.len(), 131);
}

fn tell(page: &mut String, name: &str, contact: Contact, why: &str, ours: &Course, theirs: &Course) -> fmt::Result {
    let contact = match contact {
        Contact::Question => "",
        Contact::Ping => " (after `GET /v2/`)",
    };
    writeln!(page, "\n## {name}{contact}\n\n{why}\n\n```text")?;
    for (who, course) in [("reference", theirs), ("here", ours)] {
        writeln!(page, "{who}: {}", course.ends.join(", "))?;
        for request in &course.requests {
            writeln!(page, "  {}", request.replace('\n', "\\n"))?;
        }
    }
    writeln!(page, "```")
}

type Differences = &'static [(Option<Contact>, &'static [&'static str], &'static str)];

/// Sessions that go another way here, in one way of the first contact or in both, and why.
const DIFFERENCES: Differences = &[
    (
        None,
        &[
            "no-auth-needed-but-credential-present",
            "no-auth-needed-with-auth-field-only",
        ],
        "No password is sent to a registry that does not ask for one.",
    ),
    (
        Some(Contact::Question),
        &[
            "basic-anonymous",
            "basic-with-registry-token",
            "basic-with-identity-token",
            "bearer-with-registry-token",
        ],
        "The question itself was refused, and there is nothing else to prove who is asking.",
    ),
    (
        None,
        &["bearer-with-registry-token-refused"],
        "A fixed token that was refused is not sent again.",
    ),
    (
        None,
        &["two-scopes", "two-scopes-identity-token"],
        "What needs two repositories here is a mount; the token is asked for both.",
    ),
    (
        None,
        &["no-scopes"],
        "Whatever is asked here has a scope; the request for a token without one is compared in `registry-auth`.",
    ),
    (
        Some(Contact::Question),
        &["scope-of-the-ping-challenge-is-not-used"],
        "The challenge is the question's own, and what it asks for is needed.",
    ),
    (
        None,
        &["realm-with-user-info"],
        "An address with a user name in it is no realm.",
    ),
    (
        None,
        &["realm-localhost-name", "realm-cgnat", "realm-decimal-ip"],
        "The realm is in a private network and the registry is not; the reference does not know these forms.",
    ),
    (
        None,
        &["realm-public-ip"],
        "The realm is a stranger's, and no password goes there.",
    ),
    (
        Some(Contact::Ping),
        &[
            "realm-missing",
            "realm-empty",
            "realm-relative",
            "realm-http",
            "realm-http-same-host",
            "realm-loopback",
            "realm-private",
            "realm-link-local",
            "realm-unspecified",
            "realm-ipv6-ula",
            "realm-ftp",
            "realm-bad-url",
            "realm-ipv4-mapped",
            "realm-multicast",
        ],
        "The realm is refused all the same; that is an error only when the registry refuses the question without a token.",
    ),
    (
        Some(Contact::Question),
        &["realm-private-same-host-as-registry"],
        "The scheme of a private registry is not known, so `GET /v2/` goes first here, too.",
    ),
    (
        None,
        &["realm-private-same-host-other-port"],
        "The realm is on the registry's own host.",
    ),
    (
        None,
        &["token-answer-expires-in-string", "token-answer-expires-in-float"],
        "How long a token lives is a hint: it counts for a minute then.",
    ),
    (
        None,
        &["token-answer-too-big"],
        "Up to 1 MiB is read of a token server's answer.",
    ),
    (
        None,
        &["token-answer-token-with-newline"],
        "No token may end a header; in the reference this fails later, when it is really sent.",
    ),
    (
        None,
        &["identity-token-redirect-keeps-body-on-307"],
        "A refresh token does not go along with a redirect.",
    ),
    (
        Some(Contact::Question),
        &["401-with-the-same-scope", "401-without-scope"],
        "A token that was just issued for these scopes is not asked for again; an older one is.",
    ),
    (
        None,
        &["401-with-another-realm"],
        "The newest challenge counts. The rule for realms holds for it, too: this one is in the registry's domain.",
    ),
    (
        None,
        &["401-with-basic-challenge"],
        "The newest challenge counts: the registry is given the password it asks for.",
    ),
    (
        None,
        &["401-on-second-request-accumulates-scopes"],
        "Each repository has a token of its own, and none allows more than is needed.",
    ),
    (
        None,
        &["401-on-post-with-body"],
        "What starts an upload has no body and asks for all of its scopes at once here; the recorded answer names no \
         `Location`. (The reference has lost the body when it repeats the request.)",
    ),
    (
        None,
        &["redirect-to-http-same-host"],
        "A redirect to plain http is refused; the reference asks https instead.",
    ),
    (
        None,
        &[
            "redirect-with-challenge-at-the-other-host",
            "redirect-with-basic-challenge-at-the-other-host",
            "redirect-with-private-realm-at-the-other-host",
        ],
        "A challenge of another host than the registry is not answered.",
    ),
    (
        None,
        &["redirect-to-private-address"],
        "A public registry does not lead into a private network.",
    ),
    (
        Some(Contact::Ping),
        &["ping-401-without-header", "ping-401-with-unknown-scheme"],
        "No password is sent unasked; it is when the question itself is refused.",
    ),
    (
        Some(Contact::Ping),
        &["ping-403", "ping-404", "ping-500"],
        "`GET /v2/` is asked for the scheme and the challenge only; what it is allowed is no answer to the question.",
    ),
    (
        None,
        &["ping-302-to-login-page", "ping-redirect-then-401"],
        "A redirect of `GET /v2/` is not followed, and what another host asks for is not answered.",
    ),
    (
        Some(Contact::Ping),
        &["ping-transport-error"],
        "The host is listed as insecure here, so plain http is tried, too.",
    ),
];

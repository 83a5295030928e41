//! The token exchange against recorded handshakes: what the token server is asked, and what its answer gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use registry_auth::{
    Challenge, Credential, Exchange, Origin, RealmPolicy, ScopeSet, exchange_for, parse_token, token_request,
};
use serde_json::Value;

/// Where the reference asks a token server that is not asked here.
const REFUSED: &[&str] = &[
    // A realm that names a user, or a port of the registry's own host that the reference takes for another one.
    "realm-with-user-info",
    // Addresses that the reference takes for public ones.
    "realm-localhost-name",
    "realm-cgnat",
    "realm-decimal-ip",
    // Another domain, to which the reference sends the credential.
    "realm-public-ip",
];

/// Where the reference asks nothing and a token server is asked here.
const ASKED: &[&str] = &[
    // Another port of the same private host.
    "realm-private-same-host-other-port",
];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn credential(auth: &Value) -> Credential {
    if !text(auth, "auth").is_empty() && text(auth, "username").is_empty() {
        return Credential::basic_token(text(auth, "auth"));
    }
    Credential::basic(text(auth, "username"), text(auth, "password"))
        .with_identity_token(text(auth, "identitytoken"))
        .with_registry_token(text(auth, "registrytoken"))
}

fn headers(response: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in response["headers"].as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(
                name,
                HeaderValue::from_str(value.as_str().expect("a text")).expect("a value"),
            );
        }
    }
    headers
}

/// Takes a query or form apart: scopes as sets, because order and repetition do not matter; no empty values.
fn pairs(query: &str) -> (BTreeMap<String, String>, ScopeSet) {
    let decode = |text: &str| {
        let text = text
            .replace('+', " ")
            .replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%2C", ",")
            .replace("%26", "&");
        assert!(!text.contains('%'), "{text}");
        text
    };
    let (mut others, mut scopes) = (BTreeMap::new(), Vec::new());
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "scope" => scopes.push(decode(value)),
            "client_id" => {}
            _ if value.is_empty() => {}
            _ => drop(others.insert(name.to_owned(), decode(value))),
        }
    }
    (others, ScopeSet::parse(&scopes.join(" ")))
}

type Shown = (
    String,
    String,
    (BTreeMap<String, String>, ScopeSet),
    (BTreeMap<String, String>, ScopeSet),
    Option<String>,
);

fn show_ours(request: &Request<Vec<u8>>) -> Shown {
    let address = request.uri().to_string();
    let (base, query) = address.split_once('?').unwrap_or((&address, ""));
    let authorization = request.headers().get("authorization");
    (
        request.method().to_string(),
        base.to_owned(),
        pairs(query),
        pairs(&String::from_utf8_lossy(request.body())),
        authorization.map(|value| value.to_str().expect("a text").to_owned()),
    )
}

fn show_theirs(request: &Value) -> Shown {
    let address = text(request, "url");
    let (base, query) = address.split_once('?').unwrap_or((address, ""));
    let authorization = request["headers"]["authorization"].as_str().map(str::to_owned);
    (
        text(request, "method").to_owned(),
        base.to_owned(),
        pairs(query),
        pairs(text(request, "body")),
        authorization,
    )
}

#[test]
fn the_token_server_is_asked_and_read_as_recorded() {
    let document: Value = serde_json::from_str(include_str!("fixtures/auth/sessions.json")).expect("JSON");
    let (mut compared, mut unused) = (0, REFUSED.iter().chain(ASKED).copied().collect::<BTreeSet<_>>());
    for case in document["cases"].as_array().expect("there are cases") {
        let (name, responses, requests) = (text(case, "name"), &case["responses"], &case["out"]["requests"]);
        let Some(challenge) = Challenge::pick(&headers(&responses[0])) else {
            continue;
        };
        let credential = credential(&case["auth"]);
        let redirected = responses[0]["status"] != 401;
        if challenge.scheme() != "bearer" || redirected || !text(&case["auth"], "registrytoken").is_empty() {
            continue;
        }
        let registry = format!("https://{}/", text(case, "registry"))
            .parse()
            .expect("an address");
        let registry = Origin::of(&registry).expect("an origin");
        let scopes: ScopeSet = case["scopes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|scope| scope.as_str()?.parse().ok())
            .collect();
        let built = registry
            .check_realm(
                challenge.parameter("realm").unwrap_or_default(),
                &RealmPolicy::default(),
            )
            .map_err(registry_auth::TokenError::from)
            .and_then(|realm| {
                let request = token_request(
                    &realm,
                    challenge.parameter("service"),
                    &scopes,
                    &credential,
                    exchange_for(&credential),
                )?;
                Ok((realm, request))
            });
        let (realm, request) = match (built, requests.get(1)) {
            (Err(_), None) => continue,
            (Err(error), Some(_)) => {
                assert!(REFUSED.contains(&name), "{name}: {error}");
                unused.remove(name);
                continue;
            }
            (Ok(_), None) => {
                assert!(ASKED.contains(&name), "{name}: is asked");
                unused.remove(name);
                continue;
            }
            (Ok(built), Some(_)) => built,
        };
        assert_eq!(show_ours(&request), show_theirs(&requests[1]), "{name}");
        compared += 1;

        if text(case, "name").contains("post-404") {
            let request = token_request(
                &realm,
                challenge.parameter("service"),
                &scopes,
                &credential,
                Exchange::Get,
            );
            assert_eq!(
                show_ours(&request.expect("it can be built")),
                show_theirs(&requests[2]),
                "{name}"
            );
        }
        answer_agrees(name, case, &realm);
    }
    assert!(compared > 80, "{compared}");
    assert!(unused.is_empty(), "these are as in the reference: {unused:?}");
}

/// Compares what the second answer of a handshake gives with what the reference sent next.
fn answer_agrees(name: &str, case: &Value, realm: &registry_auth::Realm) {
    let answer = &case["responses"][1];
    // Too large answers are cut by who reads them, and redirects followed by who sends.
    if answer.get("transport_error").is_some()
        || answer["status"]
            .as_u64()
            .is_none_or(|status| (300..400).contains(&status))
    {
        return;
    }
    let mut body = text(answer, "body").as_bytes().to_vec();
    body.resize(
        body.len() + usize::try_from(answer["body_len"].as_u64().unwrap_or(0)).expect("it is small"),
        b' ',
    );
    if body.len() > 64 << 10 {
        return;
    }
    let status = u16::try_from(answer["status"].as_u64().expect("a number")).expect("a status");
    let response = Response::builder().status(status).body(body).expect("an answer");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let token = parse_token(realm, &response, now);
    let used = case["out"]["requests"]
        .get(2)
        .and_then(|request| request["headers"]["authorization"].as_str());
    match (&token, used) {
        (Ok(token), Some(used)) if used.starts_with("Bearer") => {
            assert_eq!(token.authorization().expose(), used, "{name}");
            assert!(
                token.is_fresh(now) && !token.is_fresh(now + Duration::from_secs(40_000_000)),
                "{name}"
            );
        }
        // A line end in a token would end the header.
        (Err(_), None | Some("Bearer a\nb")) => {}
        (Err(error), _) if name.contains("post-404") => {
            assert_eq!(error.status().map(|status| status.as_u16()), Some(404));
        }
        // How long a token lives is a hint: a malformed one is no reason not to use it.
        (Ok(_), None) if name.starts_with("token-answer-expires-in") => {}
        (token, used) => panic!("{name}: {token:?}, not {used:?}"),
    }
}

#[test]
fn a_token_of_any_kind_that_is_no_text_makes_the_whole_answer_unusable() {
    let registry = Origin::of(&"https://reg.io/".parse().expect("an address")).expect("an origin");
    let realm = registry.check_realm("https://reg.io/token", &RealmPolicy::default());
    let realm = realm.expect("it is the registry's own");
    let read = |body: &str| {
        let answer = Response::new(body.as_bytes().to_vec());
        parse_token(&realm, &answer, SystemTime::UNIX_EPOCH).map(|token| token.authorization().expose().to_owned())
    };
    for body in [
        r#"{"token": 5, "access_token": "x"}"#,
        r#"{"token": "t", "access_token": 5}"#,
        r#"{"token": "t", "refresh_token": ["r"]}"#,
    ] {
        read(body).expect_err("a type error");
    }
    let nulls = read(r#"{"token": "t", "access_token": null, "refresh_token": null}"#);
    assert_eq!(nulls.expect("a token"), "Bearer t");
}

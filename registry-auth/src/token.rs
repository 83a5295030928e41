//! The token exchange: requests to build, answers to read.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use http::{
    Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;

use crate::{
    credential::{Credential, CredentialKind},
    go_json::{object, tolerable},
    origin::{Realm, RealmError, RealmProblem},
    scope::ScopeSet,
    secret::Secret,
};

/// The most bytes of a token server's answer that are looked at.
pub const MAX_TOKEN_ANSWER: usize = 1 << 20;

const CLIENT_ID: &str = "kpack-flow";

/// A token, and when it stops being one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What goes behind `Bearer `.
    pub secret: Secret,
    /// A refresh token that replaces the credential, when the server gave one.
    pub refresh: Option<Secret>,
    /// When it expires; 60 seconds after it was received if the server does not say.
    pub expires_at: SystemTime,
}

impl Token {
    /// Returns whether the token can still be used at `now`, with a tenth of a minute to spare.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.expires_at
            .duration_since(now)
            .is_ok_and(|left| left > Duration::from_secs(6))
    }

    /// Returns the value of the `Authorization` header.
    pub fn authorization(&self) -> Secret {
        Secret::new(format!("Bearer {}", self.secret.expose()))
    }
}

/// How the token server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A `GET` with the scopes in the query and perhaps `Authorization: Basic`.
    Get,
    /// A `POST` of a refresh token, the OAuth way. A server that answers 404 is asked by [`Exchange::Get`] next.
    Refresh,
}

/// Returns how a token server is asked with `credential`: by refresh token where there is one.
pub fn exchange_for(credential: &Credential) -> Exchange {
    match credential.kind() {
        CredentialKind::Identity { .. } => Exchange::Refresh,
        _ => Exchange::Get,
    }
}

/// Builds the request for a token.
///
/// # Errors
/// When `credential` is not anonymous and `realm` may not see it.
pub fn token_request(
    realm: &Realm,
    service: Option<&str>,
    scopes: &ScopeSet,
    credential: &Credential,
    exchange: Exchange,
) -> Result<Request<Vec<u8>>, TokenError> {
    if !credential.is_anonymous() && !realm.may_see_credentials() {
        return Err(TokenError::Realm(RealmError {
            registry: realm.registry().to_owned(),
            realm: realm.origin().to_string(),
            reason: RealmProblem::Stranger,
        }));
    }
    let built = match (exchange, credential.kind()) {
        (Exchange::Refresh, CredentialKind::Identity { token, .. }) => refresh(realm, service, scopes, token),
        _ => get(realm, service, scopes, credential)?,
    };
    built.map_err(|_| TokenError::Request {
        realm: realm.origin().to_string(),
    })
}

fn refresh(realm: &Realm, service: Option<&str>, scopes: &ScopeSet, token: &Secret) -> http::Result<Request<Vec<u8>>> {
    let scope = scopes.to_string();
    let mut form = vec![
        ("client_id", CLIENT_ID),
        ("grant_type", "refresh_token"),
        ("refresh_token", token.expose()),
        ("scope", &scope),
    ];
    form.extend(service.map(|service| ("service", service)));
    Request::builder()
        .method(Method::POST)
        .uri(realm.address().clone())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(encode(&form).into_bytes())
}

fn get(
    realm: &Realm,
    service: Option<&str>,
    scopes: &ScopeSet,
    credential: &Credential,
) -> Result<http::Result<Request<Vec<u8>>>, TokenError> {
    let scopes: Vec<_> = scopes.iter().map(|scope| scope.to_string()).collect();
    let mut query: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
    query.extend(service.map(|service| ("service", service)));
    let mut request = Request::get(with_query(realm.address(), &encode(&query))).header(ACCEPT, "application/json");
    if let Some(header) = credential.basic_authorization() {
        let mut value = HeaderValue::from_str(header.expose()).map_err(|_| TokenError::Header)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    Ok(request.body(Vec::new()))
}

/// Puts `query` in place of the scopes and service that the realm's own query may hold, and keeps the rest of it.
fn with_query(address: &Uri, query: &str) -> String {
    let text = address.to_string();
    let (base, given) = text.split_once('?').unwrap_or((&text, ""));
    let kept = given
        .split('&')
        .filter(|pair| !matches!(pair.split('=').next(), Some("" | "scope" | "service")));
    let pairs: Vec<_> = kept.chain([query]).filter(|pair| !pair.is_empty()).collect();
    match pairs.as_slice() {
        [] => base.to_owned(),
        pairs => format!("{base}?{}", pairs.join("&")),
    }
}

/// Encodes a query or form: everything but `A-Za-z0-9-_.~` as `%XX`, a space as `+`.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
                b' ' => text.push('+'),
                _ => write!(text, "%{byte:02X}").expect("a String takes every write"),
            }
        }
    }
    text
}

/// Reads the answer of a token server.
///
/// `received_at` dates the token's expiry, so no clock is read here. The caller hands over at most
/// [`MAX_TOKEN_ANSWER`] bytes.
///
/// # Errors
/// When the server did not answer 200, or not with the JSON of a token.
pub fn parse_token(realm: &Realm, answer: &Response<Vec<u8>>, received_at: SystemTime) -> Result<Token, TokenError> {
    let server = || realm.origin().to_string();
    if answer.status() != StatusCode::OK {
        return Err(TokenError::Refused {
            realm: server(),
            status: answer.status(),
            details: details(answer.body()),
        });
    }
    let unreadable = |problem| TokenError::Answer {
        realm: server(),
        problem,
    };
    let fields = object(answer.body()).ok().flatten();
    let fields = fields.ok_or_else(|| unreadable("it is not a JSON object"))?;
    let text = |name: &str| match fields.text(name) {
        Some(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        None => Err(unreadable("a token in it is not a text")),
    };
    let (token, access, refresh) = (text("token")?, text("access_token")?, text("refresh_token")?);
    let Some(token) = access.or(token) else {
        return Err(unreadable("it holds neither token nor access_token"));
    };
    if HeaderValue::from_str(token).is_err() {
        return Err(unreadable("the token has characters that no header may have"));
    }
    let seconds = fields.number("expires_in").filter(|seconds| *seconds > 0);
    // A year is as good as forever, and no clock overflows.
    let lifetime = Duration::from_secs(seconds.unwrap_or(60).min(31_536_000));
    Ok(Token {
        secret: Secret::new(token),
        refresh: refresh.map(Secret::from),
        expires_at: received_at + lifetime,
    })
}

/// Takes the message out of an error answer: the registry's error list, or `details`, or the text's first line.
fn details(body: &[u8]) -> String {
    let body = &body[..body.len().min(16 << 10)];
    let json: Option<Value> = serde_json::from_slice(&tolerable(body)).ok();
    let message = |value: &Value| {
        let first = value.get("errors").and_then(|errors| errors.get(0));
        let message = first.and_then(|error| error.get("message").or_else(|| error.get("code")));
        let message = message.or_else(|| value.get("details")).or_else(|| value.get("error"));
        message.and_then(Value::as_str).map(str::to_owned)
    };
    let text = json.as_ref().and_then(message);
    let text = text.unwrap_or_else(|| {
        String::from_utf8_lossy(body)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Why no token could be had. Never holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The origin rule forbids asking.
    #[error(transparent)]
    Realm(#[from] RealmError),
    /// The credential can't stand in a header.
    #[error("the credential holds characters that no header may have")]
    Header,
    /// The realm's address can't be extended by a query.
    #[error("cannot ask the token server {realm}: its address is malformed")]
    Request {
        /// The token server.
        realm: String,
    },
    /// The token server said no.
    #[error("the token server {realm} answered {status}: {details}")]
    Refused {
        /// The token server.
        realm: String,
        /// Its status.
        status: StatusCode,
        /// Its message, the first 200 characters.
        details: String,
    },
    /// The answer is not understood.
    #[error("the answer of the token server {realm} is not understood: {problem}")]
    Answer {
        /// The token server.
        realm: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl TokenError {
    /// Returns the status that the token server answered with, where it answered.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

//! A recorded session, played: its answers are given in turn, and every request is kept as a line that can be compared.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Request, Response};
use registry_auth::ScopeSet;
use registry_client::{AnswerBody, Body, Clock, HttpError, HttpErrorKind, Transport};
use serde_json::Value;

/// Whether the first contact is a question of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contact {
    /// `GET /v2/`, as the reference does always, and this client where it can't know the scheme.
    Ping,
    /// The question itself; a challenge that the ping got is its answer.
    Question,
}

/// Gives the recorded answers: those of the registry and those of everyone else, each in their order.
pub(crate) struct Play {
    registry: String,
    answers: Mutex<[VecDeque<Value>; 2]>,
    seen: Mutex<Vec<String>>,
}

const REGISTRY: usize = 0;
const OTHERS: usize = 1;

impl Play {
    pub(crate) fn new(case: &Value, contact: Contact) -> Self {
        let registry = text(case, "registry").to_owned();
        let mut answers = <[VecDeque<Value>; 2]>::default();
        let requests = case["out"]["requests"].as_array().expect("there are requests");
        let responses = case["responses"].as_array().expect("there are responses");
        for (at, response) in responses.iter().enumerate() {
            let lane = match requests.get(at) {
                Some(request) => lane(&registry, text(request, "url")),
                // What was never asked for: a token and what it is for.
                None if at == 1 => OTHERS,
                None => REGISTRY,
            };
            // Without a ping there is nobody to give its consent to.
            if at > 0 || contact == Contact::Ping || response["status"] != 200 {
                answers[lane].push_back(response.clone());
            }
        }
        Self {
            registry,
            answers: Mutex::new(answers),
            seen: Mutex::default(),
        }
    }

    /// Returns the requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, lane: usize) -> Result<Response<AnswerBody>, &'static str> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers[lane].pop_front().ok_or("no response scripted")?;
        if answer.get("transport_error").is_some() {
            return Err("the connection fails");
        }
        let body = text(&answer, "body").to_owned().into_bytes();
        let spaces = io::repeat(b' ').take(answer["body_len"].as_u64().unwrap_or(0));
        let mut response = Response::new(AnswerBody::new(io::Cursor::new(body).chain(spaces)));
        let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        *response.status_mut() = status.and_then(|status| status.try_into().ok()).expect("a status");
        for (name, values) in answer["headers"].as_object().into_iter().flatten() {
            for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                let value = HeaderValue::from_str(value).expect("a value");
                response.headers_mut().append(name, value);
            }
        }
        Ok(response)
    }
}

impl Transport for Play {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut form = String::new();
        body.into_reader()
            .read_to_string(&mut form)
            .expect("bodies here are text");
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let (address, content_type) = (parts.uri.to_string(), header("content-type"));
        let shown = line(
            parts.method.as_str(),
            &address,
            content_type,
            &form,
            header("authorization"),
        );
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
        self.answer(lane(&self.registry, &address))
            .map_err(|problem| HttpError {
                origin: address,
                kind: HttpErrorKind::Broken,
                source: Some(problem.into()),
            })
    }
}

/// Tells whose address this is.
fn lane(registry: &str, address: &str) -> usize {
    let authority = address.split('/').nth(2).unwrap_or_default();
    match authority.strip_suffix(":443").unwrap_or(authority) == registry && !address.contains("/token") {
        true => REGISTRY,
        false => OTHERS,
    }
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Shows a recorded request as [`line`] does.
pub(crate) fn recorded(request: &Value) -> String {
    let headers = &request["headers"];
    line(
        text(request, "method"),
        text(request, "url"),
        headers["content-type"].as_str(),
        text(request, "body"),
        headers["authorization"].as_str(),
    )
}

/// Shows a request. Scopes are a set and parameters have no order; one without a value is none. Who the client says
/// it is, is its own affair.
fn line(method: &str, address: &str, content_type: Option<&str>, form: &str, authorization: Option<&str>) -> String {
    let (base, query) = address.split_once('?').unwrap_or((address, ""));
    let mut words = vec![method.to_owned(), base.to_owned()];
    words.extend(parameters("?", query));
    match content_type {
        Some("application/x-www-form-urlencoded") => words.extend(parameters("", form)),
        _ if !form.is_empty() => words.push(format!("{form:?}")),
        _ => {}
    }
    words.extend(authorization.map(|value| format!("[{value}]")));
    words.join(" ")
}

fn parameters(mark: &str, query: &str) -> Vec<String> {
    let (mut scopes, mut others) = (Vec::new(), Vec::new());
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "scope" => scopes.push(decoded(value)),
            "client_id" => assert!(!value.is_empty()),
            _ if value.is_empty() => {}
            _ => others.push(format!("{mark}{name}={}", decoded(value))),
        }
    }
    others.sort();
    let scopes = ScopeSet::parse(&scopes.join(" "));
    others.extend(scopes.iter().map(|scope| format!("{mark}scope={scope}")));
    others
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        decoded.push(char::from(u8::from_str_radix(code, 16).expect("two digits")));
        decoded.push_str(rest);
    }
    decoded
}

/// Stands still.
#[derive(Debug)]
pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn sleep(&self, _: Duration) {}
}

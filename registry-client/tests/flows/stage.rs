//! A stage for recorded exchanges: a transport between the client and a real registry that gives each case a place
//! of its own there, plays token server and second host, injects the recorded faults, and keeps what it sees.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use regex::Regex;
use registry_client::{AnswerBody, Body, Clock, Http, HttpError, HttpErrorKind, Transport};
use serde_json::Value;

pub(crate) const REGISTRY: &str = "localhost:5000";
pub(crate) const OTHER: &str = "localhost:5001";
pub(crate) const AUTH: &str = "localhost:5002";

/// Never waits; time passes by as much as was to be waited.
#[derive(Debug, Default)]
pub(crate) struct Still(Mutex<Duration>);

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            + Duration::from_secs(1_700_000_000)
            + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

/// One request as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) host: String,
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

pub(crate) struct Stage {
    real: Http,
    base: String,
    prefix: String,
    mode: String,
    digests: BTreeMap<String, String>,
    faults: Vec<(Regex, Value)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    matched: BTreeMap<usize, u64>,
    seen: Vec<Seen>,
    tokens: BTreeMap<String, Vec<String>>,
}

impl Stage {
    /// `base` is the address of the real registry, `digests` gives for each name of a document its digest.
    pub(crate) fn new(real: &Http, base: &str, prefix: &str, case: &Value, digests: &BTreeMap<String, String>) -> Self {
        let mut stage = Self {
            real: real.clone(),
            base: base.to_owned(),
            prefix: prefix.to_owned(),
            mode: case["mode"].as_str().unwrap_or_default().to_owned(),
            digests: digests.clone(),
            faults: Vec::new(),
            state: Mutex::default(),
        };
        for fault in case["faults"].as_array().into_iter().flatten() {
            let pattern = stage.fill(fault["match"].as_str().unwrap_or_default());
            stage
                .faults
                .push((Regex::new(&pattern).expect("a pattern"), fault.clone()));
        }
        stage
    }

    /// Puts hosts and digests in place of their names.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut text = text
            .replace("<registry>", REGISTRY)
            .replace("<other-ip>", "127.0.0.1:5001")
            .replace("<other>", OTHER)
            .replace("<auth>", AUTH);
        for (name, digest) in &self.digests {
            text = text.replace(&format!("<{name}>"), digest.trim_start_matches("sha256:"));
        }
        text
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the fault that acts on a request.
    fn fault(&self, host: &str, lines: &[String]) -> Option<Value> {
        let to = match host {
            AUTH => "auth",
            REGISTRY => "",
            _ => "other",
        };
        for (at, (pattern, fault)) in self.faults.iter().enumerate() {
            // … but not what it answers on success, which only a PATCH is followed by.
            let lines = match fault["do"]["status"].as_u64() {
                Some(status) if status < 400 => &lines[..1],
                _ => lines,
            };
            let wanted = fault["to"].as_str().unwrap_or_default();
            if wanted != to || !lines.iter().any(|line| pattern.is_match(line)) {
                continue;
            }
            let mut state = self.state();
            let count = state.matched.entry(at).or_default();
            *count += 1;
            let on = fault["on"].as_array();
            if on.is_none_or(|on| on.iter().any(|on| on.as_u64() == Some(*count))) {
                return Some(fault["do"].clone());
            }
        }
        None
    }

    /// Sends a request to the real registry, into the place of this case.
    fn forward(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let (own, all) = (format!("/v2/{}/", self.prefix), path == "/v2/");
        let path = if all || self.prefix.is_empty() {
            path.to_owned()
        } else {
            path.replacen("/v2/", &own, 1)
                .replace("from=", &format!("from={}/", self.prefix))
        };
        parts.uri = format!("{}{path}", self.base).parse().expect("an address");
        parts.headers.remove("authorization");
        if self.mode == "basic" {
            let value = HeaderValue::from_static("Basic dXNlcjpwYXNz");
            parts.headers.insert("authorization", value);
        }
        let answer = self.real.send(Request::from_parts(parts, body));
        if answer.is_err() {
            // What did not get there was not seen there.
            self.state().seen.pop();
        }
        let answer = answer?;
        let (mut parts, body) = answer.into_parts();
        for name in ["location", "link"] {
            if let Some(value) = parts.headers.get(name).and_then(|value| value.to_str().ok()) {
                let host = self.base.rsplit('/').next().unwrap_or_default();
                let value = value.replace(host, REGISTRY).replace(&own, "/v2/");
                parts
                    .headers
                    .insert(name, HeaderValue::from_str(&value).expect("a value"));
            }
        }
        Ok(Response::from_parts(parts, body))
    }

    /// Asks for what the mode wants a request to carry; `None` when it carries it.
    fn challenge(&self, request: &Request<Body>) -> Option<Response<AnswerBody>> {
        let given = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let path = request.uri().path();
        let repository = path.trim_start_matches("/v2/");
        let cut = ["/manifests/", "/blobs/", "/tags/"]
            .iter()
            .find_map(|part| repository.find(part));
        let repository = cut.map_or("", |cut| &repository[..cut]);
        let action = match request.method().as_str() {
            "GET" | "HEAD" => "pull",
            "DELETE" if path.contains("/uploads/") => "push",
            "DELETE" => "delete",
            _ => "push",
        };
        let challenge = match self.mode.as_str() {
            "basic" if given != "Basic dXNlcjpwYXNz" => "Basic realm=\"r\"".to_owned(),
            "token" => {
                let wanted = format!("repository:{repository}:{action}");
                let state = self.state();
                let granted = given.strip_prefix("Bearer ").and_then(|token| state.tokens.get(token));
                if granted.is_some_and(|granted| path == "/v2/" || granted.contains(&wanted)) {
                    return None;
                }
                let scope = if action == "pull" { "pull" } else { "pull,push" };
                let scope = if action == "delete" { "delete" } else { scope };
                format!(
                    "Bearer realm=\"http://{AUTH}/token\",service=\"registry\",scope=\"repository:{repository}:{scope}\""
                )
            }
            _ => return None,
        };
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        let mut answer = canned(401, body.as_bytes().to_vec());
        answer
            .headers_mut()
            .insert("www-authenticate", HeaderValue::from_str(&challenge).expect("a value"));
        Some(answer)
    }

    /// Plays the token server: an opaque token for whatever may be granted of what was asked for.
    fn token(&self, request: Request<Body>) -> Response<AnswerBody> {
        let (parts, body) = request.into_parts();
        let mut form = String::new();
        body.into_reader().read_to_string(&mut form).expect("a form is text");
        let query = format!("{}&{form}", parts.uri.query().unwrap_or_default());
        let decode = |text: &str| {
            text.replace("%3A", ":")
                .replace("%2F", "/")
                .replace("%2C", ",")
                .replace('+', " ")
        };
        let pairs: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decode(value)))
            .collect();
        let refresh = pairs
            .iter()
            .find(|(name, _)| name == "refresh_token")
            .map(|(_, value)| value.as_str());
        let basic = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        let known = match (refresh, basic) {
            (Some("rt-good"), _) | (None, Some("Basic dXNlcjpwYXNz")) => true,
            (None, None) => false,
            _ => return canned(401, br#"{"details": "wrong credentials"}"#.to_vec()),
        };
        let mut granted = Vec::new();
        let scopes = pairs
            .iter()
            .filter(|(name, _)| name == "scope")
            .flat_map(|(_, value)| value.split(' '));
        for scope in scopes {
            let (resource, actions) = scope.rsplit_once(':').unwrap_or_default();
            let name = resource.trim_start_matches("repository:");
            for action in actions.split(',') {
                let public = name.starts_with("public/") && action == "pull";
                if !name.starts_with("forbidden/") && (known || public) {
                    granted.push(format!("{resource}:{action}"));
                }
            }
        }
        let mut state = self.state();
        let token = format!("token{}", state.tokens.len() + 1);
        state.tokens.insert(token.clone(), granted);
        canned(
            200,
            format!(r#"{{"token": "{token}", "expires_in": 300}}"#).into_bytes(),
        )
    }

    fn act(&self, fault: &Value, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let broken = || HttpError::broken(request.uri());
        if fault["reset"] == true || fault["close"] == true {
            return Err(broken());
        }
        let head = request.method() == http::Method::HEAD;
        if fault["forward"] != true {
            let status = fault["status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(200);
            let body = fault["body"].as_str().unwrap_or_default();
            let body = if head { String::new() } else { self.fill(body) };
            let mut answer = canned(status, body.into_bytes());
            self.set_headers(&mut answer, &fault["headers"]);
            return Ok(answer);
        }
        let mut request = request;
        if fault["drop_query"] == true {
            let text = request.uri().to_string();
            *request.uri_mut() = text
                .split('?')
                .next()
                .unwrap_or_default()
                .parse::<Uri>()
                .expect("an address");
        }
        let answer = self.forward(request)?;
        let (parts, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).expect("the registry is whole");
        if let Some(given) = fault["body"].as_str() {
            bytes = self.fill(given).into_bytes();
        }
        if let Some(more) = fault["append"].as_str() {
            bytes.extend_from_slice(more.as_bytes());
        }
        if fault.get("flip").is_some() && !bytes.is_empty() {
            bytes[0] ^= 1;
        }
        let mut cut = None;
        if let Some(length) = fault["truncate"].as_u64() {
            cut = Some(bytes.len());
            bytes.truncate(usize::try_from(length).expect("it is small"));
        }
        let length = cut.unwrap_or(bytes.len());
        let body = match cut {
            Some(_) => AnswerBody::new(std::io::Cursor::new(bytes).chain(Cut)),
            None => AnswerBody::new(std::io::Cursor::new(bytes)),
        };
        let mut answer = Response::from_parts(parts, body);
        if !head {
            answer.headers_mut().insert("content-length", HeaderValue::from(length));
        }
        if let Some(status) = fault["status"].as_u64() {
            *answer.status_mut() = u16::try_from(status)
                .ok()
                .and_then(|status| status.try_into().ok())
                .expect("a status");
        }
        if let Some(pair) = fault["sub_location"].as_array() {
            let part = |at: usize| self.fill(pair[at].as_str().unwrap_or_default());
            if let Some(location) = answer.headers().get("location").and_then(|value| value.to_str().ok()) {
                let location = location.replace(&part(0), &part(1));
                answer
                    .headers_mut()
                    .insert("location", HeaderValue::from_str(&location).expect("a value"));
            }
        }
        self.set_headers(&mut answer, &fault["set_headers"]);
        Ok(answer)
    }

    fn set_headers(&self, answer: &mut Response<AnswerBody>, headers: &Value) {
        for (name, value) in headers.as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            match value.as_str() {
                None => drop(answer.headers_mut().remove(name)),
                Some(value) => {
                    let value = HeaderValue::from_str(&self.fill(value)).expect("a value");
                    answer.headers_mut().insert(name, value);
                }
            }
        }
    }
}

struct Cut;

impl Read for Cut {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

fn canned(status: u16, body: Vec<u8>) -> Response<AnswerBody> {
    let length = body.len();
    let mut answer = Response::new(AnswerBody::new(std::io::Cursor::new(body)));
    *answer.status_mut() = status.try_into().expect("a status");
    answer.headers_mut().insert("content-length", HeaderValue::from(length));
    answer
}

impl Transport for Stage {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let host = request.uri().authority().map_or("", |host| host.as_str()).to_owned();
        let is_https = request.uri().scheme_str() == Some("https");
        if is_https != (self.mode == "tls") {
            return Err(HttpError::unencrypted(request.uri()));
        }
        if ![REGISTRY, OTHER, AUTH, "127.0.0.1:5001"].contains(&host.as_str()) {
            return Err(HttpError::refused(request.uri()));
        }
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let line = format!("{} {path}", request.method());
        let authorization = request.headers().get("authorization");
        self.state().seen.push(Seen {
            host: host.clone(),
            line: line.clone(),
            authorization: authorization.map(|value| value.to_str().expect("a text").to_owned()),
        });
        let mut lines = vec![line];
        // The reference sends a blob in a PATCH before an empty PUT; what befalls the one befalls ours.
        if request.method() == http::Method::PUT && path.contains("digest=") {
            lines.push(format!("PATCH {path}"));
        }
        if let Some(fault) = self.fault(&host, &lines) {
            return self.act(&fault, request);
        }
        match host.as_str() {
            AUTH => Ok(self.token(request)),
            REGISTRY => match self.challenge(&request) {
                Some(challenge) => Ok(challenge),
                None => self.forward(request),
            },
            _ => self.forward(request),
        }
    }
}

/// The failures that this stage plays.
trait Played {
    fn broken(address: &Uri) -> Self;
    fn unencrypted(address: &Uri) -> Self;
    fn refused(address: &Uri) -> Self;
}

impl Played for HttpError {
    fn broken(address: &Uri) -> Self {
        Self {
            origin: address.to_string(),
            kind: HttpErrorKind::Broken,
            source: None,
        }
    }

    fn refused(address: &Uri) -> Self {
        Self {
            origin: address.to_string(),
            kind: HttpErrorKind::Connect,
            source: None,
        }
    }

    fn unencrypted(address: &Uri) -> Self {
        Self {
            origin: address.to_string(),
            kind: HttpErrorKind::Tls,
            source: None,
        }
    }
}

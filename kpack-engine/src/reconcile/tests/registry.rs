//! Registries in memory that speak http, obey the recorded failure rules and note what was written to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Mutex, MutexGuard};

use http::{Request, Response};
use regex::Regex;
use registry_client::{AnswerBody, Body, HttpError, HttpErrorKind, Transport};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::made::canonical_manifest;

/// What a step wrote.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    pub(super) manifests: Vec<String>,
    pub(super) uploaded: BTreeSet<String>,
    pub(super) mounted: BTreeSet<String>,
}

struct Rule {
    given: Value,
    path: Regex,
    left: Option<u64>,
}

#[derive(Default)]
struct State {
    hosts: BTreeSet<String>,
    /// By `host/repository@digest`.
    blobs: BTreeMap<String, Vec<u8>>,
    /// By `host/repository:tag` and `host/repository@digest`: media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    uploads: Vec<Vec<u8>>,
    rules: Vec<Rule>,
    auth: BTreeMap<String, String>,
    effects: Effects,
    /// Our digest of a manifest to what it would be with the recorded compressor.
    canonical: BTreeMap<String, String>,
}

#[derive(Default)]
pub(super) struct Registries(Mutex<State>);

impl Registries {
    pub(super) fn new(hosts: &[&str]) -> Self {
        let state = State {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..State::default()
        };
        Self(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn insert_blob(&self, repository: &str, bytes: Vec<u8>) {
        let key = format!("{repository}@{}", digest(&bytes));
        self.state().blobs.insert(key, bytes);
    }

    /// `identifier` is a tag or a digest.
    pub(super) fn insert_manifest(&self, repository: &str, identifier: &str, media_type: &str, bytes: &[u8]) {
        let mut state = self.state();
        for key in [name(repository, identifier), name(repository, &digest(bytes))] {
            state.manifests.insert(key, (media_type.to_owned(), bytes.to_vec()));
        }
    }

    pub(super) fn add_rules(&self, rules: &Value) {
        for rule in rules.as_array().into_iter().flatten() {
            self.state().rules.push(Rule {
                path: Regex::new(rule["path"].as_str().unwrap_or_default()).unwrap(),
                left: rule["times"].as_u64(),
                given: rule.clone(),
            });
        }
    }

    pub(super) fn clear_rules(&self) {
        self.state().rules.clear();
    }

    pub(super) fn demand(&self, host: &str, user: &str, password: &str) {
        use base64::Engine as _;
        let value = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.state().auth.insert(host.to_owned(), format!("Basic {value}"));
    }

    pub(super) fn take_effects(&self) -> Effects {
        std::mem::take(&mut self.state().effects)
    }

    pub(super) fn manifest(&self, reference: &str) -> Option<(String, Vec<u8>)> {
        self.state().manifests.get(reference).cloned()
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.state().blobs.get(&format!("{repository}@{digest}")).cloned()
    }

    /// Notes which digest the reference has where we have `ours`, unless that is known; two of ours never become one.
    pub(super) fn learn(&self, ours: &str, theirs: &str) {
        let mut state = self.state();
        if !state.canonical.values().any(|known| known == theirs) {
            state
                .canonical
                .entry(ours.to_owned())
                .or_insert_with(|| theirs.to_owned());
        }
    }

    /// Writes a text with the digests that the recorded compressor would have led to.
    pub(super) fn canonical(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (ours, theirs) in &self.state().canonical {
            text = text.replace(ours, theirs);
        }
        text
    }
}

fn name(repository: &str, identifier: &str) -> String {
    let separator = if identifier.starts_with("sha256:") { '@' } else { ':' };
    format!("{repository}{separator}{identifier}")
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn answer(status: u16) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

impl Answer {
    fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn error(status: u16, code: &str, message: &str, detail: &Value) -> Self {
        let body = json!({"errors": [{"code": code, "message": message, "detail": detail}]});
        answer(status).body(body.to_string())
    }
}

impl Transport for Registries {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let (parts, body) = request.into_parts();
        let host = parts.uri.authority().unwrap().to_string();
        let failed = |kind, problem: &str| HttpError {
            origin: format!("https://{host}"),
            kind,
            source: Some(problem.to_owned().into()),
        };
        let mut content = Vec::new();
        body.into_reader().read_to_end(&mut content).unwrap();
        let mut state = self.state();
        let method = parts.method.as_str();
        if let Some(rule) = state.rule(method, &host, parts.uri.path()) {
            if let Some(problem) = rule["dial"].as_str() {
                return Err(failed(HttpErrorKind::Connect, problem));
            }
            return Ok(respond(ruled(&rule), method));
        }
        if !state.hosts.contains(&host) {
            return Err(failed(HttpErrorKind::HostNotFound, "no such host"));
        }
        if parts.uri.scheme_str() == Some("http") {
            return Err(failed(HttpErrorKind::Connect, "connection refused"));
        }
        let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        if let Some(wanted) = state.auth.get(&host)
            && authorization != Some(wanted)
        {
            let refused = Answer::error(401, "UNAUTHORIZED", "authentication required", &Value::Null)
                .header("www-authenticate", "Basic realm=\"registry\"");
            return Ok(respond(refused, method));
        }
        let query = parts.uri.query().unwrap_or_default();
        let media_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
        let path = parts.uri.path().to_owned();
        let answer = state.answer(method, &host, &path, query, media_type.unwrap_or_default(), content);
        Ok(respond(answer, method))
    }
}

fn ruled(rule: &Value) -> Answer {
    let mut made = answer(u16::try_from(rule["status"].as_u64().unwrap()).unwrap())
        .body(rule["body"].as_str().unwrap_or_default());
    for (name, value) in rule["headers"].as_object().into_iter().flatten() {
        made = made.header(name, value.as_str().unwrap());
    }
    made
}

fn respond(answer: Answer, method: &str) -> Response<AnswerBody> {
    let mut response = Response::builder().status(answer.status);
    let has = |name: &str| answer.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    if !has("content-length") {
        response = response.header("content-length", answer.body.len());
    }
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let body = if method == "HEAD" { Vec::new() } else { answer.body };
    response.body(AnswerBody::new(std::io::Cursor::new(body))).unwrap()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(
        value
            .replace("%3A", ":")
            .replace("%3a", ":")
            .replace("%2F", "/")
            .replace("%2f", "/"),
    )
}

impl State {
    /// A question about a manifest may be asked with `HEAD` here and with `GET` by the reference; a rule is for both.
    fn rule(&mut self, method: &str, host: &str, path: &str) -> Option<Value> {
        let rule = self.rules.iter_mut().find(|rule| {
            let wanted = rule.given["method"].as_str().unwrap_or(method);
            (wanted == method || (wanted == "GET" && method == "HEAD"))
                && rule.given["host"].as_str().is_none_or(|wanted| wanted == host)
                && rule.path.is_match(path)
                && rule.left != Some(0)
        })?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.given.clone())
    }

    fn answer(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        query: &str,
        media_type: &str,
        content: Vec<u8>,
    ) -> Answer {
        let Some(path) = path.strip_prefix("/v2/") else {
            return answer(404);
        };
        if path.is_empty() {
            return answer(200);
        }
        if let Some((repository, upload)) = path.split_once("/blobs/uploads/") {
            return self.upload(method, &format!("{host}/{repository}"), upload, query, content);
        }
        if let Some((repository, wanted)) = path.split_once("/blobs/") {
            return match self.blobs.get(&format!("{host}/{repository}@{wanted}")) {
                Some(blob) => answer(200).header("docker-content-digest", wanted).body(blob.clone()),
                None => Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry", &Value::Null),
            };
        }
        let Some((repository, identifier)) = path.split_once("/manifests/") else {
            return answer(404);
        };
        match method {
            "PUT" => self.put_manifest(&format!("{host}/{repository}"), identifier, media_type, &content),
            _ => self.get_manifest(host, repository, identifier),
        }
    }

    fn get_manifest(&self, host: &str, repository: &str, identifier: &str) -> Answer {
        let key = name(&format!("{host}/{repository}"), identifier);
        match self.manifests.get(&key) {
            Some((media_type, bytes)) => answer(200)
                .header("content-type", media_type)
                .header("docker-content-digest", digest(bytes))
                .body(bytes.clone()),
            None => Answer::error(
                404,
                "MANIFEST_UNKNOWN",
                "manifest unknown",
                &json!({"name": repository}),
            ),
        }
    }

    fn put_manifest(&mut self, repository: &str, identifier: &str, media_type: &str, content: &[u8]) -> Answer {
        let ours = digest(content);
        let blob = |wanted: &str| self.blobs.get(&format!("{repository}@{wanted}")).cloned();
        if let Some(canonical) = canonical_manifest(content, blob) {
            self.canonical
                .entry(ours.clone())
                .or_insert_with(|| digest(canonical.as_bytes()));
        }
        let shown = name(repository, if is_time(identifier) { "<timestamp>" } else { identifier });
        self.effects.manifests.push(format!("{shown} = {ours}"));
        for key in [name(repository, identifier), name(repository, &ours)] {
            self.manifests.insert(key, (media_type.to_owned(), content.to_vec()));
        }
        answer(201).header("docker-content-digest", ours)
    }

    fn upload(&mut self, method: &str, repository: &str, id: &str, query: &str, content: Vec<u8>) -> Answer {
        let host = repository.split('/').next().unwrap_or_default().to_owned();
        if method == "POST" {
            if let (Some(wanted), Some(from)) = (parameter(query, "mount"), parameter(query, "from"))
                && let Some(blob) = self.blobs.get(&format!("{host}/{from}@{wanted}")).cloned()
            {
                let key = format!("{repository}@{wanted}");
                // A mount of what is there already changes nothing.
                if !self.blobs.contains_key(&key) {
                    self.effects.mounted.insert(format!("{key} from {from}"));
                }
                self.blobs.insert(key, blob);
                return answer(201).header("location", format!("https://{host}/v2/blobs/{wanted}"));
            }
            self.uploads.push(Vec::new());
            return self.open_upload(repository, self.uploads.len() - 1);
        }
        let number: usize = id.parse().unwrap();
        self.uploads[number].extend(content);
        if method == "PATCH" {
            return self.open_upload(repository, number);
        }
        let wanted = parameter(query, "digest").unwrap();
        let bytes = std::mem::take(&mut self.uploads[number]);
        assert_eq!(digest(&bytes), wanted, "bytes of another blob");
        let key = format!("{repository}@{wanted}");
        if let Some(theirs) = super::made::recorded_digest(&bytes) {
            self.canonical.insert(wanted.clone(), theirs);
        }
        self.effects.uploaded.insert(key.clone());
        self.blobs.insert(key, bytes);
        answer(201).header("location", format!("https://{host}/v2/blobs/{wanted}"))
    }

    fn open_upload(&self, repository: &str, number: usize) -> Answer {
        let (host, path) = repository.split_once('/').unwrap();
        let end = self.uploads[number].len().saturating_sub(1);
        answer(202)
            .header("location", format!("https://{host}/v2/{path}/blobs/uploads/{number}"))
            .header("range", format!("0-{end}"))
    }
}

/// Whether a tag is made of a time.
fn is_time(tag: &str) -> bool {
    tag.len() == 14 && tag.bytes().all(|byte| byte.is_ascii_digit())
}

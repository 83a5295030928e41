//! How answers of registries are read.

use std::io;

use http::{
    HeaderMap, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use registry_auth::Digest;
use serde_json::Value;

use crate::{
    body::AnswerBody,
    error::{Reason, ServerError},
    http_error::HttpError,
    retry_after::RetryAfter,
};

/// The largest manifest that is read.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// How much of an error answer is looked at.
const MAX_ERROR: u64 = 16 << 10;

/// Takes an answer apart as an error. Reads its body, so that the connection can be used again.
pub(crate) fn failure(answer: Response<AnswerBody>) -> Reason {
    let (parts, body) = answer.into_parts();
    let body = body.read_at_most(MAX_ERROR).unwrap_or_default();
    Reason::Status {
        status: parts.status,
        errors: server_errors(&parts.headers, &body),
        retry_after: parts.extensions.get::<RetryAfter>().map(|wait| wait.0),
    }
}

fn server_errors(headers: &HeaderMap, body: &[u8]) -> Vec<ServerError> {
    let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(300).collect() };
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(errors) = json.get("errors").and_then(Value::as_array) {
        let text = |error: &Value, name: &str| clean(error.get(name).and_then(Value::as_str).unwrap_or_default());
        let errors = errors.iter().take(8);
        return errors
            .map(|error| ServerError {
                code: text(error, "code"),
                message: text(error, "message"),
            })
            .collect();
    }
    let is_text = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let text = String::from_utf8_lossy(body);
    let line = text
        .lines()
        .next()
        .map(str::trim)
        .filter(|line| is_text && !line.is_empty());
    let error = line.map(|line| ServerError {
        code: String::new(),
        message: clean(line),
    });
    error.into_iter().collect()
}

/// Returns the media type without its parameters; empty if there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Returns the digest that the registry announces; a malformed one counts as none.
pub(crate) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

/// Reads a body of a bounded size.
pub(crate) fn read_body(place: &str, body: AnswerBody, limit: u64) -> Result<Vec<u8>, Reason> {
    body.read_at_most(limit).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Reason::TooLarge { limit },
        _ => broken(place, error),
    })
}

/// Makes the reason of a body that broke off.
pub(crate) fn broken(place: &str, error: io::Error) -> Reason {
    Reason::Http(HttpError::new(place, HttpError::kind_of(&error)).because(error))
}

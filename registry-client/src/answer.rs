//! How answers of registries are read.

use std::io::{self, Read};

use http::{
    HeaderMap, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use registry_auth::{Digest, tolerable_json};
use serde_json::Value;

use crate::{
    body::AnswerBody,
    error::{Reason, ServerError},
    go_json::field,
    http_error::HttpError,
    retry_after::RetryAfter,
};

/// The largest manifest that is read.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// How much of an error answer is looked at; all errors in that are kept.
const MAX_ERROR: u64 = 16 << 10;

/// Takes an answer apart as an error. Reads its body, so that the connection can be used again.
pub(crate) fn failure(answer: Response<AnswerBody>) -> Reason {
    let (parts, body) = answer.into_parts();
    let mut start = Vec::new();
    // What came before a break may say enough.
    let _ = body.take(MAX_ERROR).read_to_end(&mut start);
    Reason::Status {
        status: parts.status,
        errors: server_errors(&parts.headers, &start),
        retry_after: parts.extensions.get::<RetryAfter>().map(|wait| wait.0),
    }
}

fn server_errors(headers: &HeaderMap, body: &[u8]) -> Vec<ServerError> {
    let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(300).collect() };
    let json = tolerable_json(body);
    let listed = match serde_json::from_slice::<Value>(&json) {
        Ok(json) => member(&json, "errors").and_then(Value::as_array).cloned(),
        Err(_) => first_errors(&json),
    };
    if let Some(errors) = listed {
        let text = |error: &Value, name: &str| clean(member(error, name).and_then(Value::as_str).unwrap_or_default());
        return errors
            .iter()
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

fn member<'a>(json: &'a Value, name: &str) -> Option<&'a Value> {
    field(json.as_object()?, name)
}

/// Returns the errors at the start of a list that is cut off: a registry that lacks the blobs of a manifest names each.
fn first_errors(body: &[u8]) -> Option<Vec<Value>> {
    let name = br#""errors""#;
    let mut places = body.windows(name.len());
    let at = places.position(|found| found.eq_ignore_ascii_case(name))? + name.len();
    let mut rest = body[at..].trim_ascii_start().strip_prefix(b":")?;
    let mut separator = b"[";
    let mut errors = Vec::new();
    while let Some(next) = rest.trim_ascii_start().strip_prefix(separator) {
        let mut values = serde_json::Deserializer::from_slice(next).into_iter();
        let Some(Ok(error)) = values.next() else { break };
        errors.push(error);
        rest = &next[values.byte_offset()..];
        separator = b",";
    }
    (!errors.is_empty()).then_some(errors)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(body: &str) -> Vec<String> {
        let errors = server_errors(&HeaderMap::new(), body.as_bytes());
        errors.into_iter().map(|error| error.code).collect()
    }

    #[test]
    fn of_a_list_of_errors_that_is_cut_off_the_first_count() {
        let error = r#"{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown","detail":{"digest":"sha256:0"}}"#;
        let whole = format!(r#"{{ "errors" : [ {} ] }}"#, [error; 3].join(" , "));
        assert_eq!(codes(&whole), ["MANIFEST_BLOB_UNKNOWN"; 3]);
        assert_eq!(codes(&whole[..whole.len() - 40]), ["MANIFEST_BLOB_UNKNOWN"; 2]);
        let long = format!(r#"{{"errors":[{}"#, [error; 50].join(","));
        assert_eq!(codes(&long), ["MANIFEST_BLOB_UNKNOWN"; 50]);
        let long = format!("{long}]}}");
        assert_eq!(codes(&long), ["MANIFEST_BLOB_UNKNOWN"; 50]);
    }

    #[test]
    fn errors_count_whatever_the_case_of_their_keys_and_whatever_half_characters_are_in_them() {
        let error = r#"{"Code": "DENIED", "MESSAGE": "no", "detail": "\ud800"}"#;
        for body in [
            format!(r#"{{"Errors": [{error}]}}"#),
            format!(r#"{{"ERRORS": [{error}, {{"#),
        ] {
            assert_eq!(codes(&body), ["DENIED"], "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_start_of_an_answer_makes_reading_its_errors_panic(body in r#"(\{|\[|"errors"|:|,|\}|\]|"code"|1| ){0,20}"#) {
            codes(&body);
        }
    }
}

//! [`Call`]: one request as the handlers see it.

use http::{HeaderMap, Method, header};
use serde_json::Value;

use crate::{ApiError, protobuf};

/// A request: its body is read, its texts are percent-decoded.
pub(super) struct Call {
    pub(super) method: Method,
    /// The parts of the path between slashes.
    pub(super) path: Vec<String>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Call {
    /// Takes a request apart.
    pub(super) fn new(parts: &http::request::Parts, body: Vec<u8>) -> Self {
        let path = parts
            .uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decode(part, false));
        Self {
            method: parts.method.clone(),
            path: path.collect(),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            headers: parts.headers.clone(),
            body,
        }
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Returns the media type of the body without parameters, in lower case.
    pub(super) fn content_type(&self) -> String {
        let whole = self.header(header::CONTENT_TYPE);
        whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Returns the name under which changes are recorded: the one that is asked for, else the client's.
    pub(super) fn manager(&self) -> String {
        match self.query.get("fieldManager") {
            Some(manager) if !manager.is_empty() => manager.to_owned(),
            _ => {
                let agent = self
                    .header(header::USER_AGENT)
                    .split(['/', ' '])
                    .next()
                    .unwrap_or_default();
                if agent.is_empty() {
                    "unknown".to_owned()
                } else {
                    agent.to_owned()
                }
            }
        }
    }

    /// Says whether nothing is to be stored.
    pub(super) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.query.get("dryRun") {
            None | Some("") => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: only All"
            ))),
        }
    }

    /// Reads the body as a document, whichever way it is encoded; `None` when there is none.
    pub(super) fn document(&self) -> Result<Option<Value>, ApiError> {
        if self.body.is_empty() {
            return Ok(None);
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("the object provided is unrecognized: {error}"))
        };
        match self.content_type().as_str() {
            "application/vnd.kubernetes.protobuf" => protobuf::decode(&self.body).map(Some).map_err(|e| unreadable(&e)),
            "application/json" | "" | "text/plain" => serde_json::from_slice(&self.body)
                .map(Some)
                .map_err(|error| unreadable(&error)),
            "application/yaml" => yaml(&self.body).map(Some),
            other => Err(ApiError::UnsupportedMediaType {
                message: format!(
                    "the body of the request was in an unknown format ({other}) - accepted media types include: \
                     application/json, application/yaml, application/vnd.kubernetes.protobuf"
                ),
            }),
        }
    }
}

/// Reads a YAML text as a document.
pub(super) fn yaml(body: &[u8]) -> Result<Value, ApiError> {
    let unreadable = |problem: String| ApiError::bad_request(format!("error decoding YAML: {problem}"));
    let text = std::str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
    serde_saphyr::from_str(text).map_err(|error| unreadable(error.to_string()))
}

/// The parameters after the `?`.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// Returns the first value of a parameter.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter, `""` when it is not given.
    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// Says whether a parameter is given as true.
    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | ""))
    }

    /// Returns a parameter that is a whole number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?} of {key}: invalid syntax"))
            }),
        }
    }
}

/// Percent-decodes a text; what is not UTF-8 then becomes replacement characters.
fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, left)) = rest.split_first() {
        let hex = |index: usize| left.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hex digits make a byte"));
                rest = &left[2..];
            }
            (b'+', ..) if plus_is_space => {
                bytes.push(b' ');
                rest = left;
            }
            _ => {
                bytes.push(*first);
                rest = left;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("fieldSelector=metadata.name%3Dshop&limit=500&watch=true&x=a+b");
        assert_eq!(query.get("fieldSelector"), Some("metadata.name=shop"));
        assert_eq!(query.number("limit").unwrap(), Some(500));
        assert!(query.flag("watch"));
        assert_eq!(query.text("x"), "a b");
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in ".{0,30}") {
            let _ = Query::parse(&text);
        }
    }
}

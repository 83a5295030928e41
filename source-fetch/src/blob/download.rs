//! One file from an http server, resumed when the connection breaks.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
};

use http::{Request, Response, StatusCode, header};
use registry_auth::Secret;
use registry_client::{AnswerBody, Http, HttpError};
use sha2::{Digest as _, Sha256};

use super::{fetch::BlobError, url::BlobUrl};
use crate::{
    limits::{LimitExceeded, Limits},
    progress::Step,
};

/// How often a broken download is taken up again.
const ATTEMPTS: u32 = 4;
/// How much of a refusal is shown.
const MAX_WORDS: u64 = 2048;

/// Writes what is behind `url` to `file`, and returns its SHA-256 as hex digits.
pub(super) fn download(
    url: &BlobUrl,
    authorization: Option<&Secret>,
    file: &mut File,
    http: &Http,
    limits: &Limits,
) -> Result<String, BlobError> {
    let mut state = State {
        hash: Sha256::new(),
        received: 0,
        expected: None,
        validator: None,
    };
    for attempt in 1.. {
        let last = attempt == ATTEMPTS;
        let answer = match request(url, authorization, &state, http, limits) {
            Ok(answer) => answer,
            Err(source) if !last && attempt > 1 && source.kind.is_retryable() => continue,
            Err(source) => return Err(unreachable(url, source)),
        };
        match state.take(answer, url, file, limits) {
            Ok(()) => return Ok(hex(state.hash)),
            // Without a validator nobody knows whether the rest belongs to the same file.
            Err(BlobError::Broken { .. }) if !last && state.validator.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

fn request(
    url: &BlobUrl,
    authorization: Option<&Secret>,
    state: &State,
    http: &Http,
    limits: &Limits,
) -> Result<Response<AnswerBody>, HttpError> {
    let mut request = Request::builder()
        .uri(url.request())
        .extension(limits.terms())
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization.expose());
    }
    if let (Some(validator), 1..) = (&state.validator, state.received) {
        request = request
            .header(header::RANGE, format!("bytes={}-", state.received))
            .header(header::IF_RANGE, validator);
    }
    let request = request.body(()).map_err(|source| HttpError {
        origin: url.to_string(),
        kind: registry_client::HttpErrorKind::Request,
        source: Some(Box::new(source)),
    })?;
    http.send_following(request)
}

struct State {
    hash: Sha256,
    received: u64,
    /// How many bytes it has, when the server says that.
    expected: Option<u64>,
    /// A strong entity tag or else a date, with which the rest can be asked for.
    validator: Option<String>,
}

impl State {
    fn take(
        &mut self,
        answer: Response<AnswerBody>,
        url: &BlobUrl,
        file: &mut File,
        limits: &Limits,
    ) -> Result<(), BlobError> {
        let resumed = self.received > 0 && answer.status() == StatusCode::PARTIAL_CONTENT && self.fits(&answer);
        if !resumed {
            if answer.status() != StatusCode::OK {
                return Err(refused(url, answer));
            }
            *self = Self {
                hash: Sha256::new(),
                received: 0,
                expected: length(&answer),
                validator: validator(&answer),
            };
            file.set_len(0).and_then(|()| file.rewind()).map_err(BlobError::Spool)?;
        }
        let mut body = answer.into_body();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(BlobError::Broken {
                        url: url.to_string(),
                        source,
                    });
                }
            };
            self.received += count as u64;
            limits.progress.tell(Step::Received {
                bytes: self.received,
                of: self.expected,
            });
            if self.received > limits.download {
                return Err(BlobError::TooLarge {
                    url: url.to_string(),
                    source: LimitExceeded::Download { limit: limits.download },
                });
            }
            limits.check().map_err(|source| BlobError::TooLarge {
                url: url.to_string(),
                source,
            })?;
            self.hash.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(BlobError::Spool)?;
        }
    }

    /// Whether a partial answer begins where we stopped.
    fn fits(&self, answer: &Response<AnswerBody>) -> bool {
        let range = answer.headers().get(header::CONTENT_RANGE);
        let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
        let total = range.rsplit('/').next().and_then(|total| total.parse().ok());
        // A date says less than a tag: a file that is of another size is another file.
        range.starts_with(&format!("bytes {}-", self.received)) && (total.is_none() || total == self.expected)
    }
}

fn validator(answer: &Response<AnswerBody>) -> Option<String> {
    let text = |name| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text(header::LAST_MODIFIED))
}

fn length(answer: &Response<AnswerBody>) -> Option<u64> {
    answer
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn refused(url: &BlobUrl, answer: Response<AnswerBody>) -> BlobError {
    let status = answer.status();
    let mut words = Vec::new();
    // What a server says is shown as far as it can be read.
    let _ = answer.into_body().take(MAX_WORDS).read_to_end(&mut words);
    let words = String::from_utf8_lossy(&words).replace(|c: char| c.is_control(), " ");
    BlobError::Refused {
        url: url.to_string(),
        status: status.as_u16(),
        answer: format!(
            "{} {}: {}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            words.trim()
        ),
    }
}

fn unreachable(url: &BlobUrl, source: HttpError) -> BlobError {
    BlobError::Unreachable {
        url: url.to_string(),
        source,
    }
}

pub(super) fn hex(sha256: Sha256) -> String {
    registry_auth::Digest::from_sha256_bytes(sha256.finalize().into())
        .hex()
        .to_owned()
}

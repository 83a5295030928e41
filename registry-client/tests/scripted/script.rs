//! A transport that answers from a script and keeps every request with all of its headers and its body.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{self, Read},
    sync::{Mutex, PoisonError},
};

use http::{HeaderValue, Request, Response};
use registry_client::{AnswerBody, Body, HttpError, Transport};

/// Status, headers, body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Answers from a script; what is beyond its end is 404.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<VecDeque<Answer>>,
    seen: Mutex<Vec<(String, String)>>,
}

impl Transport for Script {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let (parts, body) = request.into_parts();
        let origin = format!(
            "{}://{}",
            parts.uri.scheme_str().unwrap_or_default(),
            parts.uri.authority().map_or("", |a| a.as_str())
        );
        let mut all = format!("{} {}\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            writeln!(all, "{name}: {value}").expect("a String takes every write");
        }
        body.into_reader()
            .read_to_string(&mut all)
            .expect("bodies here are text");
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((origin, all));
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (status, headers, body) = answer.unwrap_or((404, Vec::new(), Vec::new()));
        let mut answer = Response::new(AnswerBody::new(io::Cursor::new(body)));
        *answer.status_mut() = status.try_into().expect("a status");
        for (name, value) in headers {
            answer
                .headers_mut()
                .append(name, HeaderValue::from_str(&value).expect("a value"));
        }
        Ok(answer)
    }
}

impl Script {
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        Self {
            answers: Mutex::new(answers.into()),
            ..Self::default()
        }
    }

    /// Returns for each request its origin and its text: method, address, headers, body.
    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn origins(&self) -> Vec<String> {
        self.seen().into_iter().map(|(origin, _)| origin).collect()
    }
}

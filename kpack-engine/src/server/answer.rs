//! [`Answer`]: what a handler gives back.

use serde_json::Value;
use tokio::sync::mpsc;

use crate::ApiError;

/// The bytes of a stream, one part at a time.
pub(super) type Sender = mpsc::Sender<Vec<u8>>;

/// What a handler gives back: a whole body or a stream.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) warnings: Vec<String>,
    pub(super) body: Body,
}

/// The body of an answer.
pub(super) enum Body {
    Whole(Vec<u8>),
    /// Runs on a thread of its own and sends until it is done or nobody receives any more.
    Stream(Box<dyn FnOnce(Sender) + Send>),
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self::json_as(value, "application/json")
    }

    pub(super) fn json_as(value: &Value, content_type: &'static str) -> Self {
        let mut body = value.to_string().into_bytes();
        body.push(b'\n');
        Self {
            status: 200,
            content_type,
            warnings: Vec::new(),
            body: Body::Whole(body),
        }
    }

    pub(super) fn bytes(body: Vec<u8>, content_type: &'static str) -> Self {
        Self {
            status: 200,
            content_type,
            warnings: Vec::new(),
            body: Body::Whole(body),
        }
    }

    pub(super) fn created(value: &Value) -> Self {
        Self {
            status: 201,
            ..Self::json(value)
        }
    }

    pub(super) fn text(text: &str) -> Self {
        let body = Body::Whole(text.as_bytes().to_vec());
        Self {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            warnings: Vec::new(),
            body,
        }
    }

    pub(super) fn stream(content_type: &'static str, run: impl FnOnce(Sender) + Send + 'static) -> Self {
        Self {
            status: 200,
            content_type,
            warnings: Vec::new(),
            body: Body::Stream(Box::new(run)),
        }
    }

    pub(super) fn error(error: &ApiError) -> Self {
        Self {
            status: error.code(),
            ..Self::json(&error.status())
        }
    }

    pub(super) fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }
}

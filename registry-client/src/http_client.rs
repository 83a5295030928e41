//! The one place that sends requests.

use std::{fmt, sync::Arc};

use http::{
    Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, COOKIE, LOCATION},
};
use registry_auth::{Origin, Scheme};

use crate::{
    agent::Agents,
    body::{AnswerBody, Body},
    http_error::{HttpError, HttpErrorKind},
    limits::Limiter,
    location,
    policy::HttpPolicy,
    retry_after::RetryAfter,
    terms::RequestTerms,
};

/// Carries one request to its host and brings the answer back.
///
/// The one implementation that opens connections is made by [`Http::new`]; others record, answer from memory or
/// inject faults.
pub trait Transport: Send + Sync {
    /// Sends one request and returns the answer, whatever its status; follows nothing.
    ///
    /// # Errors
    /// When there is no answer.
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError>;

    /// Returns the certificates (DER, the server's own first) that a server showed last; `None` before it was spoken to.
    fn certificates(&self, server: &Origin) -> Option<Vec<Vec<u8>>> {
        let _ = server;
        None
    }
}

/// Sends requests as an [`HttpPolicy`] says. Cheap to clone; clones share connections.
///
/// A header is sent to the host of the request's own address only: redirects are answers like any other.
#[derive(Clone)]
pub struct Http {
    policy: Arc<HttpPolicy>,
    transport: Arc<dyn Transport>,
    limiter: Arc<Limiter>,
}

impl Http {
    /// Makes a sender of requests.
    ///
    /// # Errors
    /// When a certificate or proxy of the policy is malformed.
    pub fn new(policy: &HttpPolicy) -> Result<Self, HttpError> {
        Ok(Self::with_transport(policy, Arc::new(Agents::new(policy)?)))
    }

    /// Makes a sender that leaves the connections to `transport`.
    pub fn with_transport(policy: &HttpPolicy, transport: Arc<dyn Transport>) -> Self {
        Self {
            policy: Arc::new(policy.clone()),
            transport,
            limiter: Arc::new(Limiter::new(policy)),
        }
    }

    /// Returns the policy.
    pub fn policy(&self) -> &HttpPolicy {
        &self.policy
    }

    /// Returns the certificates (DER, the server's own first) that a server showed when it was connected to last;
    /// `None` before that, and for plain http.
    pub fn certificates(&self, server: &Origin) -> Option<Vec<Vec<u8>>> {
        self.transport.certificates(server)
    }

    /// Sends one request and returns the answer, whatever its status; nothing is tried again or followed.
    ///
    /// Waits where the policy limits what the host is asked for. [`RequestTerms`] as an extension of the request
    /// say when it must end.
    ///
    /// # Errors
    /// When there is no answer. Errors of the answer's body come from reading it.
    pub fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let host = match Origin::of(request.uri()) {
            Ok(origin) => format!("{}:{}", origin.host(), origin.port()),
            Err(_) => String::new(),
        };
        let terms = request.extensions().get::<RequestTerms>().cloned().unwrap_or_default();
        let permit = self.limiter.enter(&self.policy, &host, request.method(), &terms)?;
        terms.time_left(&host, &*self.policy.clock)?;
        let mut answer = self.transport.send(request)?;
        if let Some(wait) = RetryAfter::read(answer.headers(), self.policy.clock.now()) {
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                self.limiter.pause(&permit, wait.0);
            }
            answer.extensions_mut().insert(wait);
        }
        Ok(answer.map(|body| body.holding(permit)))
    }

    /// Sends a request without a body (`GET` or `HEAD`), and follows redirects: ten requests at most.
    ///
    /// `Authorization` and `Cookie` are left out as soon as a redirect leads to another origin. Redirects from https
    /// to http, and from a public host into a private network, are refused.
    ///
    /// # Errors
    /// As [`Http::send`], and [`HttpErrorKind::Redirect`].
    pub fn send_following(&self, request: Request<()>) -> Result<Response<AnswerBody>, HttpError> {
        let (mut parts, ()) = request.into_parts();
        for _ in 0..10 {
            let next = Request::from_parts(parts.clone(), Body::empty());
            let answer = self.send(next)?;
            let Some(target) = redirect_of(&answer) else {
                return Ok(answer);
            };
            let refused = |problem: &'static str| {
                HttpError::new(origin_text(&parts.uri), HttpErrorKind::Redirect).because(problem)
            };
            let target = location::resolve(&parts.uri, target).ok_or_else(|| refused("its target is no address"))?;
            let same_origin = location::check(&parts.uri, &target).map_err(refused)?;
            if !same_origin {
                parts.headers.remove(AUTHORIZATION);
                parts.headers.remove(COOKIE);
                let mut terms = parts.extensions.get::<RequestTerms>().cloned().unwrap_or_default();
                terms.led_by = terms.led_by.or_else(|| Origin::of(&parts.uri).ok());
                parts.extensions.insert(terms);
            }
            if answer.status() == StatusCode::SEE_OTHER && parts.method != Method::HEAD {
                parts.method = Method::GET;
            }
            parts.uri = target;
        }
        Err(HttpError::new(origin_text(&parts.uri), HttpErrorKind::Redirect).because("there are ten in a row"))
    }

    /// Tells which schemes to try for a registry, in this order.
    pub(crate) fn schemes(&self, registry: &registry_auth::RegistryHost) -> &'static [Scheme] {
        if HttpPolicy::lists(&self.policy.plain_http_hosts, registry.as_str()) {
            return &[Scheme::Http];
        }
        let insecure = HttpPolicy::lists(&self.policy.insecure_hosts, registry.as_str());
        if insecure || registry.scheme() == Scheme::Http {
            return &[Scheme::Https, Scheme::Http];
        }
        &[Scheme::Https]
    }
}

/// Returns the target of a redirect; `None` for every other answer.
pub(crate) fn redirect_of<B>(answer: &Response<B>) -> Option<&str> {
    let redirect = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let target = answer.headers().get(LOCATION).filter(|_| redirect)?;
    target.to_str().ok()
}

/// Names where an address leads, without its path and query.
pub(crate) fn origin_text(address: &Uri) -> String {
    match Origin::of(address) {
        Ok(origin) => origin.to_string(),
        Err(_) => address.host().unwrap_or("no host").to_owned(),
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({:?})", self.policy)
    }
}

//! Why a request got no answer.

use std::{error::Error, fmt, io};

use crate::{resolver::PrivateNetwork, watched::Cancelled};

/// Why a request got no answer, or its answer broke off. Never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("{kind} ({origin})")]
pub struct HttpError {
    /// The scheme, host and port that were spoken to.
    pub origin: String,
    /// What kind of failure it was.
    pub kind: HttpErrorKind,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure an [`HttpError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The policy can't be used: a malformed certificate or proxy.
    Policy,
    /// The request is malformed.
    Request,
    /// The host's name was not found.
    HostNotFound,
    /// No connection could be made.
    Connect,
    /// The server's certificate is not trusted.
    Certificate,
    /// Both sides could not agree on TLS; the server may not speak it at all.
    Tls,
    /// Nothing came or went for too long.
    Timeout,
    /// The operation took longer than it may.
    Deadline,
    /// The operation was cancelled.
    Cancelled,
    /// The connection broke.
    Broken,
    /// The server does not speak http as it should.
    Protocol,
    /// A redirect is not followed: too many, to plain http, or into a private network.
    Redirect,
    /// Reading what was to be sent failed.
    Body,
}

impl HttpErrorKind {
    /// Returns whether the same request may succeed when it is sent again.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Connect | Self::Timeout | Self::Broken)
    }
}

impl fmt::Display for HttpErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "the http settings can't be used",
            Self::Request => "the request can't be sent",
            Self::HostNotFound => "the host's name was not found; check the name and the DNS settings",
            Self::Connect => "cannot connect",
            Self::Certificate => {
                "the server's certificate is not trusted; add the certificate of its authority, or check the name"
            }
            Self::Tls => "cannot speak TLS with the server; it may speak plain http",
            Self::Timeout => "the server did not answer in time",
            Self::Deadline => "it took longer than it may; allow it more time, or look why the server is slow",
            Self::Cancelled => "it was cancelled",
            Self::Broken => "the connection broke",
            Self::Protocol => "the server's answer is not understood",
            Self::Redirect => "the redirect is not followed",
            Self::Body => "cannot read what is to be sent",
        })
    }
}

impl HttpError {
    pub(crate) fn new(origin: impl fmt::Display, kind: HttpErrorKind) -> Self {
        Self {
            origin: origin.to_string(),
            kind,
            source: None,
        }
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Tells what kind of failure an error of reading or writing a connection is.
    pub(crate) fn kind_of(error: &io::Error) -> HttpErrorKind {
        use io::ErrorKind as Kind;
        if let Some(kind) = inner_kind(error) {
            return kind;
        }
        match error.kind() {
            Kind::TimedOut | Kind::WouldBlock => HttpErrorKind::Timeout,
            Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable => HttpErrorKind::Connect,
            Kind::InvalidData | Kind::InvalidInput => HttpErrorKind::Protocol,
            _ => HttpErrorKind::Broken,
        }
    }
}

/// Looks for a more telling error among the causes.
fn inner_kind(error: &io::Error) -> Option<HttpErrorKind> {
    let inner = error.get_ref()?;
    let mut cause: Option<&(dyn Error + 'static)> = Some(inner);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ureq::Error>() {
            return Some(crate::agent::kind_of(error));
        }
        if error.is::<Cancelled>() {
            return Some(HttpErrorKind::Cancelled);
        }
        if error.is::<PrivateNetwork>() {
            return Some(HttpErrorKind::Redirect);
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(rustls_kind(tls));
        }
        cause = error.source();
    }
    None
}

pub(crate) fn rustls_kind(error: &rustls::Error) -> HttpErrorKind {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => HttpErrorKind::Certificate,
        _ => HttpErrorKind::Tls,
    }
}

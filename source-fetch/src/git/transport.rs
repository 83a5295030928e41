//! Carries the conversation to the server: over http, through the `ssh` program, or to a local `git upload-pack`.

use std::io::{self, Read};

use base64::Engine as _;
use http::{Method, Request, StatusCode, header};
use registry_auth::Secret;
use registry_client::{Body, Http, HttpError};

use super::{
    keychain::{GitCredential, GitKeychain},
    protocol::Capabilities,
    url::{GitScheme, GitUrl},
};

/// Why a git server gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No answer.
    #[error("cannot reach git server of {url}")]
    Unreachable {
        /// The repository.
        url: String,
        /// The cause.
        source: HttpError,
    },
    /// The server refused the credential, or wants one.
    #[error("authentication required for {url}: {hint}")]
    Unauthorized {
        /// The repository.
        url: String,
        /// What was sent, and what to do.
        hint: String,
    },
    /// The server knows no such repository, or hides it.
    #[error("repository {url} does not exist, or needs a credential that was not given")]
    NotFound {
        /// The repository.
        url: String,
    },
    /// Another status.
    #[error("git server of {url} answered {status}")]
    Status {
        /// The repository.
        url: String,
        /// The http status.
        status: u16,
    },
    /// The answer breaks git's rules, or broke off.
    #[error("git server of {url} gave no valid answer")]
    Protocol {
        /// The repository.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// The server can't do what is needed.
    #[error("git server of {url} {problem}")]
    Unsupported {
        /// The repository.
        url: String,
        /// What it lacks.
        problem: &'static str,
    },
}

impl TransportError {
    /// Returns whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind.is_retryable(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Protocol { source, .. } => source.kind() == io::ErrorKind::UnexpectedEof,
            Self::Unauthorized { .. } | Self::NotFound { .. } | Self::Unsupported { .. } => false,
        }
    }
}

pub(crate) const AGENT: &str = concat!("kpack-flow/", env!("CARGO_PKG_VERSION"));

/// An answer of at most this many bytes is a listing.
const MAX_LISTING: u64 = 256 << 20;

/// A repository that one can talk to.
pub(crate) struct Remote<'a> {
    url: &'a GitUrl,
    http: &'a Http,
    /// The address after redirects; the credential goes to the first origin only.
    base: String,
    authorization: Option<Secret>,
    credential: String,
    pub(crate) capabilities: Capabilities,
}

impl<'a> Remote<'a> {
    /// Says hello.
    pub(crate) fn connect(url: &'a GitUrl, keychain: &GitKeychain, http: &'a Http) -> Result<Self, TransportError> {
        match url.scheme() {
            GitScheme::Http | GitScheme::Https => {}
            GitScheme::Ssh => {
                return Err(TransportError::Unsupported {
                    url: url.to_string(),
                    problem: "is reached by ssh, which this version does not speak; use https",
                });
            }
            GitScheme::File => {
                return Err(TransportError::Unsupported {
                    url: url.to_string(),
                    problem: "is a local directory, which is not read; serve it over http",
                });
            }
        }
        let (authorization, credential) = match (url.userinfo(), keychain.find(url)) {
            (Some((user, password)), _) => (Some(basic(user, password)), "the user of the url".to_owned()),
            (None, Some((secret, GitCredential::Basic { user, password }))) => {
                (Some(basic(user, password.expose())), format!("secret {secret}"))
            }
            _ => (None, String::new()),
        };
        let mut remote = Self {
            url,
            http,
            base: url.http_base(),
            authorization,
            credential,
            capabilities: Capabilities::default(),
        };
        remote.capabilities = remote.discover()?;
        Ok(remote)
    }

    fn discover(&self) -> Result<Capabilities, TransportError> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}/info/refs?service=git-upload-pack", self.base))
            .header("Git-Protocol", "version=2")
            .header(header::USER_AGENT, format!("git/2.39 ({AGENT})"));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.expose());
        }
        let request = request
            .body(())
            .map_err(|error| self.protocol(io::Error::other(error)))?;
        // Redirects are followed for the listing alone, and never with the credential to another origin.
        let answer = self
            .http
            .send_following(request)
            .map_err(|source| self.unreachable(source))?;
        self.check(answer.status())?;
        let mut body = answer.into_body().take(MAX_LISTING);
        let capabilities = Capabilities::read(&mut body).map_err(|source| self.protocol(source))?;
        let unsupported = |problem| TransportError::Unsupported {
            url: self.url.to_string(),
            problem,
        };
        let capabilities = capabilities.ok_or_else(|| unsupported("does not speak git's protocol version 2"))?;
        match capabilities.is_sha1() {
            true => Ok(capabilities),
            false => Err(unsupported("names objects by SHA-256, which is not supported")),
        }
    }

    /// Sends a request and returns the answer as a stream.
    pub(crate) fn ask(&self, request: Vec<u8>) -> Result<impl Read + use<>, TransportError> {
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/git-upload-pack", self.base))
            .header("Git-Protocol", "version=2")
            .header(header::CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(header::ACCEPT, "application/x-git-upload-pack-result")
            .header(header::USER_AGENT, format!("git/2.39 ({AGENT})"));
        if let Some(authorization) = &self.authorization {
            builder = builder.header(header::AUTHORIZATION, authorization.expose());
        }
        let request = builder
            .body(Body::from(request))
            .map_err(|error| self.protocol(io::Error::other(error)))?;
        let answer = self.http.send(request).map_err(|source| self.unreachable(source))?;
        self.check(answer.status())?;
        Ok(answer.into_body())
    }

    pub(crate) fn protocol(&self, source: io::Error) -> TransportError {
        TransportError::Protocol {
            url: self.url.to_string(),
            source,
        }
    }

    fn unreachable(&self, source: HttpError) -> TransportError {
        TransportError::Unreachable {
            url: self.url.to_string(),
            source,
        }
    }

    fn check(&self, status: StatusCode) -> Result<(), TransportError> {
        let url = self.url.to_string();
        match status.as_u16() {
            200 => Ok(()),
            401 | 403 => Err(TransportError::Unauthorized {
                url,
                hint: match self.credential.as_str() {
                    "" => "no credential was found; add a secret annotated kpack.io/git to the service account".into(),
                    credential => format!("the server refused {credential}; check its user and password"),
                },
            }),
            404 => Err(TransportError::NotFound { url }),
            status => Err(TransportError::Status { url, status }),
        }
    }
}

fn basic(user: &str, password: &str) -> Secret {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}").into()
}

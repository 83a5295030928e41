//! Why an operation on a registry failed.

use std::{fmt, io, time::Duration};

use http::StatusCode;
use registry_auth::{Digest, InvalidOrigin, KeychainError, RegistryHost, Repository, TokenError};

use crate::http_error::{HttpError, HttpErrorKind};

/// Why an operation on a registry failed: what was done, where, why, and whether trying again may help.
///
/// Never holds a secret: no header, no query of an address, no token.
#[derive(Debug)]
pub struct RegistryError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    repository: Repository,
    operation: Operation,
    reason: Reason,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// The registry was connected to.
    Connect,
    /// A manifest was asked about or read; by tag or digest.
    ReadManifest(String),
    /// A blob was asked about or read.
    ReadBlob(Digest),
    /// A blob was uploaded; without a digest, its size was not known beforehand.
    PushBlob(Option<Digest>),
    /// A blob was to be mounted from another repository.
    MountBlob(Digest, Repository),
    /// A manifest was written; by tag or digest.
    PushManifest(String),
    /// The tags were listed.
    ListTags,
    /// The repositories of a registry were listed.
    ListRepositories,
    /// The manifests that refer to another one were listed.
    ListReferrers(Digest),
    /// A manifest or tag was deleted.
    Delete(String),
    /// Read access was checked.
    CheckRead(String),
    /// Write access was checked.
    CheckWrite,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect to the registry"),
            Self::ReadManifest(name) => write!(f, "read manifest {name}"),
            Self::ReadBlob(digest) => write!(f, "read blob {digest}"),
            Self::PushBlob(Some(digest)) => write!(f, "push blob {digest}"),
            Self::PushBlob(None) => f.write_str("push a blob"),
            Self::MountBlob(digest, from) => write!(f, "mount blob {digest} from {from}"),
            Self::PushManifest(name) => write!(f, "push manifest {name}"),
            Self::ListTags => f.write_str("list tags"),
            Self::ListRepositories => f.write_str("list the repositories"),
            Self::ListReferrers(digest) => write!(f, "list referrers of {digest}"),
            Self::Delete(name) => write!(f, "delete {name}"),
            Self::CheckRead(name) => write!(f, "check read access to {name}"),
            Self::CheckWrite => f.write_str("check write access"),
        }
    }
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The registry answered with an error.
    #[error("{}", Answer { status: *status, errors })]
    Status {
        /// The status.
        status: StatusCode,
        /// The errors in the body, as far as there are any.
        errors: Vec<ServerError>,
        /// How long the registry asked to wait.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    #[error(transparent)]
    Http(HttpError),
    /// No credential could be had.
    #[error("no credential")]
    Keychain(#[source] KeychainError),
    /// No token could be had.
    #[error(transparent)]
    Token(TokenError),
    /// The registry asks for a way of authentication that is not spoken here.
    #[error("the registry asks for {0:?} authentication, which is not supported")]
    Challenge(String),
    /// The registry's name can't be connected to.
    #[error(transparent)]
    Address(#[from] InvalidOrigin),
    /// The answer is not what the protocol says.
    #[error("the registry's answer is not understood: {0}")]
    Answer(String),
    /// The bytes are not those that were asked for.
    #[error("the registry sent other bytes than those of {expected}: {found}")]
    WrongBytes {
        /// The digest asked for.
        expected: Digest,
        /// What came instead: a digest, or a size.
        found: String,
    },
    /// The registry no longer took the token while bytes were sent that can't be sent again from here.
    #[error("the token expired while the bytes were sent; start again, with a new one")]
    Expired,
    /// What was to be sent could not be read, or is not what it should be.
    #[error("cannot read what is to be pushed")]
    Local(#[source] io::Error),
    /// It is larger than what is accepted.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes that are accepted.
        limit: u64,
    },
    /// The address of an upload or page may not be used.
    #[error("the registry points to {address}, which is not followed: {problem}")]
    Location {
        /// The address without its query.
        address: String,
        /// The rule.
        problem: &'static str,
    },
}

/// One error that a registry reports in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// The code, such as `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The message; may be empty.
    pub message: String,
}

struct Answer<'a> {
    status: StatusCode,
    errors: &'a [ServerError],
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry answered {}", self.status)?;
        for (at, error) in self.errors.iter().enumerate() {
            f.write_str(if at == 0 { ": " } else { "; " })?;
            match (error.code.as_str(), error.message.as_str()) {
                ("", message) => f.write_str(message)?,
                (code, "") => f.write_str(code)?,
                (code, message) => write!(f, "{code}: {message}")?,
            }
        }
        match self.status {
            StatusCode::UNAUTHORIZED => f.write_str("; check the credentials for this registry"),
            StatusCode::FORBIDDEN => f.write_str("; the credentials do not allow this"),
            _ => Ok(()),
        }
    }
}

impl RegistryError {
    pub(crate) fn new(repository: &Repository, operation: Operation, reason: impl Into<Reason>) -> Self {
        Self(Box::new(Inner {
            repository: repository.clone(),
            operation,
            reason: reason.into(),
        }))
    }

    /// Returns the registry.
    pub fn registry(&self) -> &RegistryHost {
        self.0.repository.registry()
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.0.repository
    }

    /// Returns what was done.
    pub fn operation(&self) -> &Operation {
        &self.0.operation
    }

    /// Returns why it failed.
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// Returns the status of the answer, the token server's too; `None` when there was none.
    pub fn status(&self) -> Option<u16> {
        match &self.0.reason {
            Reason::Status { status, .. } => Some(status.as_u16()),
            Reason::Token(error) => error.status().map(|status| status.as_u16()),
            _ => None,
        }
    }

    /// Returns the registry's error codes, such as `DENIED`.
    pub fn codes(&self) -> Vec<&str> {
        self.errors().iter().map(|error| error.code.as_str()).collect()
    }

    /// Returns the registry's errors, codes and messages.
    pub fn errors(&self) -> &[ServerError] {
        match &self.0.reason {
            Reason::Status { errors, .. } => errors,
            _ => &[],
        }
    }

    /// Returns whether the same operation may succeed later.
    pub fn is_retryable(&self) -> bool {
        match &self.0.reason {
            Reason::Status { status, errors, .. } => {
                let uploads = matches!(self.0.operation, Operation::PushBlob(_) | Operation::MountBlob(..));
                // An upload that was lost can be made anew, if one was made.
                let code = |code: &str| is_retryable_code(code) || (uploads && code == "BLOB_UPLOAD_UNKNOWN");
                let all = !errors.is_empty() && errors.iter().all(|error| code(&error.code));
                is_retryable_status(*status) || all
            }
            Reason::Http(error) => error.kind.is_retryable(),
            Reason::Token(error) => error.status().is_some_and(is_retryable_status),
            Reason::Expired => true,
            _ => false,
        }
    }

    /// Returns whether credentials are missing, wrong or not enough (401 or 403).
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Returns whether the registry does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(&self.0.reason, Reason::Status { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Returns whether the operation was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.http_kind() == Some(HttpErrorKind::Cancelled)
    }

    /// Returns whether the operation took longer than it may.
    pub fn is_deadline(&self) -> bool {
        self.http_kind() == Some(HttpErrorKind::Deadline)
    }

    /// Returns whether no other attempt or place is worth a try.
    pub(crate) fn is_over(&self) -> bool {
        self.is_cancelled() || self.is_deadline() || matches!(self.reason(), Reason::Local(_))
    }

    fn http_kind(&self) -> Option<HttpErrorKind> {
        match &self.0.reason {
            Reason::Http(error) => Some(error.kind),
            _ => None,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match &self.0.reason {
            Reason::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

pub(crate) fn is_retryable_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
}

fn is_retryable_code(code: &str) -> bool {
    matches!(
        code,
        "BLOB_UPLOAD_INVALID" | "TOOMANYREQUESTS" | "UNKNOWN" | "UNAVAILABLE"
    )
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            repository,
            operation,
            reason,
        } = &*self.0;
        write!(f, "cannot {operation} ({repository}): {reason}")
    }
}

impl std::error::Error for RegistryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.reason.source()
    }
}

impl From<RegistryError> for io::Error {
    /// Keeps the whole error as the cause; [`io::Error::get_ref`] gives it back.
    fn from(error: RegistryError) -> Self {
        Self::other(error)
    }
}

/// Why a [`Client`](crate::Client) could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the registry client")]
pub struct ClientError(#[from] pub(crate) HttpError);

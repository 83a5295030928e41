//! A repository that one can talk to, wherever it is.

use std::{
    fmt,
    io::{self, Read},
};

use registry_client::HttpError;

use super::{
    channel::Channel,
    greeting::Greeting,
    http_channel::HttpChannel,
    local::LocalRepository,
    old_protocol::{self, Depth},
    protocol::{self, ListedRef},
    stream_channel::StreamChannel,
    url::{GitScheme, GitUrl},
};
use crate::{
    access::Access,
    limits::{LimitExceeded, Limits},
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
    /// The `ssh` program gave up.
    #[error("cannot reach {url} by ssh: {problem}")]
    Ssh {
        /// The repository.
        url: String,
        /// What it said.
        problem: String,
        /// The cause.
        source: Option<io::Error>,
    },
    /// The answer breaks git's rules, or broke off.
    #[error("git server of {url} gave no valid answer")]
    Protocol {
        /// The repository.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// The server can't do what is needed, or is not to be asked.
    #[error("git server of {url} {problem}")]
    Unsupported {
        /// The repository.
        url: String,
        /// What it lacks.
        problem: &'static str,
    },
    /// It takes too long or sends too much, or somebody cancelled.
    #[error("gave up on {url}")]
    Limit {
        /// The repository.
        url: String,
        /// Which bound was crossed.
        source: LimitExceeded,
    },
    /// A local repository can't be read.
    #[error("local repository {url} can't be read")]
    Local {
        /// The repository.
        url: String,
        /// The cause.
        source: git2::Error,
    },
}

impl TransportError {
    /// Whether the server was reached and let us in, so that another request may have another answer.
    pub(crate) fn is_an_answer(&self) -> bool {
        match self {
            Self::Status { .. } => true,
            Self::Protocol { source, .. } => !is_broken(source),
            _ => false,
        }
    }

    /// Returns whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind.is_retryable(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Protocol { source, .. } => is_broken(source) || source.kind() == ENDED,
            Self::Limit { source, .. } => source.is_retryable(),
            Self::Ssh { problem, .. } => ["timed out", "refused", "reset", "closed"]
                .iter()
                .any(|word| problem.contains(word)),
            _ => false,
        }
    }
}

/// The kind of an error that is the end of an answer between two lines, where a server may have given up what it was asked.
pub(crate) const ENDED: io::ErrorKind = io::ErrorKind::ConnectionAborted;

/// Whether a connection broke or stands still.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::TimedOut
            | io::ErrorKind::WouldBlock
    )
}

pub(crate) const AGENT: &str = concat!("kpack-flow/", env!("CARGO_PKG_VERSION"));

/// An answer of at most this many bytes is a listing.
pub(crate) const MAX_LISTING: u64 = 256 << 20;

pub(crate) fn protocol_error(url: &str, source: io::Error) -> TransportError {
    TransportError::Protocol {
        url: url.to_owned(),
        source,
    }
}

/// What failed because the time was over failed for that reason.
fn limited(url: &str, limits: &Limits, error: TransportError) -> TransportError {
    match limits.check() {
        Ok(()) => error,
        Err(source) => TransportError::Limit {
            url: url.to_owned(),
            source,
        },
    }
}

/// What is left out of a pack, where the server can leave things out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A commit with all of its files.
    Everything,
    /// The trees from the commit's own down to so many levels, and as few files as possible.
    Trees(usize),
    /// All trees and no files.
    NoFiles,
}

/// A repository that one can talk to.
pub(crate) struct Remote {
    url: String,
    kind: Kind,
}

enum Kind {
    Wire {
        channel: Box<dyn Channel>,
        greeting: Greeting,
    },
    Local(LocalRepository),
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.url)
    }
}

impl Remote {
    /// Says hello.
    pub(crate) fn connect(url: &GitUrl, access: &Access) -> Result<Self, TransportError> {
        let limits = &access.limits;
        Self::connect_to(url, access).map_err(|error| limited(&url.to_string(), limits, error))
    }

    fn connect_to(url: &GitUrl, access: &Access) -> Result<Self, TransportError> {
        let unsupported = |problem| TransportError::Unsupported {
            url: url.to_string(),
            problem,
        };
        let wire = |channel: Box<dyn Channel>, greeting| Kind::Wire { channel, greeting };
        let kind = match url.scheme() {
            GitScheme::Http | GitScheme::Https => {
                let (channel, greeting) = HttpChannel::open(url, access)?;
                wire(Box::new(channel), greeting)
            }
            GitScheme::Git => {
                let (channel, greeting) = StreamChannel::daemon(url, &access.limits)?;
                wire(Box::new(channel), greeting)
            }
            GitScheme::Ssh => {
                let ssh = access.ssh.as_ref();
                let ssh = ssh.ok_or_else(|| unsupported("is reached by ssh, which is not set up here; use https"))?;
                let (channel, greeting) = StreamChannel::ssh(url, &access.git, ssh, &access.limits)?;
                wire(Box::new(channel), greeting)
            }
            GitScheme::File if access.allow_file => Kind::Local(LocalRepository::open(url)?),
            GitScheme::File => {
                return Err(unsupported(
                    "is a directory of the machine that builds, which is not allowed; serve it over https",
                ));
            }
        };
        if let Kind::Wire { greeting, .. } = &kind {
            let is_sha1 = match greeting {
                Greeting::Version2(capabilities) => capabilities.is_sha1(),
                Greeting::Older(advertisement) => advertisement.is_sha1(),
            };
            if !is_sha1 {
                return Err(unsupported("names objects by SHA-256, which is not supported"));
            }
        }
        Ok(Self {
            url: url.to_string(),
            kind,
        })
    }

    /// Lists the refs that begin with one of `prefixes`, and perhaps others.
    pub(crate) fn list(&mut self, prefixes: &[String], limits: &Limits) -> Result<Vec<ListedRef>, TransportError> {
        let listed = self.listed(prefixes, limits);
        listed.map_err(|error| limited(&self.url, limits, error))
    }

    fn listed(&mut self, prefixes: &[String], limits: &Limits) -> Result<Vec<ListedRef>, TransportError> {
        match &mut self.kind {
            Kind::Local(repository) => repository.list(),
            Kind::Wire {
                greeting: Greeting::Older(found),
                ..
            } => Ok(found.refs.clone()),
            Kind::Wire {
                greeting: Greeting::Version2(capabilities),
                channel,
            } => {
                let mut answer = channel
                    .ask(capabilities.ls_refs(prefixes, AGENT), limits)?
                    .take(MAX_LISTING);
                protocol::read_refs(&mut answer).map_err(|error| protocol_error(&self.url, error))
            }
        }
    }

    /// Asks for object `id`, without what commit `have` holds where the server can leave that out, and hands the pack to `pack` in pieces; returns where history was cut off.
    pub(crate) fn fetch(
        &mut self,
        id: &str,
        wanted: Wanted,
        have: Option<&str>,
        limits: &Limits,
        pack: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Vec<String>, TransportError> {
        let fetched = self.fetched(id, wanted, have, limits, pack);
        fetched.map_err(|error| limited(&self.url, limits, error))
    }

    fn fetched(
        &mut self,
        id: &str,
        wanted: Wanted,
        have: Option<&str>,
        limits: &Limits,
        mut pack: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Vec<String>, TransportError> {
        let filter = match wanted {
            Wanted::Everything => None,
            Wanted::NoFiles => Some("blob:none".to_owned()),
            Wanted::Trees(1) => Some("tree:1".to_owned()),
            Wanted::Trees(depth) => Some(format!("combine:blob:none+tree:{depth}")),
        };
        let (channel, greeting) = match &mut self.kind {
            Kind::Local(repository) => return repository.pack(id, wanted, &mut pack),
            Kind::Wire { channel, greeting } => (channel, &*greeting),
        };
        let failed = |error| protocol_error(&self.url, error);
        match greeting {
            Greeting::Version2(capabilities) => {
                let mut answer = channel.ask(capabilities.fetch(id, filter.as_deref(), have, AGENT), limits)?;
                protocol::read_pack(&mut answer, pack).map_err(failed)
            }
            Greeting::Older(found) => {
                if !found.has_bands() {
                    return Err(TransportError::Unsupported {
                        url: self.url.clone(),
                        problem: "is too old: it does not send packs in bands",
                    });
                }
                let tips: Vec<&str> = found.refs.iter().map(|listed| listed.id.as_str()).collect();
                // What the server does not give out by itself may be somewhere in the history.
                let (ids, depth) = if found.gives(id) {
                    (vec![id], Depth::One)
                } else {
                    (tips, Depth::All)
                };
                if ids.is_empty() {
                    return Err(failed(io::Error::other(format!(
                        "not our ref {id}: the repository is empty"
                    ))));
                }
                let request = found.fetch(&ids, depth, filter.as_deref(), AGENT);
                let mut answer = channel.ask(request, limits)?;
                old_protocol::read_pack(&mut answer, pack).map_err(failed)
            }
        }
    }

    /// Whether only one commit is sent, or some, where one is asked for; else it is all of the history.
    pub(crate) fn cuts_history(&self, id: &str) -> bool {
        match &self.kind {
            Kind::Wire {
                greeting: Greeting::Version2(capabilities),
                ..
            } => capabilities.cuts_history(),
            Kind::Wire {
                greeting: Greeting::Older(found),
                ..
            } => found.gives(id) && found.cuts_history(),
            Kind::Local(_) => true,
        }
    }

    /// An answer that is no valid one.
    pub(crate) fn failed(&self, source: io::Error) -> TransportError {
        protocol_error(&self.url, source)
    }

    /// Whether another question needs no other greeting.
    pub(crate) fn can_be_asked_again(&self) -> bool {
        match &self.kind {
            Kind::Wire { channel, greeting } => channel.is_stateless() && matches!(greeting, Greeting::Version2(_)),
            Kind::Local(_) => false,
        }
    }

    /// Whether objects can be left out of a pack.
    pub(crate) fn filters(&self) -> bool {
        match &self.kind {
            Kind::Wire {
                greeting: Greeting::Version2(capabilities),
                ..
            } => capabilities.filters(),
            Kind::Wire { .. } => false,
            Kind::Local(_) => true,
        }
    }
}

//! What resolving and fetching are done with.

use std::path::PathBuf;

use registry_client::{Client, Http};

use crate::{BlobKeychain, GitKeychain, limits::Limits};

/// What resolving and fetching are done with: connections, credentials, bounds. Cheap to clone.
///
/// Nothing is read that is not in here: no environment, no configuration of the machine.
///
/// # Examples
/// ```
/// use registry_client::{Http, HttpPolicy};
/// use source_fetch::{Access, Limits};
///
/// let access = Access {
///     limits: Limits { download: 100 << 20, ..Limits::default() },
///     ..Access::new(Http::new(&HttpPolicy::default())?)
/// };
/// assert!(!access.allow_file);
/// # Ok::<(), registry_client::HttpError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Access {
    /// Sends requests to git servers and for archives.
    pub http: Http,
    /// Bounds.
    pub limits: Limits,
    /// Credentials for git servers.
    pub git: GitKeychain,
    /// Credentials for archives.
    pub blob: BlobKeychain,
    /// Pulls source images, with its own credentials.
    pub registry: Option<Client>,
    /// Reaches git servers by ssh.
    pub ssh: Option<Ssh>,
    /// Whether `file` urls and paths may be read: only when sources come from the user of this machine.
    pub allow_file: bool,
}

/// The `ssh` program, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The program, such as `/usr/bin/ssh`.
    pub program: PathBuf,
    /// A directory in which key files are kept, readable by this user only, while the program runs.
    pub scratch: PathBuf,
    /// Whether any host key is accepted, even one that contradicts the known hosts of the credential.
    ///
    /// The reference does so unless told otherwise.
    pub trust_unknown_hosts: bool,
}

impl Access {
    /// The same access, whose time runs from now on.
    pub(crate) fn started(&self) -> Self {
        Self {
            limits: self.limits.started(&self.http),
            ..self.clone()
        }
    }

    /// Makes an access without credentials, images, ssh and local files.
    pub fn new(http: Http) -> Self {
        Self {
            http,
            limits: Limits::default(),
            git: GitKeychain::default(),
            blob: BlobKeychain::default(),
            registry: None,
            ssh: None,
            allow_file: false,
        }
    }
}

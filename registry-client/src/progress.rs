//! What an operation tells about itself while it is under way.

use std::{sync::Arc, time::Duration};

use registry_auth::{Digest, Repository};

/// What has just happened in an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// So many bytes of a blob have come from the registry.
    Received {
        /// The repository, perhaps a mirror's.
        repository: &'a Repository,
        /// The blob.
        digest: &'a Digest,
        /// Bytes since the blob's start.
        bytes: u64,
        /// The blob's size, if the registry told it.
        size: Option<u64>,
    },
    /// So many bytes of a blob have been sent; fewer than before when it is sent again.
    Sent {
        /// The repository.
        repository: &'a Repository,
        /// The blob; unknown until the end of an upload of unknown size.
        digest: Option<&'a Digest>,
        /// Bytes since the blob's start.
        bytes: u64,
        /// The blob's size, if it is known.
        size: Option<u64>,
    },
    /// A blob needs not be sent: it is there already.
    Present {
        /// The repository.
        repository: &'a Repository,
        /// The blob.
        digest: &'a Digest,
    },
    /// A blob needs not be sent: the registry took it from another repository.
    Mounted {
        /// The repository.
        repository: &'a Repository,
        /// The blob.
        digest: &'a Digest,
        /// The other repository.
        from: &'a Repository,
    },
    /// A request failed and is sent again after a wait.
    Waiting {
        /// The repository.
        repository: &'a Repository,
        /// How long.
        wait: Duration,
    },
    /// A mirror did not have it or did not answer; the next one or the registry itself is asked.
    MirrorFailed {
        /// The repository at the mirror.
        repository: &'a Repository,
    },
}

/// Who is told; called on the thread that does the work, several at once when several threads share a client.
pub(crate) type Listener = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

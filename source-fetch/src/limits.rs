//! How much a source may cost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use registry_client::{Cancellation, Client, Http, RequestTerms};

use crate::{
    progress::{Progress, Step},
    time_limit::TimeLimit,
};

/// Bounds on one fetch, and who may end it and watch it. What goes beyond them ends the fetch with an error that names the bound.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes received over the network.
    pub download: u64,
    /// Bytes written as files.
    pub unpacked: u64,
    /// Bytes written for each byte received, once more than 64 MiB were written: what grows more is a bomb.
    pub ratio: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Objects of a git repository in one answer.
    pub objects: u64,
    /// Length of one path in bytes.
    pub path: usize,
    /// Time for one exchange with a server to stand still.
    pub idle: Duration,
    /// How long it may take altogether.
    pub time: TimeLimit,
    /// Ends it, from another thread.
    pub cancel: Cancellation,
    /// Is told how far it is.
    pub progress: Progress,
}

impl Default for Limits {
    /// 4 GiB received, 8 GiB and two million entries written, 200 bytes written for each received, four million git
    /// objects, paths of 4,096 bytes; two minutes of standing still, an hour altogether.
    fn default() -> Self {
        Self {
            download: 4 << 30,
            unpacked: 8 << 30,
            ratio: 200,
            entries: 2_000_000,
            objects: 4_000_000,
            path: 4096,
            idle: Duration::from_secs(120),
            time: Duration::from_secs(3600).into(),
            cancel: Cancellation::new(),
            progress: Progress::default(),
        }
    }
}

impl Limits {
    /// The same limits, whose time runs from now on.
    pub(crate) fn started(&self, http: &Http) -> Self {
        Self {
            time: self.time.started(http),
            ..self.clone()
        }
    }

    /// Whether there is time left, and nobody has cancelled.
    pub(crate) fn check(&self) -> Result<(), LimitExceeded> {
        if self.cancel.is_cancelled() {
            return Err(LimitExceeded::Cancelled);
        }
        match self.time.left() {
            Some(Duration::ZERO) => Err(LimitExceeded::Time {
                limit: self.time.limit(),
            }),
            _ => Ok(()),
        }
    }

    /// What a request must heed.
    pub(crate) fn terms(&self) -> RequestTerms {
        RequestTerms {
            until: self.time.end(),
            cancellation: Some(self.cancel.clone()),
            ..RequestTerms::default()
        }
    }

    /// A client whose next operation heeds them.
    pub(crate) fn client(&self, client: &Client) -> Client {
        let client = client.with_cancellation(self.cancel.clone());
        match self.time.left() {
            Some(left) => client.with_time_limit(left),
            None => client,
        }
    }

    /// How many bytes may come of so many that were received.
    pub(crate) fn most_unpacked(&self, received: u64) -> u64 {
        received.saturating_mul(self.ratio).max(SMALL)
    }

    /// Whether so many bytes may come of so many that were received.
    pub(crate) fn check_ratio(&self, unpacked: u64, received: u64) -> Result<(), LimitExceeded> {
        match received > 0 && unpacked > SMALL && unpacked / received >= self.ratio {
            true => Err(LimitExceeded::Ratio { limit: self.ratio }),
            false => Ok(()),
        }
    }
}

/// A bound that a source went beyond.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// Too many bytes received.
    #[error("more than {limit} bytes were sent; raise the limit if the source is meant to be that large")]
    Download {
        /// The bound.
        limit: u64,
    },
    /// Too many bytes to write.
    #[error("its files hold more than {limit} bytes; raise the limit if the source is meant to be that large")]
    Unpacked {
        /// The bound.
        limit: u64,
    },
    /// Too many bytes to write for what was received.
    #[error(
        "its files hold more than {limit} times as many bytes as were sent, as a bomb does; raise the limit if the source is \
         meant to be like that"
    )]
    Ratio {
        /// The bound.
        limit: u64,
    },
    /// Too many entries.
    #[error("it has more than {limit} files; raise the limit if the source is meant to be that large")]
    Entries {
        /// The bound.
        limit: u64,
    },
    /// Too many objects.
    #[error("more than {limit} git objects were sent; raise the limit if the source is meant to be that large")]
    Objects {
        /// The bound.
        limit: u64,
    },
    /// A path that is too long.
    #[error("a path is longer than {limit} bytes: {path}…")]
    Path {
        /// The bound.
        limit: usize,
        /// How it begins.
        path: String,
    },
    /// It took too long altogether.
    #[error(
        "it took longer than {} altogether; look why the server is slow, or raise the time limit",
        seconds(*limit)
    )]
    Time {
        /// The bound.
        limit: Duration,
    },
    /// Somebody cancelled.
    #[error("cancelled")]
    Cancelled,
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        1 => "a second".to_owned(),
        0 => format!("{} ms", time.as_millis()),
        seconds => format!("{seconds} seconds"),
    }
}

impl LimitExceeded {
    /// Returns whether the same thing may stay within the limits later: a server may be less busy then.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Time { .. })
    }
}

/// What has been used of the limits.
#[derive(Debug)]
pub(crate) struct Spent<'a> {
    limits: &'a Limits,
    unpacked: u64,
    entries: u64,
    received: Received,
}

/// More than this must have been written before the ratio counts, in bytes.
const SMALL: u64 = 64 << 20;

/// Counts the bytes that were received; clones count together. Nothing counted means that nobody counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received(Arc<AtomicU64>);

impl Received {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<'a> Spent<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            unpacked: 0,
            entries: 0,
            received: Received::default(),
        }
    }

    pub(crate) fn received(&self) -> &Received {
        &self.received
    }

    /// Counts one entry before it is written.
    pub(crate) fn entry(&mut self, path: &[u8]) -> Result<(), LimitExceeded> {
        self.limits.check()?;
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(LimitExceeded::Entries {
                limit: self.limits.entries,
            });
        }
        if path.len() > self.limits.path {
            // Names of strangers must not move the cursor of who reads this.
            let path = String::from_utf8_lossy(&path[..80.min(path.len())]).replace(|c: char| c.is_control(), "?");
            return Err(LimitExceeded::Path {
                limit: self.limits.path,
                path,
            });
        }
        Ok(())
    }

    /// Counts bytes before they are written.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<(), LimitExceeded> {
        self.unpacked = self.unpacked.saturating_add(count);
        self.limits.progress.tell(Step::Written {
            entries: self.entries,
            bytes: self.unpacked,
        });
        self.limits.check()?;
        if self.unpacked > self.limits.unpacked {
            return Err(LimitExceeded::Unpacked {
                limit: self.limits.unpacked,
            });
        }
        self.limits.check_ratio(self.unpacked, self.received.so_far())
    }
}

//! How far a fetch is.

use std::{fmt, sync::Arc};

/// Is told how far a fetch is, from the thread that fetches; by default nobody is.
///
/// # Examples
/// ```
/// use source_fetch::{Limits, Progress, Step};
///
/// let limits = Limits {
///     progress: Progress::new(|step| if let Step::Received { bytes, of } = step {
///         eprint!("\r{bytes} of {of:?}");
///     }),
///     ..Limits::default()
/// };
/// # let _ = limits;
/// ```
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Step) + Send + Sync>>);

/// What has been done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Bytes of one download.
    Received {
        /// So many came.
        bytes: u64,
        /// So many are expected, when the server says that.
        of: Option<u64>,
    },
    /// Objects of one git pack.
    Objects {
        /// So many came.
        count: u64,
        /// So many are expected.
        of: u64,
    },
    /// Files, directories and links on this machine.
    Written {
        /// How many.
        entries: u64,
        /// The bytes in them.
        bytes: u64,
    },
}

impl Progress {
    /// Tells `sink`, which should be quick: a large source has a hundred thousand steps.
    pub fn new(sink: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    pub(crate) fn tell(&self, step: Step) {
        if let Some(sink) = &self.0 {
            sink(step);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Progress(told)"
        } else {
            "Progress(nobody)"
        })
    }
}

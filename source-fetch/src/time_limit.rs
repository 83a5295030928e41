//! How long something may take altogether.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use registry_client::{Clock, Http};

/// How long one resolve or fetch may take altogether: all exchanges, attempts, waits and files included.
///
/// It begins with the call, by the clock of the [`HttpPolicy`](registry_client::HttpPolicy).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use source_fetch::Limits;
///
/// let limits = Limits { time: Duration::from_secs(300).into(), ..Limits::default() };
/// assert_eq!(limits.time.limit(), Duration::from_secs(300));
/// ```
#[derive(Clone)]
pub struct TimeLimit {
    limit: Duration,
    /// When it is over, once it has begun.
    end: Option<(SystemTime, Arc<dyn Clock>)>,
}

impl TimeLimit {
    /// Returns how long it may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Begins now, unless it has begun already as part of something larger.
    pub(crate) fn started(&self, http: &Http) -> Self {
        let clock = &http.policy().clock;
        let end = self.end.clone();
        let end = end.or_else(|| Some((clock.now().checked_add(self.limit)?, Arc::clone(clock))));
        Self { limit: self.limit, end }
    }

    /// When it is over, if that is known.
    pub(crate) fn end(&self) -> Option<SystemTime> {
        self.end.as_ref().map(|(end, _)| *end)
    }

    /// How much is left; `None` when it has not begun.
    pub(crate) fn left(&self) -> Option<Duration> {
        let (end, clock) = self.end.as_ref()?;
        Some(end.duration_since(clock.now()).unwrap_or_default())
    }
}

impl From<Duration> for TimeLimit {
    fn from(limit: Duration) -> Self {
        Self { limit, end: None }
    }
}

impl fmt::Debug for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.limit)
    }
}

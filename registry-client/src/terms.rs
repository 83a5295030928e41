//! What the caller demands of operations: when they must end, and who hears of them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use registry_auth::Origin;

use crate::{
    cancellation::Cancellation,
    clock::Clock,
    http_error::{HttpError, HttpErrorKind},
    progress::{Listener, Progress},
};

/// What holds for all operations of one [`Client`](crate::Client).
#[derive(Clone, Default)]
pub(crate) struct Terms {
    pub(crate) time_limit: Option<Duration>,
    pub(crate) cancellation: Option<Cancellation>,
    pub(crate) listener: Option<Listener>,
}

impl Terms {
    pub(crate) fn tell(&self, progress: Progress<'_>) {
        if let Some(listener) = &self.listener {
            listener(progress);
        }
    }
}

/// What holds for one request besides what is sent: an extension of the [`http::Request`] given to a
/// [`Transport`](crate::Transport).
#[derive(Clone, Default)]
pub struct RequestTerms {
    /// When the answer must have been read to its end.
    pub until: Option<SystemTime>,
    /// Ends the request.
    pub cancellation: Option<Cancellation>,
    /// The server that led here. Where that is on the public internet, the host's name must lead there, too.
    pub led_by: Option<Origin>,
}

impl RequestTerms {
    /// Returns how much time is left, if that is limited.
    ///
    /// # Errors
    /// When it is over, or the request was cancelled.
    pub fn time_left(&self, place: &str, clock: &dyn Clock) -> Result<Option<Duration>, HttpError> {
        if self.cancellation.as_ref().is_some_and(Cancellation::is_cancelled) {
            return Err(HttpError::new(place, HttpErrorKind::Cancelled));
        }
        let Some(until) = self.until else {
            return Ok(None);
        };
        match until.duration_since(clock.now()) {
            Ok(left) if left > Duration::ZERO => Ok(Some(left)),
            _ => Err(HttpError::new(place, HttpErrorKind::Deadline)),
        }
    }

    /// Waits, but not longer than this allows.
    ///
    /// # Errors
    /// When the time is over then, or the request was cancelled.
    pub(crate) fn wait(&self, place: &str, clock: &dyn Clock, wait: Duration) -> Result<(), HttpError> {
        const SLICE: Duration = Duration::from_millis(250);
        let mut left = match self.time_left(place, clock)? {
            Some(limit) if limit < wait => return Err(HttpError::new(place, HttpErrorKind::Deadline)),
            _ => wait,
        };
        while self.cancellation.is_some() && left > SLICE {
            clock.sleep(SLICE);
            left -= SLICE;
            self.time_left(place, clock)?;
        }
        clock.sleep(left);
        Ok(())
    }
}

impl fmt::Debug for RequestTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTerms")
            .field("until", &self.until)
            .field("led_by", &self.led_by)
            .finish_non_exhaustive()
    }
}

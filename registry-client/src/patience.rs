//! How long one step may take that a slow server can draw out.
//!
//! The time limits of ureq for a body and for the answer of a proxy begin anew with each byte that comes, also with
//! bytes that lead nowhere: extensions of chunks, trailers, records of TLS that do not end, headers.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use ureq::{
    Timeout,
    unversioned::transport::{ConnectionDetails, NextTimeout, time},
};

thread_local! {
    /// When the step must be over that this thread is busy with. ureq leaves no other way to tell the connection.
    static STEP: Cell<Option<(Instant, Timeout)>> = const { Cell::new(None) };
}

/// Does `work`, during which connections are waited for until then only; `reason` is the error when that was too short.
fn until<T>(end: Option<Instant>, reason: Timeout, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<(Instant, Timeout)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            STEP.set(self.0);
        }
    }
    let _restore = Restore(STEP.replace(end.map(|end| (end, reason))));
    work()
}

/// Reads from a body, which must give something or end within `limit`.
pub(crate) fn reading<T>(limit: Duration, read: impl FnOnce() -> T) -> T {
    // Beyond the end of time there is no limit.
    until(Instant::now().checked_add(limit), Timeout::PerRead, read)
}

/// Makes a connection within the time that it may take altogether.
pub(crate) fn connecting<T>(details: &ConnectionDetails<'_>, connect: impl FnOnce() -> T) -> T {
    let end = match (details.now, details.timeout.after) {
        (time::Instant::Exact(start), time::Duration::Exact(limit)) => start.checked_add(limit),
        _ => None,
    };
    until(end, details.timeout.reason, connect)
}

/// Shortens a time limit to what is left of the step.
pub(crate) fn limited(mut timeout: NextTimeout) -> NextTimeout {
    if let Some((end, reason)) = STEP.get() {
        let left = time::Duration::Exact(end.saturating_duration_since(Instant::now()));
        if left < timeout.after {
            (timeout.after, timeout.reason) = (left, reason);
        }
    }
    timeout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_shortened_within_a_step_and_only_there() {
        let reason = || limited(NextTimeout::default()).reason;
        assert_eq!(
            reading(Duration::from_secs(9), || (
                reason(),
                limited(NextTimeout::default()).after < time::Duration::from_secs(10)
            )),
            (Timeout::PerRead, true)
        );
        assert_eq!(reading(Duration::MAX, reason), Timeout::Global);
        assert_eq!(reason(), Timeout::Global);
    }

    #[test]
    fn a_time_limit_that_is_shorter_stays_as_it_is() {
        let short = NextTimeout {
            after: time::Duration::from_millis(1),
            ..NextTimeout::default()
        };
        assert_eq!(reading(Duration::from_secs(9), || limited(short)), short);
    }
}

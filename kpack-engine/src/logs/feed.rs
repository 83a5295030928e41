//! [`Feed`]: tells followers of a log that something was written or that it is closed.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the writer of a log and its followers.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Bytes in the file.
    written: u64,
    closed: bool,
}

/// What a follower learns at the end of what it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The file holds more.
    More,
    /// Nothing will be added, and nothing was since `seen`.
    Closed,
    /// Nothing happened in the time allowed.
    Nothing,
}

impl Feed {
    /// Records that the file has `bytes` more.
    pub(super) fn grew(&self, bytes: u64) {
        self.change(|state| state.written += bytes);
    }

    /// Records that nothing will be added.
    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Waits until the file holds more than `seen` bytes, or is closed, or `patience` is over.
    pub(super) fn wait(&self, seen: u64, patience: Option<Duration>) -> News {
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.written > seen {
                return News::More;
            }
            if state.closed {
                return News::Closed;
            }
            let Some(until) = until else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return News::Nothing;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

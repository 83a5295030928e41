//! [`Stop`]: ends a pod from outside.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::sandbox::KillSwitch;

/// Why a pod is to end before its containers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The pod is gone.
    Deleted,
    /// It took longer than it may.
    Deadline,
    /// The runner itself ends; the pod is run again by the next.
    Shutdown,
}

/// Tells a pod's threads to stop, and ends its sandboxes.
#[derive(Default)]
pub(super) struct Stop {
    state: Mutex<StopState>,
    changed: Condvar,
}

#[derive(Default)]
struct StopState {
    reason: Option<StopReason>,
    running: Vec<KillSwitch>,
}

impl Stop {
    /// Stops; the first reason counts.
    pub(super) fn request(&self, reason: StopReason) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reason.get_or_insert(reason);
        state.running.iter().for_each(KillSwitch::kill);
        self.changed.notify_all();
    }

    /// Returns why to stop, if so.
    pub(super) fn reason(&self) -> Option<StopReason> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).reason
    }

    /// Has the sandbox ended by the next request, or at once when that came already.
    pub(super) fn watch(&self, sandbox: KillSwitch) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.reason.is_some() {
            sandbox.kill();
        }
        state.running.push(sandbox);
    }

    /// Sleeps, but not longer than until a request.
    pub(super) fn sleep(&self, time: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .changed
            .wait_timeout_while(state, time, |state| state.reason.is_none());
    }
}

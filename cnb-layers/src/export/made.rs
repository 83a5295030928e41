//! The layers that an export has made so far.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use registry_auth::Reference;

use crate::{DiffId, Layer};

/// A layer that an export has made: where its blob is.
#[derive(Clone)]
pub(super) struct MadeLayer {
    pub(super) diff_id: DiffId,
    pub(super) placed: (Reference, Layer),
}

/// Layers by their names in logs. Who asks for one waits for it while layers are being made.
#[derive(Default)]
pub(super) struct Made {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    layers: BTreeMap<String, MadeLayer>,
    is_running: bool,
}

/// As long as this lives, layers are being made.
pub(super) struct Running<'a>(&'a Made);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().is_running = false;
        self.0.changed.notify_all();
    }
}

impl Made {
    pub(super) fn start(&self) -> Running<'_> {
        *self.state() = State {
            is_running: true,
            ..State::default()
        };
        Running(self)
    }

    pub(super) fn add(&self, id: String, layer: MadeLayer) {
        self.state().layers.insert(id, layer);
        self.changed.notify_all();
    }

    /// Returns a layer, as soon as it has been made; `None` when it has not been and will not be.
    pub(super) fn get(&self, id: &str) -> Option<MadeLayer> {
        let is_open = |state: &mut State| state.is_running && !state.layers.contains_key(id);
        let waited = self.changed.wait_while(self.state(), is_open);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        state.layers.get(id).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What happens when the process is told to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cnb_detect::{Cancel, Exit, HostRunner};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// Exit codes from here on are signals, as shells have it.
const SIGNALLED: i32 = 128;

/// The signals that tell the process to end.
///
/// It ends at once, also as the first process of a container, to which the kernel gives no signal that is not handled.
/// While programs of modules run, they are ended before; a second signal does not wait for that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    at_once: Arc<AtomicBool>,
    cancel: Arc<AtomicBool>,
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to handle them.
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // What is registered first is done first: the first signal only says that the second one is meant.
            flag::register_conditional_shutdown(signal, SIGNALLED + signal, Arc::clone(&signals.at_once))?;
            flag::register(signal, Arc::clone(&signals.at_once))?;
            flag::register(signal, Arc::clone(&signals.cancel))?;
            flag::register_usize(signal, Arc::clone(&signals.received), signal.unsigned_abs() as usize)?;
        }
        signals.at_once.store(true, Ordering::Release);
        Ok(signals)
    }

    /// Runs programs of modules, which end when a signal comes: then that is the failure, whatever came of them.
    pub(crate) fn run<T>(&self, programs: impl FnOnce(&HostRunner) -> T) -> Result<T, Failure> {
        let runner = HostRunner {
            cancel: Cancel::from(Arc::clone(&self.cancel)),
            ..HostRunner::default()
        };
        self.at_once.store(false, Ordering::Release);
        let outcome = programs(&runner);
        self.at_once.store(true, Ordering::Release);
        match i32::try_from(self.received.load(Ordering::Acquire)) {
            Ok(0) | Err(_) => Ok(outcome),
            Ok(number) => {
                let core_dumped = false;
                let reason = Exit::Signal { number, core_dumped };
                Err(Failure::new(SIGNALLED + number, reason.to_string()))
            }
        }
    }
}

//! A switch that ends what is under way.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use ureq::unversioned::transport::ShutdownHandle;

/// Ends operations that are under way; clones are the same switch.
///
/// Connections in use are closed at once, also while the other side is silent or takes nothing; waits for another
/// attempt or for a limit end within a quarter of a second. It can't be taken back.
///
/// # Examples
/// ```no_run
/// # use std::sync::Arc;
/// # use registry_auth::AnonymousKeychain;
/// # use registry_client::{Cancellation, Client, HttpPolicy};
/// let stop = Cancellation::new();
/// let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain))?.with_cancellation(stop.clone());
/// // Elsewhere, such as in the handler of a signal:
/// stop.cancel();
/// # Ok::<(), registry_client::ClientError>(())
/// ```
#[derive(Clone, Default)]
pub struct Cancellation(Arc<State>);

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    connections: Mutex<Vec<Weak<dyn ShutdownHandle>>>,
}

impl Cancellation {
    /// Makes a switch that is off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends everything that was given this switch, now and later.
    pub fn cancel(&self) {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a connection is either seen here or sees this.
        self.0.cancelled.store(true, Ordering::SeqCst);
        for connection in connections.drain(..).filter_map(|handle| handle.upgrade()) {
            connection.shutdown();
        }
    }

    /// Returns whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Notes a connection while it is waited for; `false` when all is over already.
    fn watch(&self, connection: &Weak<dyn ShutdownHandle>) -> bool {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.push(Weak::clone(connection));
        !self.is_cancelled()
    }

    fn forget(&self, connection: &Weak<dyn ShutdownHandle>) {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = connections.iter().position(|known| known.ptr_eq(connection)) {
            connections.swap_remove(at);
        }
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancellation({})", self.is_cancelled())
    }
}

thread_local! {
    /// Whose request this thread is busy with. Connections are shared by requests and chosen inside of ureq, which
    /// leaves no other way to tell one for whom it is used.
    static CURRENT: RefCell<Option<Cancellation>> = const { RefCell::new(None) };
}

/// Does `work` in the name of a switch.
pub(crate) fn within<T>(cancellation: Option<&Cancellation>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Cancellation>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(cancellation.cloned()));
    work()
}

/// Waits for a connection in the name of the current switch; `None` when that ended it.
pub(crate) fn watched<T>(connection: Option<&Weak<dyn ShutdownHandle>>, wait: impl FnOnce() -> T) -> Option<T> {
    let current = CURRENT.with_borrow(Clone::clone);
    let (Some(current), Some(connection)) = (current, connection) else {
        return Some(wait());
    };
    let result = current.watch(connection).then(wait);
    current.forget(connection);
    result.filter(|_| !current.is_cancelled())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flag(AtomicBool);

    impl ShutdownHandle for Flag {
        fn shutdown(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_connections_that_are_waited_for_are_closed() {
        let stop = Cancellation::new();
        let (busy, idle) = (
            Arc::new(Flag(AtomicBool::new(false))),
            Arc::new(Flag(AtomicBool::new(false))),
        );
        let handle = |flag: &Arc<Flag>| Arc::downgrade(flag) as Weak<dyn ShutdownHandle>;
        within(Some(&stop), || {
            assert_eq!(watched(Some(&handle(&idle)), || 1), Some(1));
            assert_eq!(watched(Some(&handle(&busy)), || stop.cancel()), None);
            assert_eq!(watched(Some(&handle(&idle)), || panic!("it is over")), None::<()>);
        });
        assert!(busy.0.load(Ordering::SeqCst) && !idle.0.load(Ordering::SeqCst));
        assert_eq!(watched(Some(&handle(&idle)), || 2), Some(2), "others go on");
    }
}

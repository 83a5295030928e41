//! Connections that a [`Cancellation`](crate::Cancellation) closes while they are waited for, and that are waited for no
//! longer than a step may take.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, ShutdownHandle, Transport};

use crate::{cancellation, patience, session::lock};

/// Watches what the connectors in it make.
#[derive(Debug)]
pub(crate) struct Watching<C>(pub(crate) C);

impl<In: Transport, C: Connector<In>> Connector<In> for Watching<C> {
    type Out = WatchedTransport<C::Out>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let handle = Arc::new(Mutex::new(None));
        let (keep, register) = (Arc::clone(&handle), Arc::clone(&details.register_shutdown));
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::new(move |handle| {
                *lock(&keep) = Some(Weak::clone(&handle));
                register(handle)
            }),
        };
        let transport = patience::connecting(&details, || self.0.connect(&details, chained))?;
        Ok(transport.map(|transport| WatchedTransport {
            transport,
            handle: lock(&handle).take(),
        }))
    }
}

/// A connection that is watched while it is waited for.
pub(crate) struct WatchedTransport<T> {
    transport: T,
    handle: Option<Weak<dyn ShutdownHandle>>,
}

impl<T> WatchedTransport<T> {
    fn watched<R>(&mut self, work: impl FnOnce(&mut T) -> Result<R, ureq::Error>) -> Result<R, ureq::Error> {
        let transport = &mut self.transport;
        cancellation::watched(self.handle.as_ref(), || work(transport))
            .unwrap_or_else(|| Err(ureq::Error::Io(std::io::Error::other(Cancelled))))
    }
}

/// Says that the connection was closed on demand.
#[derive(Debug, thiserror::Error)]
#[error("the operation was cancelled")]
pub(crate) struct Cancelled;

impl<T: Transport> Transport for WatchedTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.watched(|transport| transport.transmit_output(amount, patience::limited(timeout)))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.watched(|transport| transport.await_input(patience::limited(timeout)))
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

impl<T> fmt::Debug for WatchedTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedTransport")
    }
}

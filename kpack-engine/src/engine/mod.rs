//! [`Engine`]: store, server, reconcilers and pod runner as one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::logs::{LogError, LogStore};
use crate::server::{Server, ServerOptions, StartServerError};
use crate::store::{Clock, OpenStoreError, Store, StoreOptions};
use crate::{ApiError, Kind, Object, Resources};

/// The namespaces that exist from the beginning.
const NAMESPACES: [&str; 2] = ["default", "kpack"];

/// How an [`Engine`] is to run.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The directory of everything that lasts; one engine at a time works in it.
    pub data_dir: PathBuf,
    /// Where the API is served; port 0 takes the last one again, else any free one.
    pub listen: SocketAddr,
    /// Where the kubeconfig is written, if anywhere.
    pub kubeconfig: Option<PathBuf>,
}

/// The running engine; dropping it stops it.
pub struct Engine {
    store: Store,
    server: Option<Server>,
}

impl Engine {
    /// Starts everything.
    ///
    /// # Errors
    /// When another engine works in the data directory, the address is taken, or files cannot be used.
    pub fn start(options: &EngineOptions) -> Result<Self, StartEngineError> {
        let clock: Clock = Arc::new(Timestamp::now);
        let store = Store::open(StoreOptions {
            dir: options.data_dir.join("store"),
            clock: clock.clone(),
        })?;
        for name in NAMESPACES {
            ensure(&store, Object::new(Kind::Namespace, None, name))?;
        }
        let logs = LogStore::open(options.data_dir.join("logs"))?;
        let server_options = ServerOptions {
            dir: options.data_dir.join("server"),
            listen: options.listen,
            kubeconfig: options.kubeconfig.clone(),
        };
        let server = Server::start(&server_options, store.clone(), logs, clock)?;
        Ok(Self {
            store,
            server: Some(server),
        })
    }

    /// Returns the resources, to read and change them in the process.
    pub fn resources(&self) -> &Store {
        &self.store
    }

    /// Returns where the API is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// Stops everything in order: no new requests, then no new work.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.store.close();
        self.server = None;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Creates an object unless there is one of its name.
fn ensure(resources: &dyn Resources, object: Object) -> Result<(), ApiError> {
    match resources.create(object) {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartEngineError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The logs could not be opened.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// The server could not be started.
    #[error(transparent)]
    Server(#[from] StartServerError),
    /// An object that must exist could not be made.
    #[error("cannot make the first objects")]
    Bootstrap(#[from] ApiError),
}

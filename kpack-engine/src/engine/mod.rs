//! [`Engine`]: store, server, reconcilers and pod runner as one.
//!
//! [`EngineOptions`] say how it runs, [`Programs`] what its own images are made of, and
//! [`StartEngineError`] why it does not start. At its start it makes the images of `kpackd.local`, the
//! namespaces `default` and `kpack`, and a ClusterLifecycle of this project's own programs.

mod bootstrap;
mod local_images;
mod options;
mod ssh_layer;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cnb_layers::{ImageError, LayoutStore, UploadError};
use rebuild_policy::PodOptions;
use registry_client::{ClientError, Http};
use source_fetch::Ssh;

pub use self::local_images::Programs;
pub use self::options::EngineOptions;

use crate::ApiError;
use crate::logs::{LogError, LogStore};
use crate::reconcile::{Controllers, ReconcileOptions, RegistryImages, RegistryWarehouse, SourceFetcher};
use crate::runner::{PodRunner, RunnerOptions, StartError};
use crate::server::{Server, ServerOptions, StartServerError};
use crate::store::{OpenStoreError, Store, StoreOptions};

/// The running engine; dropping it stops it.
pub struct Engine {
    store: Store,
    server: Option<Server>,
    controllers: Option<Controllers>,
    runner: Option<PodRunner>,
    housekeeping: Option<bootstrap::Housekeeping>,
}

impl Engine {
    /// Starts everything.
    ///
    /// # Errors
    /// When another engine works in the data directory, the address is taken, a program is missing, builds
    /// cannot be sandboxed on this machine, or files cannot be used.
    pub fn start(options: &EngineOptions) -> Result<Self, StartEngineError> {
        let (data, clock) = (&options.data_dir, options.clock.clone());
        // The store first: its lock keeps other engines out of all that follows.
        let store = Store::open(StoreOptions {
            dir: data.join("store"),
            clock: clock.clone(),
        })?;
        let logs = LogStore::open(data.join("logs"))?;
        let local =
            Arc::new(LayoutStore::create(data.join("images")).map_err(|source| StartEngineError::Layout { source })?);
        let own = local_images::make(&local, &options.programs)?;
        bootstrap::first_objects(&store, &own)?;
        let images = RegistryImages::new(&options.http, Some(local))?;
        let http = images.http().clone();
        let images = Arc::new(images);

        let runner_options = RunnerOptions {
            max_pods: options.max_builds,
            machine_network: options.machine_network.clone(),
            runtime: options.runtime.clone(),
            ..RunnerOptions::new(data.join("pods"), logs.clone(), images.clone())
        };
        let runner = PodRunner::start(Arc::new(store.clone()), runner_options)?;
        let warehouse = RegistryWarehouse::new(images, created_by(), clock.clone());
        let sources = source_fetcher(http, data, options)?;
        let reconcile = ReconcileOptions {
            poll_interval: options.poll_interval,
            resync_interval: options.resync_interval,
            path_aware: options.path_aware,
            pods: PodOptions {
                images: own.helpers,
                ssh_trust_unknown_hosts: true,
                ..PodOptions::default()
            },
            logs: Arc::new(logs.clone()),
            ..ReconcileOptions::new(Arc::new(warehouse), Arc::new(sources), clock.clone())
        };
        let controllers = Controllers::start(Arc::new(store.clone()), reconcile);
        let housekeeping = bootstrap::Housekeeping::start(store.clone(), logs.clone(), clock.clone());
        // The server last: who can reach it finds everything else at work.
        let server_options = ServerOptions {
            dir: data.join("server"),
            listen: options.listen,
            kubeconfig: options.kubeconfig.clone(),
        };
        let server = Server::start(&server_options, store.clone(), logs, clock)?;
        Ok(Self {
            store,
            server: Some(server),
            controllers: Some(controllers),
            runner: Some(runner),
            housekeeping,
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

    /// Stops everything in order: no new requests, no new work, no running builds; the next start goes on
    /// where this one ended.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.server = None;
        self.controllers = None;
        self.runner = None;
        self.housekeeping = None;
        self.store.close();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// What builders record as their maker, in the form of kpack.
fn created_by() -> String {
    format!("v{} (kpack-flow)", env!("CARGO_PKG_VERSION"))
}

/// Looks at sources; what it needs files for is kept in `data`.
fn source_fetcher(http: Http, data: &Path, options: &EngineOptions) -> Result<SourceFetcher, StartEngineError> {
    let scratch = &data.join("scratch");
    fs::create_dir_all(scratch).map_err(|source| StartEngineError::Io {
        action: "make",
        path: scratch.to_owned(),
        source,
    })?;
    // Images are looked at once a poll interval; what one of them found out may be half as old when the next asks.
    let mut sources = SourceFetcher::new(http, data.join("mirrors"), options.poll_interval / 2);
    if options.path_aware {
        sources = sources.with_trees();
    }
    let ssh = Path::new("/usr/bin/ssh");
    if ssh.is_file() {
        sources = sources.with_ssh(Ssh {
            program: ssh.to_owned(),
            scratch: scratch.to_owned(),
            trust_unknown_hosts: true,
        });
    }
    Ok(sources)
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
    /// A program that images are made of is missing.
    #[error(
        "cannot find the program {}: `lifecycle` and `launcher` belong beside `kpackd`; build them with \
         `cargo build --bins`, or copy all three together",
        path.display()
    )]
    Program {
        /// Where it was looked for.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory of the engine's own images is unusable.
    #[error("cannot use the engine's own images")]
    Layout {
        /// The cause.
        source: ImageError,
    },
    /// One of the engine's own images could not be made.
    #[error("cannot make the image {image}")]
    LocalImage {
        /// Its name.
        image: String,
        /// The cause.
        source: UploadError,
    },
    /// A file could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The http policy makes no sense.
    #[error("cannot reach registries this way")]
    Http(#[from] ClientError),
    /// An object that must exist could not be made.
    #[error("cannot make the first objects")]
    Bootstrap(#[from] ApiError),
    /// Builds cannot be run.
    #[error(transparent)]
    Runner(#[from] StartError),
    /// The server could not be started.
    #[error(transparent)]
    Server(#[from] StartServerError),
}

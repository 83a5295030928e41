//! [`Server`]: the resources on a Kubernetes-shaped API over HTTPS.
//!
//! Unmodified `kubectl` and every client of kpack work against it: discovery, reading, lists in pages,
//! watches, tables, all four kinds of patches, status sub resources, pod logs. It serves the kinds of
//! [`Kind`](crate::Kind) and refuses everything else as a real server does. It listens where it is told to
//! (loopback), with a certificate of an authority of its own, and lets in whoever has the token of the
//! kubeconfig that it writes.
//!
//! Specification: Kubernetes API concepts; observed needs of `kubectl` 1.32 and `kp` 0.17.1.

mod answer;
mod api;
mod apply;
mod call;
mod change;
mod discovery;
mod http;
mod identity;
mod kubeconfig;
mod list;
mod negotiate;
mod openapi;
mod patch;
mod pod_log;
mod private_file;
mod reviews;
mod route;
mod table;
mod versions;
mod watch;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch as signal;

use self::api::Api;
use self::identity::Identity;
use crate::logs::LogStore;
use crate::store::{Clock, Store};

/// How a [`Server`] is to run.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Directory of certificate authority, token and last port; made when it is missing.
    pub dir: PathBuf,
    /// Where to listen; port 0 takes the last port again if it is free, else any.
    pub listen: SocketAddr,
    /// Where to write the kubeconfig, if anywhere.
    pub kubeconfig: Option<PathBuf>,
}

/// The running server; dropping it stops it.
pub struct Server {
    address: SocketAddr,
    stop: signal::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts to serve a store.
    ///
    /// # Errors
    /// When the address cannot be listened on, or files cannot be read or written.
    pub fn start(
        options: &ServerOptions,
        store: Store,
        logs: LogStore,
        clock: Clock,
    ) -> Result<Self, StartServerError> {
        let identity = Identity::load_or_make(&options.dir, options.listen.ip())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(|source| StartServerError::Runtime { source })?;
        let listener = runtime.block_on(listen(options))?;
        let address = listener.local_addr().map_err(|source| StartServerError::Listen {
            address: options.listen,
            source,
        })?;
        remember_port(&options.dir, address.port())?;
        let api = Arc::new(Api {
            store,
            logs,
            clock,
            authorization: format!("Bearer {}", identity.token),
            address: address.to_string(),
        });
        let (stop, stopped) = signal::channel(false);
        runtime.spawn(http::serve(listener, identity.tls.into(), api, stopped));
        if let Some(path) = &options.kubeconfig {
            let text = kubeconfig::text(&format!("https://{address}"), &identity.authority, &identity.token);
            write_kubeconfig(path, &text)?;
        }
        Ok(Self {
            address,
            stop,
            runtime: Some(runtime),
        })
    }

    /// Returns where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn listen(options: &ServerOptions) -> Result<TcpListener, StartServerError> {
    if options.listen.port() == 0 {
        let last = fs::read_to_string(options.dir.join("port"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(port) = last
            && let Ok(listener) = TcpListener::bind(SocketAddr::new(options.listen.ip(), port)).await
        {
            return Ok(listener);
        }
    }
    TcpListener::bind(options.listen)
        .await
        .map_err(|source| StartServerError::Listen {
            address: options.listen,
            source,
        })
}

fn remember_port(dir: &Path, port: u16) -> Result<(), StartServerError> {
    let path = dir.join("port");
    private_file::write(&path, format!("{port}\n").as_bytes())
        .map_err(|source| StartServerError::Identity { path, source })
}

fn write_kubeconfig(path: &Path, text: &str) -> Result<(), StartServerError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), |parent| {
        if parent.is_dir() {
            Ok(())
        } else {
            private_file::make_dir(parent)
        }
    });
    made.and_then(|()| private_file::write(path, text.as_bytes()))
        .map_err(|source| StartServerError::Kubeconfig {
            path: path.to_owned(),
            source,
        })
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartServerError {
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: choose another address, or port 0 for any free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// A file of the server's identity cannot be read or written.
    #[error("cannot use {}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate; if the files ca.crt and ca.key of the data directory are damaged, remove them")]
    Certificate {
        /// The cause.
        #[from]
        source: rcgen::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls {
        /// The cause.
        source: rustls::Error,
    },
    /// The system has no random numbers.
    #[error("the system has no random numbers for a token")]
    Randomness,
    /// Threads cannot be started.
    #[error("cannot start the threads of the server")]
    Runtime {
        /// The cause.
        source: io::Error,
    },
    /// The kubeconfig cannot be written.
    #[error("cannot write the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

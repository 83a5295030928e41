//! [`EngineOptions`]: how an engine is to run.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use registry_client::HttpPolicy;

use super::Programs;
use crate::runner::MachineNetwork;
use crate::store::Clock;

/// How an [`Engine`](super::Engine) is to run.
#[derive(Clone)]
pub struct EngineOptions {
    /// The directory of everything that lasts; one engine at a time works in it.
    pub data_dir: PathBuf,
    /// Where the API is served; port 0 takes the last one again, else any free one.
    pub listen: SocketAddr,
    /// Where the kubeconfig is written, if anywhere.
    pub kubeconfig: Option<PathBuf>,
    /// How long a branch or tag is left alone before it is looked at again.
    pub poll_interval: Duration,
    /// How long an object is left alone before it is reconciled without any event.
    pub resync_interval: Duration,
    /// How many builds run at a time.
    pub max_builds: usize,
    /// The programs that the engine's own images are made of.
    pub programs: Programs,
    /// How registries and git servers are reached.
    pub http: HttpPolicy,
    /// What builds are given of the machine's network; `None`: no resolver, no proxies, no certificates.
    pub machine_network: Option<MachineNetwork>,
    /// The OCI runtime, a name or path; `None`: `runc`, else `crun`.
    pub runtime: Option<PathBuf>,
    /// Whether a commit that does not touch the app's directory is no reason to build.
    pub path_aware: bool,
    /// Tells the time.
    pub clock: Clock,
}

impl EngineOptions {
    /// Chooses any free loopback port, no kubeconfig, a minute between polls, 10 hours between resyncs, 4
    /// builds at a time and no network of the machine.
    pub fn new(data_dir: impl Into<PathBuf>, programs: Programs) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            kubeconfig: None,
            poll_interval: Duration::from_secs(60),
            resync_interval: Duration::from_secs(10 * 3600),
            max_builds: 4,
            programs,
            http: HttpPolicy::default(),
            machine_network: None,
            runtime: None,
            path_aware: false,
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .field("kubeconfig", &self.kubeconfig)
            .field("poll_interval", &self.poll_interval)
            .field("programs", &self.programs)
            .finish_non_exhaustive()
    }
}

//! [`RunnerOptions`]: what a pod runner is told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::{ImageRouter, MachineNetwork};
use crate::logs::LogStore;

/// What a pod runner is told.
#[derive(Clone)]
pub struct RunnerOptions {
    /// Directory of its own for image roots, volumes and running pods. One process at a time.
    pub data_dir: PathBuf,
    /// Where the containers' output goes.
    pub logs: LogStore,
    /// Where images come from.
    pub images: Arc<dyn ImageRouter>,
    /// How many pods run at a time; more wait, first come first served. At least 1.
    pub max_pods: usize,
    /// What containers are given of the machine's network; `None`: no resolver, no proxies, no certificates.
    pub machine_network: Option<MachineNetwork>,
    /// The OCI runtime, a name or path; `None`: `runc`, else `crun`.
    pub runtime: Option<PathBuf>,
    /// How many processes and threads a pod may have; contains fork bombs.
    pub max_processes: u32,
    /// How many unpacked images that no pod uses are kept for the next one.
    pub kept_images: usize,
    /// Tells the time.
    pub clock: fn() -> SystemTime,
}

impl RunnerOptions {
    /// Chooses 4 pods at a time, 4096 processes a pod, 16 kept images and no network of the machine.
    pub fn new(data_dir: impl Into<PathBuf>, logs: LogStore, images: Arc<dyn ImageRouter>) -> Self {
        Self {
            data_dir: data_dir.into(),
            logs,
            images,
            max_pods: 4,
            machine_network: None,
            runtime: None,
            max_processes: 4096,
            kept_images: 16,
            clock: SystemTime::now,
        }
    }
}

impl fmt::Debug for RunnerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerOptions")
            .field("data_dir", &self.data_dir)
            .field("max_pods", &self.max_pods)
            .field("machine_network", &self.machine_network)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

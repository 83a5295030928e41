//! What happened, for the table at the end and for tests.

use std::{path::PathBuf, time::Duration};

/// One command that was run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The step of the acceptance script, such as `W06`.
    pub step: &'static str,
    /// The command line as it was shown.
    pub line: String,
    /// The exit code.
    pub exit: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// One build of the app.
#[derive(Clone, Debug, Default)]
pub struct BuildRecord {
    /// Its number.
    pub number: u32,
    /// Why it was made.
    pub reason: String,
    /// `SUCCESS` or `FAILURE`.
    pub status: String,
    /// How long it took.
    pub duration: Duration,
    /// Layers that were added, and that were reused, as its export says.
    pub layers: Option<(usize, usize)>,
    /// How much the registry grew, in bytes; `None` where it can't be seen.
    pub pushed: Option<u64>,
    /// The digest of the image, empty for a failed build.
    pub digest: String,
    /// The diff ids of the image's layers, lowest first.
    pub diff_ids: Vec<String>,
    /// The digests of the image's layers as they are in the registry, lowest first.
    pub layer_digests: Vec<String>,
    /// How many of the lowest layers are the run image's.
    pub base_layers: usize,
    /// The log, as `kp build logs` shows it.
    pub log: String,
    /// The names of the containers of its pod, in order.
    pub containers: Vec<String>,
    /// The text that the app answered, when it was started.
    pub answer: Option<String>,
}

impl BuildRecord {
    /// The digests of the layers above the run image, lowest first: what the app is made of.
    pub fn app_layers(&self) -> &[String] {
        self.layer_digests.get(self.base_layers..).unwrap_or_default()
    }
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Every command, in order.
    pub commands: Vec<Ran>,
    /// Every build, in order.
    pub builds: Vec<BuildRecord>,
    /// The repository of the app, such as `127.0.0.1:5000/demo/my-demo`.
    pub repository: String,
    /// The tags of that repository at the end.
    pub tags: Vec<String>,
    /// The labels of the first image.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Commits that were pushed, oldest first.
    pub commits: Vec<String>,
    /// The log of kpackd.
    pub engine_log: PathBuf,
}

impl Story {
    /// Returns the first command of `step` whose line contains `part`.
    pub fn command(&self, step: &str, part: &str) -> Option<&Ran> {
        self.commands
            .iter()
            .find(|ran| ran.step == step && ran.line.contains(part))
    }
}

//! What the walk-through runs against: registry, git server, kpackd, and the files around them.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use registry_client::Client;
use tempfile::TempDir;
use test_support::{GitServer, Process, Program, Registry, require};

use crate::{Options, binaries, registry, terminal::Terminal};

/// The user and password of the registry that is started here.
const USER: &str = "demo";
const PASSWORD: &str = "demo-password";

pub(crate) const PROGRAMS: &[Program] = &[
    Program::new("docker-registry", "docker-registry"),
    Program::new("htpasswd", "apache2-utils"),
    Program::new("git", "git"),
    Program::new("kubectl", "kubernetes-client"),
    Program::new("mmdebstrap", "mmdebstrap"),
    Program::new("runc", "runc"),
    Program::new("skopeo", "skopeo"),
    Program::new("umoci", "umoci"),
    Program::new("curl", "curl"),
];

/// Everything that runs, and ends with this value.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) git: GitServer,
    pub(crate) client: Client,
    /// `HOST/PREFIX` of all images.
    pub(crate) prefix: String,
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) password: String,
    registry: Option<Registry>,
    kpackd: Option<Process>,
    binaries: PathBuf,
}

impl Stage {
    pub(crate) fn set_up(options: &Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kpack-flow-").tempdir()?;
        let binaries = binaries::build_binaries()?;
        let (registry, prefix, user, password) = match &options.registry {
            None => {
                let registry = Registry::with_basic_auth(USER, PASSWORD)?;
                let prefix = format!("{}/demo", registry.host());
                (Some(registry), prefix, USER.to_owned(), PASSWORD.to_owned())
            }
            Some(prefix) => {
                let user = options.registry_user.clone().unwrap_or_default();
                let password = std::env::var("REGISTRY_PASSWORD").unwrap_or_default();
                (None, prefix.trim_end_matches('/').to_owned(), user, password)
            }
        };
        let server = prefix.split('/').next().unwrap_or_default().to_owned();
        let basic = registry.is_some().then_some((user.as_str(), password.as_str()));
        let client = registry::client(&server, basic)?;
        let git = GitServer::start()?;
        let stage = Self {
            folder,
            git,
            client,
            prefix,
            server,
            user,
            password,
            registry,
            kpackd: None,
            binaries,
        };
        stage.write_docker_config()?;
        Ok(stage)
    }

    /// The person's terminal: kp, kpackd and kubectl in the path, an own kubeconfig and docker config.
    pub(crate) fn terminal(&self, quiet: bool, stopped: Arc<AtomicBool>) -> anyhow::Result<Terminal> {
        let mut path = vec![self.binaries.clone()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        path.extend(["/usr/sbin".into(), "/sbin".into()]);
        let mut env: Vec<(&'static str, OsString)> = vec![
            ("PATH", std::env::join_paths(path)?),
            ("KUBECONFIG", self.kubeconfig().into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_AUTHOR_NAME", "Dev".into()),
            ("GIT_AUTHOR_EMAIL", "dev@acme.example".into()),
            ("GIT_COMMITTER_NAME", "Dev".into()),
            ("GIT_COMMITTER_EMAIL", "dev@acme.example".into()),
        ];
        if self.registry.is_some() {
            let docker = self.folder.path().join("docker");
            // Where skopeo looks.
            env.push(("REGISTRY_AUTH_FILE", docker.join("config.json").into()));
            env.push(("DOCKER_CONFIG", docker.into()));
        }
        let work = self.folder.path().join("work");
        fs::create_dir_all(&work)?;
        Ok(Terminal::new(quiet, work, env, stopped))
    }

    fn write_docker_config(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().join("docker");
        fs::create_dir_all(&folder)?;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", self.user, self.password));
        let config = serde_json::json!({"auths": {&self.server: {"auth": pair}}});
        fs::write(folder.join("config.json"), config.to_string())?;
        Ok(())
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub(crate) fn engine_log(&self) -> PathBuf {
        self.folder.path().join("kpackd.log")
    }

    /// The command line that starts kpackd.
    pub(crate) fn kpackd_line(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "kpackd --data {folder}/kpackd --kubeconfig {} --poll-interval 1s --host-network-config",
            self.kubeconfig().display()
        )
    }

    /// Starts kpackd on a fresh data directory, and waits until it has written its kubeconfig.
    pub(crate) fn start_kpackd(&mut self) -> anyhow::Result<()> {
        let log = fs::File::create(self.engine_log())?;
        let errors = log.try_clone()?;
        let line = self.kpackd_line();
        let mut words = line.split(' ');
        let mut command = Command::new(self.binaries.join(words.next().unwrap_or_default()));
        command.args(words);
        let process = Process::spawn_with(&command, |command| {
            command.stdin(Stdio::null()).stdout(log).stderr(errors);
        })?;
        self.kpackd = Some(process);
        let until = Instant::now() + Duration::from_secs(60);
        while !self.kubeconfig().exists() {
            let ended = self
                .kpackd
                .as_mut()
                .and_then(|process| process.child().try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > until {
                let words = fs::read_to_string(self.engine_log()).unwrap_or_default();
                bail!("kpackd did not start; its log:\n{words}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How many bytes the registry holds; `None` for a registry that was not started here.
    pub(crate) fn stored(&self) -> Option<u64> {
        self.registry.as_ref().map(|registry| size_of(registry.data()))
    }

    /// Keeps everything running until somebody presses Ctrl-C.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        if let Some(kpackd) = self.kpackd.take() {
            kpackd
                .terminate(Duration::from_secs(20))
                .context("kpackd did not stop")?;
        }
        Ok(())
    }
}

fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Makes sure that every program is there, before anything starts.
pub(crate) fn check_programs() -> anyhow::Result<()> {
    require(PROGRAMS).map_err(anyhow::Error::from)
}

//! Everything that runs for a test.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use cnb_layers::{
    Compression, Image, ImageSource as _, Platform, Reference, RegistryStore, builder::write_buildpackage,
};
use registry_auth::{Credential, StaticKeychain};
use registry_client::{Client, HttpPolicy};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{GitRepository, GitServer, Process, Program, Registry, require};

use crate::stack;

/// The user of the registry.
pub const USER: &str = "tester";
/// The password of the registry, which must be in no log.
pub const PASSWORD: &str = "s3cret-of-the-registry";

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A registry with basic auth, a git server, kpackd on a fresh data directory, and the objects that an Image needs in
/// namespace `demo`: secret `regcreds`, service account `builder`, ClusterStore, ClusterStack and ClusterBuilder
/// `tiny`.
pub struct World {
    folder: TempDir,
    /// The registry, which can be paused.
    pub registry: Registry,
    /// The repository that is built.
    pub sample: GitRepository,
    git: GitServer,
    client: Client,
    kpackd: Option<Process>,
    binaries: PathBuf,
}

impl World {
    /// Starts everything, with `hello.txt` as the only file of the app.
    ///
    /// # Errors
    /// When a program is missing and can't be installed, or something does not start.
    pub fn start() -> anyhow::Result<Self> {
        require(&[
            Program::new("git", "git"),
            Program::new("kubectl", "kubernetes-client"),
            Program::new("runc", "runc"),
        ])?;
        let binaries = binaries()?;
        let folder = tempfile::Builder::new().prefix("end-to-end-").tempdir()?;
        let registry = Registry::with_basic_auth(USER, PASSWORD)?;
        let keychain = StaticKeychain::new().with(registry.host().parse()?, Credential::basic(USER, PASSWORD));
        let client = Client::new(HttpPolicy::default(), Arc::new(keychain))?;
        let git = GitServer::start()?;
        let sample = git.create_repository("sample")?;
        sample.commit(&[("hello.txt", "hello\n")], "The app")?;
        let mut world = Self {
            folder,
            registry,
            sample,
            git,
            client,
            kpackd: None,
            binaries,
        };
        world.start_kpackd()?;
        world.populate()?;
        Ok(world)
    }

    fn populate(&self) -> anyhow::Result<()> {
        let prefix = self.prefix();
        let target = RegistryStore::new(self.client.clone());
        let (build, run) = stack::publish(&target, &prefix)?;
        let package = format!("{prefix}/buildpacks/plain:1.0.0");
        let buildpack = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpack");
        write_buildpackage(&buildpack, &[], &target, &[package.parse()?], Compression::default())?;
        self.kubectl(&["create", "namespace", "demo"])?;
        self.secret(&[(&self.registry.host(), PASSWORD)])?;
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder", "namespace": "demo"},
            "secrets": [{"name": "regcreds"}], "imagePullSecrets": [{"name": "regcreds"}],
        }))?;
        let account = json!({"name": "builder", "namespace": "demo"});
        self.apply(&cluster(
            "ClusterStore",
            &json!({"sources": [{"image": package}], "serviceAccountRef": account}),
        ))?;
        self.apply(&cluster(
            "ClusterStack",
            &json!({"id": stack::ID, "buildImage": {"image": build}, "runImage": {"image": run}, "serviceAccountRef": account}),
        ))?;
        self.builder("tiny", "test/plain")?;
        self.wait("the builder is ready", || {
            Ok((condition(&self.get("clusterbuilder", "tiny")?, "Ready")["status"] == "True").then_some(()))
        })
    }

    /// Applies a ClusterBuilder whose order names one buildpack.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn builder(&self, name: &str, buildpack: &str) -> anyhow::Result<()> {
        let mut builder = cluster(
            "ClusterBuilder",
            &json!({
                "tag": format!("{}/{name}-builder", self.prefix()),
                "stack": {"kind": "ClusterStack", "name": "tiny"},
                "store": {"kind": "ClusterStore", "name": "tiny"},
                "order": [{"group": [{"id": buildpack}]}],
                "serviceAccountRef": {"name": "builder", "namespace": "demo"},
            }),
        );
        builder["metadata"]["name"] = name.into();
        self.apply(&builder)
    }

    /// Applies the secret `regcreds` with a password for each of these registries.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn secret(&self, passwords: &[(&str, &str)]) -> anyhow::Result<()> {
        let entry =
            |(host, password): &(&str, &str)| ((*host).to_owned(), json!({"username": USER, "password": password}));
        let auths: serde_json::Map<String, Value> = passwords.iter().map(entry).collect();
        let config = json!({"auths": auths});
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "regcreds", "namespace": "demo"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()},
        }))
    }

    /// Applies the Image `app` after `change` has had its way with it: `spec` of the object.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn image(&self, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
        let mut image = json!({
            "apiVersion": "kpack.io/v1alpha2", "kind": "Image", "metadata": {"name": "app", "namespace": "demo"},
            "spec": {
                "tag": self.tag(),
                "serviceAccountName": "builder",
                "builder": {"kind": "ClusterBuilder", "name": "tiny"},
                "source": {"git": {"url": self.sample_url(), "revision": "main"}},
            },
        });
        change(&mut image["spec"]);
        self.apply(&image)
    }

    /// Returns `HOST/test`, which all images begin with.
    pub fn prefix(&self) -> String {
        format!("{}/test", self.registry.host())
    }

    /// Returns the address of the repository that is built.
    pub fn sample_url(&self) -> String {
        self.git.url("sample")
    }

    /// Returns the tag that the Image `app` is built to.
    pub fn tag(&self) -> String {
        format!("{}/app:main", self.prefix())
    }

    /// Returns the tags of the app's repository; none when it does not exist.
    ///
    /// # Errors
    /// When the registry fails.
    pub fn tags(&self) -> anyhow::Result<Vec<String>> {
        let reference: Reference = self.tag().parse()?;
        match self.client.tags(reference.repository()) {
            Ok(tags) => Ok(tags),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the image that a tag of the app's repository names.
    ///
    /// # Errors
    /// When there is none, or the registry fails.
    pub fn pull(&self, tag: &str) -> anyhow::Result<Image> {
        let reference: Reference = format!("{}/app:{tag}", self.prefix()).parse()?;
        let image = RegistryStore::new(self.client.clone()).image(&reference, &Platform::linux_amd64())?;
        image.with_context(|| format!("{reference} is not in the registry"))
    }

    /// Starts kpackd on the data directory of this world, and waits until it answers.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub fn start_kpackd(&mut self) -> anyhow::Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        let errors = log.try_clone()?;
        let mut command = Command::new(self.binaries.join("kpackd"));
        command
            .arg("--data")
            .arg(self.data())
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(["--poll-interval", "500ms"]);
        let process = Process::spawn_with(&command, |command| {
            command.stdin(Stdio::null()).stdout(log).stderr(errors);
        })?;
        self.kpackd = Some(process);
        self.wait("kpackd answers", || {
            Ok(self
                .kubeconfig()
                .exists()
                .then(|| self.kubectl(&["get", "namespaces"]).ok())
                .flatten())
        })?;
        Ok(())
    }

    /// Kills kpackd without a warning, as `kill -9` does.
    pub fn kill_kpackd(&mut self) {
        self.kpackd = None;
    }

    /// Returns kpackd's data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("kpackd.log")
    }

    /// Returns what kpackd has logged.
    pub fn engine_log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Runs kubectl, which must succeed, and returns what it printed.
    ///
    /// # Errors
    /// When it fails: the error holds its words.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.program(Path::new("kubectl"), arguments, "")
    }

    /// Runs this project's kp, which must succeed, and returns what it printed.
    ///
    /// # Errors
    /// When it fails: the error holds its words.
    pub fn kp(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.program(&self.binaries.join("kp"), arguments, "")
    }

    /// Applies an object.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let arguments = ["apply", "-f", "-"];
        self.program(Path::new("kubectl"), &arguments, &object.to_string())?;
        Ok(())
    }

    /// Returns an object of namespace `demo` or of the cluster.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let text = self.kubectl(&["get", kind, name, "--namespace", "demo", "--output", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Returns all builds, oldest first.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn builds(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.kubectl(&["get", "builds", "--namespace", "demo", "--output", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a build has ended, and returns it.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn ended_build(&self, number: u32) -> anyhow::Result<Value> {
        let name = format!("app-build-{number}");
        self.wait(&format!("{name} ends"), || {
            let Ok(build) = self.get("build", &name) else {
                return Ok(None);
            };
            let status = &condition(&build, "Succeeded")["status"];
            Ok((status == "True" || status == "False").then(|| build.clone()))
        })
    }

    /// Returns the log of a build, as kp prints it.
    ///
    /// # Errors
    /// When kp fails.
    pub fn log(&self, number: u32) -> anyhow::Result<String> {
        let number = number.to_string();
        self.kp(&["build", "logs", "app", "--namespace", "demo", "--build", &number])
    }

    /// Returns the exit codes of the containers of a build's pod that have ended, by name and in order.
    ///
    /// # Errors
    /// When the pod is not there.
    pub fn exit_codes(&self, number: u32) -> anyhow::Result<Vec<(String, i64)>> {
        let pod = self.get("pod", &format!("app-build-{number}-build-pod"))?;
        let mut codes = Vec::new();
        for field in ["initContainerStatuses", "containerStatuses"] {
            for container in pod["status"][field].as_array().into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or_default();
                if let Some(code) = container["state"]["terminated"]["exitCode"].as_i64() {
                    codes.push((name.to_owned(), code));
                }
            }
        }
        Ok(codes)
    }

    /// Looks again and again until `found` finds something.
    ///
    /// # Errors
    /// When it finds nothing in time, or fails; with the end of kpackd's log.
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = found().with_context(|| what.to_owned())? {
                return Ok(value);
            }
            if Instant::now() > until {
                let log = self.engine_log();
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                bail!("waited in vain: {what}; the end of kpackd's log:\n{}", tail.join("\n"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn program(&self, program: &Path, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads nothing may have closed it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{} {}: {}",
            program.display(),
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Returns the condition of this type of an object, or null.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found.unwrap_or(&Value::Null)
}

fn cluster(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": {"name": "tiny"}, "spec": spec})
}

/// Builds this project's programs once for all tests of a process.
fn binaries() -> anyhow::Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(directory) = &*built {
        return Ok(directory.clone());
    }
    Ok(built.insert(walkthrough::build_binaries()?).clone())
}

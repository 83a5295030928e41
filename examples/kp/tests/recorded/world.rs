//! A registry with the recorded images, a git server, and kpackd's store, API and reconcilers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kpack_engine::logs::LogStore;
use kpack_engine::reconcile::{Controllers, ReconcileOptions, RegistryImages, RegistryWarehouse, SourceFetcher};
use kpack_engine::server::{Server, ServerOptions};
use kpack_engine::store::{Clock, Store, StoreOptions};
use kpack_engine::{Kind, Object, Resources, Selector, WatchFilter};
use rebuild_policy::HelperImages;
use registry_auth::{AnonymousKeychain, Digest, Reference};
use registry_client::{Client, HttpPolicy};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use test_support::{GitRepository, GitServer, Program, Registry, require};

use crate::forward;
use crate::normal::Normal;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) logs: LogStore,
    pub(crate) registry: String,
    git: String,
    repository: GitRepository,
    server: Server,
    /// The time, in seconds; it stands still within a case.
    seconds: Arc<AtomicI64>,
    dir: TempDir,
    _controllers: Controllers,
    _git_server: GitServer,
    _registry_server: Registry,
}

impl World {
    pub(crate) fn start() -> Self {
        let programs = [Program::new("kubectl", "kubernetes-client"), Program::new("git", "git")];
        require(&programs).unwrap_or_else(|error| panic!("{error}"));
        let dir = tempfile::tempdir().unwrap();
        for folder in ["tmp", "home"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let registry_server = Registry::start().unwrap();
        let registry = forward::to(&registry_server.host());
        push_fixtures(&registry);
        let git_server = GitServer::start().unwrap();
        let repository = git_server.create_repository("app.git").unwrap();
        let git = forward::to(&git_server.host());

        let seconds = Arc::new(AtomicI64::new(jiff::Timestamp::now().as_second()));
        let clock: Clock = Arc::new({
            let seconds = seconds.clone();
            move || jiff::Timestamp::from_second(seconds.load(Ordering::Relaxed)).unwrap()
        });
        let store = Store::open(StoreOptions {
            dir: dir.path().join("store"),
            clock: clock.clone(),
        })
        .unwrap();
        for name in ["default", "kpack"] {
            store.create(Object::new(Kind::Namespace, None, name)).unwrap();
        }
        let logs = LogStore::open(dir.path().join("logs")).unwrap();
        let images = RegistryImages::new(&HttpPolicy::default(), None).unwrap();
        let poll_interval = Duration::from_millis(200);
        let sources = SourceFetcher::new(images.http().clone(), dir.path().join("mirrors"), poll_interval);
        let warehouse = RegistryWarehouse::new(Arc::new(images), "test", clock.clone());
        let mut options = ReconcileOptions::new(Arc::new(warehouse), Arc::new(sources), clock.clone());
        options.poll_interval = poll_interval;
        options.logs = Arc::new(logs.clone());
        // Nobody runs them.
        let helper = |name: &str| format!("{registry}/helper/{name}");
        options.pods.images = HelperImages {
            build_init: helper("build-init"),
            completion: helper("completion"),
            rebase: helper("rebase"),
            build_waiter: helper("build-waiter"),
        };
        let controllers = Controllers::start(Arc::new(store.clone()), options);
        let server_options = ServerOptions {
            dir: dir.path().join("server"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            kubeconfig: Some(dir.path().join("kubeconfig")),
        };
        let server = Server::start(&server_options, store.clone(), logs.clone(), clock).unwrap();
        // The recorded context had no namespace.
        let path = dir.path().join("kubeconfig");
        let kubeconfig = fs::read_to_string(&path).unwrap();
        fs::write(&path, kubeconfig.replace("    namespace: default\n", "")).unwrap();
        Self {
            store,
            logs,
            registry,
            git,
            repository,
            server,
            seconds,
            dir,
            _controllers: controllers,
            _git_server: git_server,
            _registry_server: registry_server,
        }
    }

    /// Lets a second pass.
    pub(crate) fn tick(&self) {
        self.seconds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tmp(&self) -> std::path::PathBuf {
        self.dir.path().join("tmp")
    }

    pub(crate) fn normal(&self) -> Normal {
        let server = format!("https://{}", self.server.address());
        Normal::new(&self.registry, &self.git, &server, &self.tmp().display().to_string())
    }

    /// A recorded text with the names of this world.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("<registryhost>", &self.registry)
            .replace("<git-hostport>", &self.git)
            .replace("<tmp>", &self.tmp().display().to_string())
    }

    /// A command in the recorded setting: empty home, UTC, no terminal.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = match program {
            "kp" => env!("CARGO_BIN_EXE_kp"),
            other => other,
        };
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path().join("home"))
            .env("TZ", "UTC")
            .env("KUBECONFIG", self.dir.path().join("kubeconfig"))
            .current_dir(self.tmp())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Commits files as the recorded developer did, at the recorded time: the commit has the recorded id.
    pub(crate) fn commit(&self, files: &serde_json::Map<String, Value>) {
        let work = self.repository.work();
        for (path, content) in files {
            let path = work.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.as_str().unwrap()).unwrap();
        }
        let first = self.repository.git(&["rev-parse", "--verify", "HEAD"]).is_err();
        let message = match files.values().next().and_then(Value::as_str) {
            Some(content) if !first => content.trim(),
            _ => "one",
        };
        self.repository.git(&["add", "--all"]).unwrap();
        let date = "2026-01-05T10:00:00Z";
        let committed = Command::new("git")
            .args([
                "-c",
                "user.name=Dev",
                "-c",
                "user.email=dev@acme.example",
                "commit",
                "--quiet",
                "-m",
                message,
            ])
            .current_dir(work)
            .envs([
                ("GIT_AUTHOR_DATE", date),
                ("GIT_COMMITTER_DATE", date),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ])
            .status();
        assert!(committed.unwrap().success());
        self.repository.git(&["push", "--quiet", "origin", "HEAD"]).unwrap();
    }

    /// Waits until an object is as wanted.
    pub(crate) fn wait(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        wanted: impl Fn(&Object) -> bool,
    ) -> Object {
        let mut watch = self.store.watch(WatchFilter::kinds([kind]), None).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline {
            let Some(event) = watch.recv_timeout(Duration::from_secs(1)) else {
                continue;
            };
            let object = event.object;
            if object.name() != name || (namespace.is_some() && object.namespace() != namespace) {
                continue;
            }
            if wanted(&object) {
                return object;
            }
            last = Some(object.into_value());
        }
        let builds = self.store.list(Kind::Build, None, &Selector::everything()).unwrap();
        let builds: Vec<_> = builds
            .items
            .iter()
            .map(|build| (build.name().to_owned(), build.pointer("/status").cloned()))
            .collect();
        panic!("{kind} {name} is not as wanted: {last:#?}; builds: {builds:#?}");
    }

    /// Waits until the engine has seen all that was changed so far.
    pub(crate) fn settle(&self) {
        let kinds = Kind::all().filter(|kind| kind.is_kpack() && *kind != Kind::Build);
        let mut watch = self.store.watch(WatchFilter::kinds(kinds), None).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !self.is_settled() && Instant::now() < deadline {
            watch.recv_timeout(Duration::from_millis(100));
        }
    }

    fn is_settled(&self) -> bool {
        let all = |kind| self.store.list(kind, None, &Selector::everything()).unwrap().items;
        let number = |object: &Object, pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let observed = |object: &Object| number(object, "/status/observedGeneration") >= object.generation();
        let kinds = Kind::all().filter(|kind| kind.is_kpack() && *kind != Kind::Build);
        if !kinds.flat_map(all).all(|object| observed(&object)) {
            return false;
        }
        // Builds beyond an image's limits are gone.
        let builds = all(Kind::Build);
        let surplus = |image: &Object, outcome: &str, limit: &str| {
            let of_image = |build: &&Object| {
                build
                    .labels()
                    .get("image.kpack.io/image")
                    .is_some_and(|name| name == image.name())
                    && build.text("/status/conditions/0/status") == Some(outcome)
            };
            builds.iter().filter(of_image).count() > usize::try_from(number(image, limit)).unwrap()
        };
        if all(Kind::Image).iter().any(|image| {
            surplus(image, "True", "/spec/successBuildHistoryLimit")
                || surplus(image, "False", "/spec/failedBuildHistoryLimit")
        }) {
            return false;
        }
        // An image knows that its newest build has ended.
        let running = |name: &str| {
            let mut newest = builds.iter().filter(|build| build.name() == name);
            newest.all(|build| build.text("/status/conditions/0/status") == Some("Unknown"))
        };
        if all(Kind::Image).iter().any(|image| {
            let newest = image.text("/status/latestBuildRef").unwrap_or_default();
            is_running(image) && !newest.is_empty() && !running(newest)
        }) {
            return false;
        }
        // A builder that works has seen its parts as they are.
        let builders = [Kind::Builder, Kind::ClusterBuilder].into_iter().flat_map(all);
        builders.into_iter().all(|builder| {
            let part = |kind, reference: &str| {
                let name = builder.text(reference).unwrap_or_default();
                self.store
                    .get(kind, None, name)
                    .ok()
                    .flatten()
                    .filter(|part| is_true(part, "Ready"))
            };
            let seen = |kind, reference: &str, field: &str| {
                part(kind, reference)
                    .is_none_or(|part| number(&builder, field) >= number(&part, "/status/observedGeneration"))
            };
            let lifecycle = part(Kind::ClusterLifecycle, "/spec/lifecycle/name");
            let version = |object: &Object, pointer: &str| object.text(pointer).map(str::to_owned);
            !is_true(&builder, "UpToDate")
                || (seen(
                    Kind::ClusterStore,
                    "/spec/store/name",
                    "/status/observedStoreGeneration",
                ) && seen(
                    Kind::ClusterStack,
                    "/spec/stack/name",
                    "/status/observedStackGeneration",
                ) && lifecycle.is_none_or(|part| {
                    version(&part, "/status/version") == version(&builder, "/status/lifecycle/version")
                }))
        })
    }
}

/// Writes an OCI layout with one image as a tar file, as `pack` writes buildpackages.
pub(crate) fn write_layout(file: &Path, image: &str) {
    let fixture = &fixtures()["images"][image];
    let mut tar = tar::Builder::new(fs::File::create(file).unwrap());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let manifest = text(&fixture["manifestBytes"]);
    let media_type = media_type(&manifest);
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{"mediaType": media_type, "size": manifest.len(), "digest": fixture["digest"]}],
    });
    add("index.json", index.to_string().as_bytes());
    for blob in [manifest.clone()].into_iter().chain(blobs(fixture)) {
        add(&format!("blobs/sha256/{}", hex(&blob)), &blob);
    }
    tar.finish().unwrap();
}

fn is_running(image: &Object) -> bool {
    let conditions = image.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["reason"] == "BuildRunning")
}

fn is_true(object: &Object, condition: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == condition && one["status"] == "True")
}

fn fixtures() -> Value {
    serde_json::from_str(include_str!("../fixtures/fixtures.json")).unwrap()
}

fn text(field: &Value) -> Vec<u8> {
    field.as_str().unwrap().as_bytes().to_vec()
}

/// Layers and configuration of a recorded image.
fn blobs(image: &Value) -> Vec<Vec<u8>> {
    let layers = image["layers"].as_array().unwrap().iter();
    let layers = layers.map(|layer| STANDARD.decode(layer.as_str().unwrap()).unwrap());
    layers.chain([text(&image["configBytes"])]).collect()
}

fn hex(bytes: &[u8]) -> String {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into()).hex().to_owned()
}

fn media_type(manifest: &[u8]) -> String {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    manifest["mediaType"].as_str().unwrap().to_owned()
}

fn push_fixtures(registry: &str) {
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).unwrap();
    let fixtures = fixtures();
    for (name, image) in fixtures["images"].as_object().unwrap() {
        let reference: Reference = format!("{registry}/{name}").parse().unwrap();
        for blob in blobs(image) {
            let digest: Digest = format!("sha256:{}", hex(&blob)).parse().unwrap();
            let mut open = || Ok(Box::new(std::io::Cursor::new(blob.clone())) as Box<dyn std::io::Read + Send>);
            client
                .push_blob(reference.repository(), &digest, blob.len() as u64, &mut open)
                .unwrap();
        }
        let manifest = text(&image["manifestBytes"]);
        let digest = client
            .push_manifest(&reference, &media_type(&manifest), &manifest)
            .unwrap();
        assert_eq!(image["digest"], digest.as_str());
    }
}

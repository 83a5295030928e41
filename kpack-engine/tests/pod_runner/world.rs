//! A store, an image made of this machine's own programs, and a runner.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cnb_layers::{BaseImage, Compression, ImageSource, MemoryStore, Platform, Reference};
use kpack_engine::logs::{LogName, LogStore, ReadOptions};
use kpack_engine::runner::{ImageRouter, PodRunner, Privilege, RouteError, RunnerOptions};
use kpack_engine::store::{Store, StoreOptions};
use kpack_engine::{Kind, Object, Resources};
use registry_auth::Keychain;
use serde_json::{Value, json};

pub(crate) const IMAGE: &str = "registry.test/acme/tools:1";
pub(crate) const NAMESPACE: &str = "demo";

const PROGRAMS: [&str; 23] = [
    "sh", "cat", "ls", "id", "env", "sleep", "touch", "mkdir", "rm", "ln", "hostname", "head", "seq", "mount",
    "unshare", "readlink", "stat", "true", "find", "sort", "wc", "yes", "grep",
];

/// Everything of one test; dropped at its end.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) logs: LogStore,
    runner: Option<PodRunner>,
}

struct OneStore(Arc<MemoryStore>);

impl ImageRouter for OneStore {
    fn route(&self, _: &Reference, _: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        Ok(self.0.clone())
    }
}

impl World {
    /// Makes a world in which pods run; `None`, with a note, where sandboxes cannot be made.
    pub(crate) fn new(change: impl FnOnce(&mut RunnerOptions)) -> Option<Self> {
        if !can_make_sandboxes() {
            return None;
        }
        let mut world = Self::without_runner();
        world.start(change);
        Some(world)
    }

    pub(crate) fn without_runner() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            dir: dir.path().join("store"),
            clock: Arc::new(jiff::Timestamp::now),
        })
        .unwrap();
        store.create(Object::new(Kind::Namespace, None, NAMESPACE)).unwrap();
        let logs = LogStore::open_with(dir.path().join("logs"), 1 << 20, std::time::SystemTime::now).unwrap();
        Self {
            dir,
            store,
            logs,
            runner: None,
        }
    }

    pub(crate) fn start(&mut self, change: impl FnOnce(&mut RunnerOptions)) {
        let mut options = options(self.dir.path(), self.logs.clone());
        change(&mut options);
        self.runner = Some(PodRunner::start(Arc::new(self.store.clone()), options).unwrap());
    }

    pub(crate) fn stop(&mut self) {
        self.runner = None;
    }

    pub(crate) fn create(&self, value: Value) -> Object {
        self.store.create(Object::from_value(value).unwrap()).unwrap()
    }

    /// Creates a pod with this spec.
    pub(crate) fn pod(&self, name: &str, mut spec: Value) -> Object {
        spec["restartPolicy"] = json!("Never");
        self.create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }))
    }

    /// Creates a pod of one container, waits for its end and returns exit code and output.
    pub(crate) fn run(&self, name: &str, spec: Value) -> (i64, String) {
        self.pod(name, spec);
        let pod = self.finished(name);
        let state = &pod.as_value()["status"]["containerStatuses"][0]["state"]["terminated"];
        let code = state["exitCode"].as_i64();
        let code = code.unwrap_or_else(|| panic!("did not end: {:#}", pod.as_value()["status"]));
        (code, self.log(name, "main"))
    }

    pub(crate) fn get(&self, name: &str) -> Object {
        self.store.get(Kind::Pod, Some(NAMESPACE), name).unwrap().unwrap()
    }

    pub(crate) fn finished(&self, name: &str) -> Object {
        self.when(name, |pod| {
            matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed"))
        })
    }

    /// Waits until the pod is as `wanted`.
    pub(crate) fn when(&self, name: &str, wanted: impl Fn(&Object) -> bool) -> Object {
        let begin = Instant::now();
        loop {
            let pod = self.get(name);
            if wanted(&pod) {
                return pod;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "pod {name} is {:#}",
                pod.as_value()["status"]
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self, name: &str, container: &str) -> String {
        let pod = self.get(name);
        let name = LogName::new(NAMESPACE, name, pod.uid(), container).unwrap();
        let mut text = Vec::new();
        if let Ok(mut reader) = self.logs.reader(&name, &ReadOptions::default()) {
            reader.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("runner")
    }
}

pub(crate) fn options(dir: &Path, logs: LogStore) -> RunnerOptions {
    RunnerOptions::new(dir.join("runner"), logs, Arc::new(OneStore(images())))
}

/// A pod of one container that runs a script.
pub(crate) fn script(script: &str) -> Value {
    json!({"containers": [container("main", script)]})
}

pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", script]})
}

/// Says whether sandboxes can be made here, with a note where not.
pub(crate) fn can_make_sandboxes() -> bool {
    let missing = match Privilege::of_this_process() {
        Privilege::Present => None,
        Privilege::ByUserNamespace { .. } => Some("not root".to_owned()),
        Privilege::Missing { explanation } => Some(explanation),
    };
    if let Some(missing) = &missing {
        eprintln!("not tested here: {missing}");
    }
    missing.is_none()
}

/// One image for all tests: a shell and some tools with the libraries that they need.
fn images() -> Arc<MemoryStore> {
    static IMAGES: OnceLock<Arc<MemoryStore>> = OnceLock::new();
    let make = || {
        let tree = tempfile::tempdir().unwrap();
        let mut files = BTreeSet::new();
        for program in PROGRAMS {
            let path = ["/bin", "/usr/bin"]
                .iter()
                .map(|dir| Path::new(dir).join(program))
                .find(|path| path.exists())
                .unwrap_or_else(|| panic!("no {program} on this machine"));
            files.extend(libraries(&path));
            copy(&path, &tree.path().join("bin").join(program));
        }
        for file in files {
            copy(&file, &tree.path().join(file.strip_prefix("/").unwrap()));
        }
        let etc = tree.path().join("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(
            etc.join("passwd"),
            "root:x:0:0::/root:/bin/sh\ncnb:x:1001:1002::/home/cnb:/bin/sh\n",
        )
        .unwrap();
        fs::write(etc.join("group"), "root:x:0:\ncnb:x:1002:\n").unwrap();
        let store = MemoryStore::new();
        BaseImage::new(Platform::linux(architecture()))
            .root_directory(tree.path())
            .env("FROM_IMAGE", "yes")
            .user("cnb")
            .push(&store, &[Reference::parse(IMAGE).unwrap()], Compression::default())
            .unwrap();
        Arc::new(store)
    };
    IMAGES.get_or_init(make).clone()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

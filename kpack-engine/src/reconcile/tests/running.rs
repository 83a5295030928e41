//! Reconcilers at work on a real store, with images in memory and a pretended kubelet.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cnb_layers::builder::{LifecycleImage, lifecycle_image, write_buildpackage};
use cnb_layers::{BaseImage, Compression, ImageSource, ImageTarget, LayerBuilder, MemoryStore, Platform};
use rebuild_policy::{BuildMetadata, BuildpackMetadata, HelperImages, ResolvedGit, ResolvedSource, SourceConfig};
use registry_auth::{Keychain, Reference};
use serde_json::{Value, json};

use crate::reconcile::{
    Account, Controllers, ImageStores, ReconcileOptions, RegistryWarehouse, SourceError, SourceReader,
};
use crate::runner::RouteError;
use crate::store::{Store, StoreOptions};
use crate::{Kind, Object, Resources, WatchFilter};

/// One place for all images.
struct OneStore {
    images: Arc<MemoryStore>,
    /// The repository whose images cannot be found; empty: none.
    lost: Arc<Mutex<String>>,
}

impl ImageStores for OneStore {
    fn source(&self, reference: &Reference, _: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        if reference.repository().to_string() == *self.lost.lock().unwrap() {
            return Ok(Arc::new(MemoryStore::new()));
        }
        Ok(self.images.clone())
    }
    fn target(&self, _: &Reference, _: Arc<dyn Keychain>) -> Result<Arc<dyn ImageTarget>, RouteError> {
        Ok(self.images.clone())
    }
}

/// A branch whose head the test moves.
struct Branch(Mutex<String>);

impl SourceReader for Branch {
    fn resolve(&self, source: &SourceConfig, _: &Account) -> Result<ResolvedSource, SourceError> {
        let git = source.git.clone().unwrap();
        Ok(ResolvedSource {
            git: Some(ResolvedGit {
                url: git.url,
                revision: self.0.lock().unwrap().clone(),
                kind: "Branch".to_owned(),
                sub_path: source.sub_path.clone(),
                ..ResolvedGit::default()
            }),
            ..ResolvedSource::default()
        })
    }
}

struct World {
    store: Store,
    images: Arc<MemoryStore>,
    lost: Arc<Mutex<String>>,
    branch: Arc<Branch>,
    controllers: Controllers,
    _dir: tempfile::TempDir,
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn stack_image(images: &MemoryStore, tag: &str, content: &str) -> String {
    let image = BaseImage::new(Platform::linux_amd64())
        .layer("files", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, content))
        .label("io.buildpacks.stack.id", "demo.stacks.base")
        .env("CNB_USER_ID", "1000")
        .env("CNB_GROUP_ID", "1000")
        .push(images, &[reference(tag)], Compression::default())
        .unwrap();
    reference(tag).with_digest(image.digest()).to_string()
}

fn buildpack(images: &MemoryStore, dir: &Path) {
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"demo/app\"\nversion = \"1.0.0\"\n[[stacks]]\nid = \"*\"\n";
    std::fs::write(dir.join("buildpack.toml"), descriptor).unwrap();
    for program in ["detect", "build"] {
        std::fs::write(dir.join("bin").join(program), "#!/bin/sh\n").unwrap();
    }
    write_buildpackage(
        dir,
        &[],
        images,
        &[reference("reg.example/demo/bp:1")],
        Compression::default(),
    )
    .unwrap();
}

fn image_spec() -> Value {
    json!({
        "tag": "reg.example/demo/app:main",
        "builder": {"kind": "ClusterBuilder", "name": "base"},
        "source": {"git": {"url": "https://git.example/app", "revision": "main"}, "subPath": "app"},
    })
}

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Arc::new(MemoryStore::new());
        for tool in ["lifecycle", "launcher"] {
            std::fs::write(dir.path().join(tool), tool).unwrap();
        }
        let programs = LifecycleImage {
            version: "0.1.0".to_owned(),
            platform: Platform::linux_amd64(),
            lifecycle: dir.path().join("lifecycle"),
            launcher: dir.path().join("launcher"),
        };
        let tag = [reference("reg.example/demo/lifecycle:1")];
        lifecycle_image(&programs, &*images, &tag, Compression::default()).unwrap();
        buildpack(&images, &dir.path().join("bp"));
        let clock: crate::store::Clock = Arc::new(jiff::Timestamp::now);
        let store = Store::open(StoreOptions {
            dir: dir.path().join("store"),
            clock: clock.clone(),
        })
        .unwrap();
        let branch = Arc::new(Branch(Mutex::new("1".repeat(40))));
        let lost = Arc::new(Mutex::default());
        let places = OneStore {
            images: images.clone(),
            lost: Arc::clone(&lost),
        };
        let warehouse = RegistryWarehouse::new(Arc::new(places), "v0.1.0", clock.clone());
        let mut options = ReconcileOptions::new(Arc::new(warehouse), branch.clone(), clock);
        options.poll_interval = Duration::from_millis(50);
        let helper = |name: &str| format!("kpackd.local/{name}:1");
        options.pods.images = HelperImages {
            build_init: helper("build-init"),
            completion: helper("completion"),
            rebase: helper("rebase"),
            build_waiter: String::new(),
        };
        let controllers = Controllers::start(Arc::new(store.clone()), options);
        let world = Self {
            store,
            images,
            lost,
            branch,
            controllers,
            _dir: dir,
        };
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
        world
    }

    fn create(&self, object: Value) {
        self.store.create(Object::from_value(object).unwrap()).unwrap();
    }

    fn kpack(&self, kind: &str, namespace: Option<&str>, name: &str, spec: Value) {
        let mut metadata = json!({"name": name});
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        self.create(json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": metadata, "spec": spec}));
    }

    fn stack(&self, run_image: &str) -> Value {
        let build_image = stack_image(&self.images, "reg.example/demo/build:1", "build");
        json!({"id": "demo.stacks.base", "buildImage": {"image": build_image}, "runImage": {"image": run_image}})
    }

    /// Everything that an Image needs, saved in an order in which nothing is ready at first.
    fn builder(&self) {
        self.kpack(
            "ClusterBuilder",
            None,
            "base",
            json!({
                "tag": "reg.example/demo/builder",
                "stack": {"kind": "ClusterStack", "name": "base"},
                "store": {"kind": "ClusterStore", "name": "default"},
                "order": [{"group": [{"id": "demo/app"}]}],
                "serviceAccountRef": {"name": "default", "namespace": "demo"},
            }),
        );
        let run_image = stack_image(&self.images, "reg.example/demo/run:1", "run 1");
        self.kpack(
            "ClusterStore",
            None,
            "default",
            json!({"sources": [{"image": "reg.example/demo/bp:1"}]}),
        );
        self.kpack("ClusterStack", None, "base", self.stack(&run_image));
        self.kpack(
            "ClusterLifecycle",
            None,
            "default-lifecycle",
            json!({"image": "reg.example/demo/lifecycle:1"}),
        );
    }

    fn image(&self) {
        self.kpack("Image", Some("demo"), "app", image_spec());
    }

    fn get(&self, kind: Kind, name: &str) -> Option<Object> {
        let namespace = kind.is_namespaced().then_some("demo");
        self.store.get(kind, namespace, name).unwrap()
    }

    /// Waits until an object is as wanted.
    fn wait(&self, kind: Kind, name: &str, wanted: impl Fn(&Object) -> bool) -> Object {
        let deadline = Instant::now() + Duration::from_secs(20);
        // The watch comes first, so that no change is missed between looking and waiting.
        let mut watch = self.store.watch(WatchFilter::kinds([kind]), None).unwrap();
        loop {
            let object = self.get(kind, name);
            if let Some(object) = object.clone().filter(|object| wanted(object)) {
                return object;
            }
            if Instant::now() >= deadline {
                let shown = object.map(Object::into_value);
                let others = [Kind::Image, Kind::Build].map(|kind| {
                    let all = self
                        .store
                        .list(kind, None, &crate::Selector::everything())
                        .unwrap()
                        .items;
                    all.iter()
                        .map(|object| format!("{object}: {}", object.pointer("/status").unwrap_or(&Value::Null)))
                        .collect::<Vec<_>>()
                });
                panic!("{kind} {name} is not as wanted: {shown:?}; there are {others:#?}");
            }
            watch.recv_timeout(Duration::from_secs(1));
        }
    }

    fn is_ready(object: &Object) -> bool {
        object.text("/status/conditions/0/status") == Some("True")
    }

    /// Plays the kubelet: the pod of that Build has ended.
    fn end_pod(&self, build: &str, message: Option<&str>) {
        let mut pod = self.wait(Kind::Pod, &format!("{build}-build-pod"), |_| true);
        let ended = |name: &str, code: i32, message: Option<&str>| json!({"name": name, "state": {"terminated": {"exitCode": code, "message": message}}});
        let status = match message {
            Some(message) => json!({
                "phase": "Succeeded",
                "initContainerStatuses": [ended("build", 0, None)],
                "containerStatuses": [ended("completion", 0, Some(message))],
            }),
            None => json!({"phase": "Failed", "initContainerStatuses": [ended("build", 51, None)]}),
        };
        pod.set("status", status);
        self.store.update_status(pod).unwrap();
    }

    fn succeed(&self, build: &str) {
        let builder = self.get(Kind::ClusterBuilder, "base").unwrap();
        let metadata = BuildMetadata {
            buildpacks: vec![BuildpackMetadata {
                id: "demo/app".to_owned(),
                version: "1.0.0".to_owned(),
                homepage: String::new(),
            }],
            latest_image: format!("reg.example/demo/app@sha256:{}", "a".repeat(64)),
            stack_id: "demo.stacks.base".to_owned(),
            stack_run_image: builder.text("/status/stack/runImage").unwrap().to_owned(),
            lifecycle_version: "0.1.0".to_owned(),
            ..BuildMetadata::default()
        };
        self.end_pod(build, Some(&metadata.to_termination_message().unwrap()));
    }
}

#[test]
fn an_image_is_built_rebuilt_and_rebased_without_anyone_asking() {
    let mut world = World::start();
    world.builder();
    let builder = world.wait(Kind::ClusterBuilder, "base", World::is_ready);
    let latest = builder.text("/status/latestImage").unwrap();
    assert!(
        latest.starts_with("reg.example/demo/builder:clusterbuilder-base@sha256:"),
        "{latest}"
    );
    assert_eq!(builder.text("/status/order/0/group/0/version"), Some("1.0.0"));

    world.image();
    world.succeed("app-build-1");
    let image = world.wait(Kind::Image, "app", World::is_ready);
    assert_eq!(image.text("/status/latestBuildRef"), Some("app-build-1"));
    assert!(image.text("/status/latestImage").is_some());

    *world.branch.0.lock().unwrap() = "2".repeat(40);
    let build = world.wait(Kind::Build, "app-build-2", |_| true);
    assert_eq!(build.annotation("image.kpack.io/reason"), Some("COMMIT"));
    let source = build.pointer("/spec/source").unwrap();
    assert_eq!(source["git"]["revision"], "2".repeat(40));
    assert_eq!(source["subPath"], "app");
    world.succeed("app-build-2");
    world.wait(Kind::Build, "app-build-2", World::is_ready);

    let run_image = stack_image(&world.images, "reg.example/demo/run:2", "run 2");
    let mut stack = world.get(Kind::ClusterStack, "base").unwrap();
    stack.set("spec", world.stack(&run_image));
    world.store.update(stack).unwrap();
    let build = world.wait(Kind::Build, "app-build-3", |_| true);
    assert_eq!(build.annotation("image.kpack.io/reason"), Some("STACK"));
    let pod = world.wait(Kind::Pod, "app-build-3-build-pod", |_| true);
    assert_eq!(pod.text("/spec/initContainers/0/name"), Some("rebase"));
    world.controllers.stop();
}

#[test]
fn a_failed_build_leaves_the_image_as_it_was_and_is_not_repeated() {
    let world = World::start();
    world.builder();
    world.image();
    world.end_pod("app-build-1", None);
    let image = world.wait(Kind::Image, "app", |image| {
        image.text("/status/conditions/0/reason") == Some("BuildFailed")
    });
    assert_eq!(image.text("/status/latestImage"), None);
    // Whoever reports the new generation has looked at the image again, after it has decided about a next build.
    let generation = loop {
        let mut image = world.get(Kind::Image, "app").unwrap();
        let mut spec = image.as_value()["spec"].clone();
        spec["failedBuildHistoryLimit"] = json!(7);
        image.set("spec", spec);
        // Its status may be written at the same moment.
        if let Ok(updated) = world.store.update(image) {
            break updated.generation();
        }
    };
    world.wait(Kind::Image, "app", |image| {
        image.as_value()["status"]["observedGeneration"].as_i64() == Some(generation)
    });
    assert!(world.get(Kind::Build, "app-build-2").is_none());
    *world.branch.0.lock().unwrap() = "2".repeat(40);
    world.wait(Kind::Build, "app-build-2", |_| true);
}

#[test]
fn a_builder_image_that_is_gone_fails_the_build_and_the_next_commit_gets_another() {
    let world = World::start();
    world.builder();
    let builder = world.wait(Kind::ClusterBuilder, "base", World::is_ready);
    "reg.example/demo/builder".clone_into(&mut world.lost.lock().unwrap());
    world.image();
    let build = world.wait(Kind::Build, "app-build-1", |build| {
        build.text("/status/conditions/0/status") == Some("False")
    });
    let latest = builder.text("/status/latestImage").unwrap();
    let message = format!("unable to fetch remote builder image: image {latest} not found");
    assert_eq!(build.text("/status/conditions/0/message"), Some(message.as_str()));
    world.wait(Kind::Image, "app", |image| {
        image.text("/status/conditions/0/reason") == Some("BuildFailed")
    });
    world.lost.lock().unwrap().clear();
    *world.branch.0.lock().unwrap() = "2".repeat(40);
    world.wait(Kind::Pod, "app-build-2-build-pod", |_| true);
    assert!(world.get(Kind::Pod, "app-build-1-build-pod").is_none());
}

#[test]
fn an_image_says_why_its_build_is_refused_and_is_built_when_that_is_mended() {
    let world = World::start();
    world.builder();
    // As much as an Image may have; a Build has some of its own.
    let note = "x".repeat((256 << 10) - 64);
    world.create(json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Image",
        "metadata": {"name": "app", "namespace": "demo", "annotations": {"note": note}},
        "spec": image_spec(),
    }));
    let image = world.wait(Kind::Image, "app", |image| {
        image.text("/status/conditions/0/reason") == Some("BuildRefused")
    });
    assert_eq!(image.text("/status/conditions/0/status"), Some("False"));
    assert_eq!(
        image.text("/status/conditions/0/message"),
        Some(
            "Build.kpack.io \"app-build-1\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes"
        )
    );
    assert_eq!(image.text("/status/conditions/1/type"), Some("BuilderReady"));
    loop {
        let mut image = world.get(Kind::Image, "app").unwrap();
        image.set_annotation("note", "short");
        // Its status may be written at the same moment.
        if world.store.update(image).is_ok() {
            break;
        }
    }
    world.wait(Kind::Build, "app-build-1", |_| true);
    world.wait(Kind::Image, "app", |image| {
        image.text("/status/conditions/0/reason") == Some("BuildRunning")
    });
}

#[test]
fn a_missing_builder_is_named_and_waited_for() {
    let world = World::start();
    world.image();
    world.wait(Kind::Image, "app", |image| {
        image.text("/status/conditions/0/message") == Some("Error: Unable to find builder 'base' in namespace ''.")
    });
    world.builder();
    world.wait(Kind::Build, "app-build-1", |_| true);
}

#[test]
fn an_unknown_buildpack_is_named_in_the_builders_status() {
    let world = World::start();
    world.builder();
    let mut builder = world.wait(Kind::ClusterBuilder, "base", World::is_ready);
    let mut spec = builder.pointer("/spec").unwrap().clone();
    spec["order"] = json!([{"group": [{"id": "demo/none"}]}]);
    builder.set("spec", spec);
    world.store.update(builder).unwrap();
    let builder = world.wait(Kind::ClusterBuilder, "base", |builder| {
        builder.text("/status/conditions/1/status") == Some("False")
    });
    let message = builder.text("/status/conditions/1/message");
    assert_eq!(message, Some("could not find buildpack with id 'demo/none'"));
    assert!(World::is_ready(&builder), "the earlier image stays in use");
}

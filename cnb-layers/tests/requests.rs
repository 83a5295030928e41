//! How many requests the phases send to a real registry.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cnb_layers::analyze::{AnalyzeInputs, analyze};
use cnb_layers::export::{Export, ExportInputs, SbomFiles};
use cnb_layers::metadata::{Analyzed, Group, GroupBuildpack, LauncherVersion, ProjectMetadata, Report, RunImageNames};
use cnb_layers::phase::{NoLog, PlatformApi};
use cnb_layers::rebase::{NewBase, RebaseJob, RebaseJournal, plan_rebase, rebase_many};
use cnb_layers::{
    BaseImage, Compression, Image, ImageSource, LayerBuilder, Parents, Platform, Reference, RegistryStore, Timestamp,
    copy_image, validate,
};
use http::{Request, Response};
use registry_auth::AnonymousKeychain;
use registry_client::{AnswerBody, Body, Client, Http, HttpError, HttpPolicy, RetryPolicy, Transport};
use test_support::Registry;

/// Counts requests, and sends none any more after `limit` of them.
struct Counting {
    inner: Http,
    count: Arc<AtomicU64>,
    limit: u64,
}

impl Transport for Counting {
    fn send(&self, mut request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            // Nobody listens there.
            *request.uri_mut() = "http://127.0.0.1:1/".parse().expect("an address");
        }
        self.inner.send(request)
    }
}

struct World {
    dir: tempfile::TempDir,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("there is room"),
            registry: Registry::start().expect("docker-registry starts"),
        };
        world.write("layers/acme_bp/runtime.toml", "[types]\nlaunch = true\n");
        world.write("layers/acme_bp/runtime/bin/run", "run\n");
        world.write(
            "layers/config/metadata.toml",
            "[[processes]]\ntype = \"web\"\ncommand = [\"run\"]\nargs = []\ndirect = true\nbuildpack-id = \"acme/bp\"\n",
        );
        world.write("workspace/main.sh", "echo\n");
        world.write("cnb/launcher", "#!launcher\n");
        for (tag, motd) in [("1", "one"), ("2", "two")] {
            world.push_base(tag, motd);
        }
        world
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("there is room");
        fs::write(path, text).expect("there is room");
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.host())
    }

    /// Pushes a base of two layers, of which the first is always the same.
    fn push_base(&self, tag: &str, motd: &str) {
        let file = |path: &str, text: &str| LayerBuilder::new().file(path, 0o644, 0, 0, text);
        BaseImage::new(Platform::linux_amd64())
            .layer("os", file("etc/os-release", "ID=acme\n"))
            .layer("motd", file("etc/motd", motd))
            .env("PATH", "/usr/bin")
            .push(
                &self.store(u64::MAX).0,
                &[reference(&self.name(&format!("run/base:{tag}")))],
                Compression::default(),
            )
            .expect("the base image is pushed");
    }

    /// A program that begins now: it knows nothing of the registry.
    fn store(&self, limit: u64) -> (RegistryStore, Arc<AtomicU64>) {
        let policy = HttpPolicy {
            plain_http_hosts: vec![self.registry.host()],
            retry: RetryPolicy::never(),
            ..HttpPolicy::default()
        };
        let count = Arc::new(AtomicU64::new(0));
        let transport = Counting {
            inner: Http::new(&policy).expect("the policy is sound"),
            count: count.clone(),
            limit,
        };
        let http = Http::with_transport(&policy, Arc::new(transport));
        let client = Client::with_http(http, Arc::new(AnonymousKeychain));
        (RegistryStore::new(client), count)
    }

    fn analyze(&self) -> (Analyzed, u64) {
        let (store, count) = self.store(u64::MAX);
        let (app, base) = (self.name("acme/app:latest"), self.name("run/base:1"));
        let names = [app.clone()];
        let inputs = AnalyzeInputs {
            api: PlatformApi::NEWEST,
            names: &names,
            previous_image: &app,
            run_image: &base,
            cache_image: None,
            skip_layers: false,
            layers_dir: Path::new("/layers"),
            root: self.dir.path(),
            platform: &Platform::linux_amd64(),
        };
        let analyzed = analyze(&inputs, &store, &store, store.client(), &NoLog).expect("all is there");
        (analyzed, count.load(Ordering::Relaxed))
    }

    fn export(&self, analyzed: &Analyzed) -> (Report, u64) {
        let (store, count) = self.store(u64::MAX);
        let (lifecycle, launcher) = (self.dir.path().join("cnb"), self.dir.path().join("cnb/launcher"));
        let (names, group) = ([self.name("acme/app:latest")], group());
        let inputs = ExportInputs {
            api: PlatformApi::NEWEST,
            names: &names,
            analyzed,
            group: &group,
            project: &ProjectMetadata::default(),
            run_image_names: RunImageNames {
                image: self.name("run/base:1"),
                mirrors: Vec::new(),
            },
            layers_dir: Path::new("/layers"),
            app_dir: Path::new("/workspace"),
            root: self.dir.path(),
            launcher: &launcher,
            launcher_version: LauncherVersion::default(),
            sbom: SbomFiles {
                lifecycle: &lifecycle,
                launcher: None,
            },
            process_type: "web",
            exec_env: "production",
            uid: 1000,
            gid: 1000,
            parents: Parents::Given(&|_| (0o755, 1000, 1000)),
            created: Timestamp::reproducible(),
            compression: Compression::default(),
            platform: &Platform::linux_amd64(),
            wait: &|_| (),
        };
        let mut export = Export::open(inputs, &store, &store, &NoLog).expect("the images are there");
        let report = export.run(&NoLog).expect("it can be exported");
        (report, count.load(Ordering::Relaxed))
    }

    fn image(&self, name: &str) -> Image {
        let (store, reference) = (self.store(u64::MAX).0, reference(name));
        let image = store.image(&reference, &Platform::linux_amd64());
        let image = image.expect("it is readable").expect("it is there");
        let faults = validate(&store, &reference, &image);
        assert!(faults.is_empty(), "{faults:?}");
        image
    }

    fn base(&self, store: &RegistryStore) -> NewBase {
        let name = self.name("run/base:2");
        NewBase::open(&name, store, &Platform::linux_amd64(), &|_| (), &NoLog).expect("it is there")
    }
}

fn group() -> Group {
    Group {
        buildpacks: vec![GroupBuildpack {
            id: "acme/bp".into(),
            version: "1".into(),
            api: "0.10".into(),
        }],
        extensions: Vec::new(),
    }
}

fn reference(name: &str) -> Reference {
    Reference::parse(name).expect("it is a name")
}

#[test]
fn a_first_build_takes_half_the_requests_of_the_reference_and_a_build_without_changes_six() {
    let world = World::new();
    let (analyzed, requests) = world.analyze();
    assert!(
        requests <= 5,
        "analyze sent {requests} requests; the reference sends 22"
    );
    let (first, requests) = world.export(&analyzed);
    assert!(
        requests <= 19,
        "a first export sent {requests} requests; the reference sends 38"
    );
    world.image(&world.name("acme/app:latest"));
    let (second, requests) = world.export(&world.analyze().0);
    assert!(
        requests <= 6,
        "an unchanged export sent {requests} requests; the reference sends 11"
    );
    assert_eq!(first.digest, second.digest);
}

#[test]
fn a_rebase_within_a_registry_takes_six_requests_when_the_base_is_known() {
    let world = World::new();
    world.export(&world.analyze().0);
    let (store, count) = world.store(u64::MAX);
    let (base, app) = (world.base(&store), reference(&world.name("acme/app:latest")));
    let before = count.load(Ordering::Relaxed);
    let image = store.image(&app, &Platform::linux_amd64()).expect("it is readable");
    let image = image.expect("it is there");
    let plan = plan_rebase(PlatformApi::NEWEST, true, &image, &app, &base).expect("it fits");
    assert!(plan.is_change());
    let report = plan
        .run(&[app.to_string()], &store, &store, &NoLog)
        .expect("it is saved");
    let requests = count.load(Ordering::Relaxed) - before;
    assert!(
        requests <= 6,
        "a rebase sent {requests} requests; the reference sends 30"
    );
    let rebased = world.image(&app.to_string());
    assert_eq!(rebased.digest().to_string(), report.digest);
    assert_eq!(rebased.layers()[..2], base.image().layers()[..]);
    let again = plan_rebase(PlatformApi::NEWEST, true, &rebased, &app, &base).expect("it fits");
    assert!(!again.is_change());
}

#[test]
fn many_rebases_that_were_killed_go_on_without_repeating_what_was_done() {
    const IMAGES: usize = 40;
    let world = World::new();
    world.export(&world.analyze().0);
    let tags: Vec<Reference> = (0..IMAGES)
        .map(|number| reference(&world.name(&format!("acme/many:{number}"))))
        .collect();
    let (store, _) = world.store(u64::MAX);
    let app = reference(&world.name("acme/app:latest"));
    copy_image(&store, &app, &store, &tags, &|_| ()).expect("it is copied");
    let jobs: Vec<RebaseJob> = tags.iter().map(|tag| RebaseJob::in_place(tag.to_string())).collect();
    let journal = world.dir.path().join("journal");

    // A process that gets no further than seventy requests.
    let run = |limit| {
        let (store, count) = world.store(limit);
        let base = world.base(&store);
        let journal = RebaseJournal::open(&journal).expect("it can be written");
        let done = AtomicU64::new(0);
        let (two, before) = (
            NonZeroUsize::new(2).expect("two is not zero"),
            count.load(Ordering::Relaxed),
        );
        let each = |_: &RebaseJob, outcome: Result<Report, _>| {
            done.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
        };
        let api = PlatformApi::NEWEST;
        rebase_many(
            &jobs,
            &base,
            api,
            true,
            two,
            Some(&journal),
            &store,
            &store,
            &NoLog,
            &each,
        )
        .expect("the journal can be written");
        (done.into_inner(), count.load(Ordering::Relaxed) - before)
    };
    let (first, _) = run(70);
    assert!(first > 0 && first < IMAGES as u64, "{first} were done");
    // What a kill in the middle of a line leaves.
    let mut text = fs::read(&journal).expect("it is there");
    text.extend_from_slice(b"cut off");
    fs::write(&journal, text).expect("there is room");
    let (second, requests) = run(u64::MAX);
    assert_eq!(first + second, IMAGES as u64);
    assert!(requests <= 6 * second, "{second} images took {requests} requests");
    let (third, requests) = run(u64::MAX);
    assert_eq!((third, requests), (0, 0));
    for tag in [&tags[0], &tags[IMAGES - 1]] {
        let top = world.image(&tag.to_string()).layers()[1].clone();
        assert_eq!(top, world.image(&world.name("run/base:2")).layers()[1]);
    }
}

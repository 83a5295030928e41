//! How many requests the phases send to a real registry.

#[path = "support/build.rs"]
mod build;

use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use build::{Build, reference, run_image};
use cnb_layers::metadata::{Analyzed, Report};
use cnb_layers::phase::{NoLog, PlatformApi};
use cnb_layers::rebase::{NewBase, RebaseJob, RebaseJournal, plan_rebase, rebase_many};
use cnb_layers::{Compression, Image, ImageSource, Platform, Reference, RegistryStore, copy_image, validate};
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
    build: Build,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let registry = Registry::start().expect("docker-registry starts");
        let (app, base) = (
            format!("{}/acme/app:latest", registry.host()),
            format!("{}/run/base:1", registry.host()),
        );
        let build = Build::new(dir.path(), "acme/bp", &app, &base);
        build.write_app();
        build.write_layer_toml("runtime", "launch = true");
        build.write("layers/acme_bp/runtime/bin/run", "run\n");
        let world = Self { dir, build, registry };
        for (tag, motd) in [("1", "one"), ("2", "two")] {
            let name = reference(&world.name(&format!("run/base:{tag}")));
            let pushed = run_image(motd).push(&world.store(u64::MAX).0, &[name], Compression::default());
            pushed.expect("the base image is pushed");
        }
        world
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.host())
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
        let analyzed = self.build.analyze(&store, &store, store.client(), &NoLog);
        (analyzed, count.load(Ordering::Relaxed))
    }

    fn export(&self, analyzed: &Analyzed) -> (Report, u64) {
        let (store, count) = self.store(u64::MAX);
        let export = self.build.open(analyzed, &store, &store, &NoLog);
        let report = export.expect("the images are there").run(&NoLog);
        (report.expect("it can be exported"), count.load(Ordering::Relaxed))
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

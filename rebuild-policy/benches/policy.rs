//! How fast decisions and plans are, and how much memory they take.
//!
//! `cargo bench -p rebuild-policy`. Bounds: a decision 2 µs, a plan over 10,000 images 20 ms, all of it 100 MB.

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use std::hint::black_box;
use std::io::Write as _;
use std::num::NonZeroUsize;

use criterion::{Criterion, criterion_group};
use jiff::Timestamp;
use rebuild_policy::{Event, Job, JobId, PlanOptions, Present, Priority, Scheduler, SchedulerOptions, Situation, Work};

fn now() -> Timestamp {
    fleet::NOW.parse().expect("a time")
}

fn decisions(c: &mut Criterion) {
    let present = fleet::fleet(1, 1, 1);
    let mut newer = present.clone();
    newer.cluster_builders[0].status.stack.run_image = format!("reg.example/builder@{}", fleet::digest(9));
    let mut all = newer.clone();
    all.cluster_builders[0].status.builder_metadata.clear();
    "1".clone_into(&mut all.cluster_builders[0].status.lifecycle.version);
    all.sources[0].status.source.git.as_mut().expect("git").revision = "f".repeat(40);
    all.images[0].spec.build = Some(rebuild_policy::ImageBuild {
        env: vec![rebuild_policy::EnvVar::new("A", "b")],
        ..rebuild_policy::ImageBuild::default()
    });
    for (name, world) in [
        ("up to date", &present),
        ("newer run image", &newer),
        ("everything changed", &all),
    ] {
        c.bench_function(&format!("decide/{name}"), |b| b.iter(|| decide(black_box(world))));
    }
}

fn decide(world: &Present) -> rebuild_policy::Decision {
    rebuild_policy::decide(&Situation {
        image: &world.images[0],
        last_build: Some(&world.builds[0]),
        source: &world.sources[0],
        builder: (&world.cluster_builders[0]).into(),
        now: now(),
    })
    .expect("references")
}

fn plans(c: &mut Criterion) {
    let (all, proposal) = (fleet::fleet(10_000, 200, 1), fleet::newer_stack());
    let some = fleet::fleet(10_000, 200, 20);
    let (options, shared) = (PlanOptions::at(now()), in_two_threads());
    c.bench_function("plan/10,000 images, all concerned, two threads", |b| {
        b.iter(|| rebuild_policy::plan(black_box(&all), &proposal, &shared).images.len());
    });
    c.bench_function("plan/10,000 images, all concerned", |b| {
        b.iter(|| rebuild_policy::plan(black_box(&all), &proposal, &options).images.len());
    });
    c.bench_function("plan/10,000 images, 500 concerned", |b| {
        b.iter(|| rebuild_policy::plan(black_box(&some), &proposal, &options).images.len());
    });
}

fn in_two_threads() -> PlanOptions {
    PlanOptions {
        threads: NonZeroUsize::MIN.saturating_add(1),
        ..PlanOptions::at(now())
    }
}

fn steps(c: &mut Criterion) {
    c.bench_function("schedule/one job of 10,000 in 200 namespaces", |b| {
        let mut scheduler = Scheduler::new(SchedulerOptions::default());
        let job = |id: u64| Job {
            id: JobId(id),
            namespace: format!("team-{}", id % 200),
            work: Work::Rebuild,
            priority: Priority::Low,
            rollout: None,
            seconds: 1 + id % 7,
            requests: 10,
        };
        let mut next: Vec<JobId> = Vec::new();
        for id in 0..10_000 {
            next.extend(started(&scheduler.step(0, Event::Wanted(job(id)))));
        }
        let mut now = 0;
        b.iter(|| {
            now += 1;
            let done = next.remove(0);
            scheduler.step(now, Event::Wanted(job(done.0)));
            next.extend(started(
                &scheduler.step(now, Event::Finished(done, rebuild_policy::Outcome::Succeeded)),
            ));
        });
    });
}

fn started(commands: &[rebuild_policy::Command]) -> Vec<JobId> {
    let started = |command: &rebuild_policy::Command| match command {
        rebuild_policy::Command::Start(id) => Some(*id),
        _ => None,
    };
    commands.iter().filter_map(started).collect()
}

/// The most memory the process has had: objects of 10,000 images, their plan, and the plan as JSON values do not count.
fn memory() {
    let present = fleet::fleet(10_000, 200, 1);
    let objects = high_water_mark();
    let proposal = fleet::newer_stack();
    let plan = rebuild_policy::plan(&present, &proposal, &PlanOptions::at(now()));
    assert_eq!(plan.work().count(), 10_000);
    let text = format!(
        "memory/10,000 images: {objects} MB with their objects, {} MB with their plan (bound: 100 MB)\n",
        high_water_mark()
    );
    // A figure that nobody sees is no loss.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// `VmHWM` in MB.
fn high_water_mark() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

/// The fastest of many runs: on a machine that others use, too, the only figure that says something about the code.
fn fastest() {
    let (all, proposal, options) = (
        fleet::fleet(10_000, 200, 1),
        fleet::newer_stack(),
        PlanOptions::at(now()),
    );
    let mut newer = fleet::fleet(1, 1, 1);
    newer.cluster_builders[0].status.stack.run_image = format!("reg.example/builder@{}", fleet::digest(9));
    let least = |runs: u32, repeats: u32, run: &dyn Fn()| {
        let time = || {
            let begin = std::time::Instant::now();
            (0..repeats).for_each(|_| run());
            begin.elapsed() / repeats
        };
        (0..runs).map(|_| time()).min().unwrap_or_default()
    };
    let decision = least(2000, 20, &|| drop(black_box(decide(&newer))));
    let time = |options: &PlanOptions| {
        least(60, 1, &|| {
            drop(black_box(rebuild_policy::plan(&all, &proposal, options)));
        })
    };
    let (one, two) = (time(&options), time(&in_two_threads()));
    let text = format!(
        "fastest/decision (newer run image): {decision:?} (bound: 2 µs); plan over 10,000 images, all concerned: {one:?}, \
         by two threads {two:?} (bound: 20 ms)\n"
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
}

criterion_group!(benches, decisions, plans, steps);

fn main() {
    memory();
    fastest();
    benches();
    Criterion::default().configure_from_args().final_summary();
}

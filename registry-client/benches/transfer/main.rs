//! A blob of 1 GiB pulled and pushed over loopback, beside a bare transfer of ureq that checks nothing; and 10,000 small
//! manifests. Each transfer is a process of its own, so that its peak of memory is its own, too.
//!
//! There are two places to transfer from and to: Debian's `docker-registry`, and a server in this program that is as quick
//! as sockets are. `cargo bench -p registry-client`, or with `-- --compare` only what takes turns.

mod server;
mod transfers;

use std::{
    env,
    io::Write,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use criterion::{Criterion, Throughput};
use server::Server;
use test_support::Registry;
use transfers::{MANIFESTS, SIZE};

/// The variable that makes this program do one transfer and tell how it went.
const TRANSFER: &str = "BENCH_TRANSFER";
const ADDRESS: &str = "BENCH_ADDRESS";
const DIGEST: &str = "BENCH_DIGEST";
/// The repository that is pulled from or pushed to.
const REPOSITORY: &str = "BENCH_REPOSITORY";
/// How often the comparison takes turns.
const ROUNDS: usize = 11;

fn main() {
    if let Ok(kind) = env::var(TRANSFER) {
        let variable = |name| env::var(name).expect("it is set by the parent");
        let time = transfers::run(&kind, &variable(ADDRESS), &variable(REPOSITORY), &variable(DIGEST));
        say(&format!(
            "{} {} {}",
            time.as_nanos(),
            transfers::peak_memory(),
            transfers::work()
        ));
        return;
    }
    let server = Server::start();
    let memory = Place {
        name: "a server in memory",
        address: server.address().to_owned(),
        digest: server.digest(),
    };
    let flags: Vec<String> = env::args().collect();
    if !flags.iter().any(|flag| flag == "--compare") {
        measure(&memory);
    }
    if !flags.iter().any(|flag| flag == "--test" || flag == "--list") {
        let registry = Registry::start().expect("docker-registry starts");
        let real = Place {
            name: "docker-registry",
            address: registry.host(),
            digest: server.digest(),
        };
        // What is pulled must be there first.
        transfer(&real, "push", PULLED);
        compare(&real);
        compare(&memory);
        manifests(&memory);
    }
}

/// Where a blob is transferred from and to.
struct Place {
    name: &'static str,
    address: String,
    digest: String,
}

/// The repository that holds the blob.
const PULLED: &str = "team/app";

/// Returns a repository that does not hold the blob yet.
fn fresh() -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    format!("team/push-{}", USED.fetch_add(1, Ordering::Relaxed))
}

fn measure(place: &Place) {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let blobs = &["pull-bare", "pull", "push-bare", "push"][..];
    for (name, amount, kinds) in [
        ("1 GiB", Throughput::Bytes(SIZE), blobs),
        ("manifests", Throughput::Elements(MANIFESTS), &["manifests"]),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(amount);
        for kind in kinds {
            group.bench_function(*kind, |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| transfer(place, kind, PULLED).time).sum());
            });
        }
    }
    criterion.final_summary();
}

/// How a transfer went.
#[derive(Clone, Copy)]
struct Went {
    time: Duration,
    /// Bytes.
    peak: u64,
    /// Milliseconds of processors.
    work: u64,
}

impl Went {
    /// The best time, the least work and the worst peak of several.
    fn of_all(all: &[Self]) -> Self {
        Self {
            time: all.iter().map(|went| went.time).min().unwrap_or_default(),
            peak: all.iter().map(|went| went.peak).max().unwrap_or_default(),
            work: all.iter().map(|went| went.work).min().unwrap_or_default(),
        }
    }
}

/// Runs one transfer in a process of its own.
fn transfer(place: &Place, kind: &str, repository: &str) -> Went {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .env(TRANSFER, kind)
        .env(ADDRESS, &place.address)
        .env(REPOSITORY, repository)
        .env(DIGEST, &place.digest)
        .output()
        .expect("it can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    let (Some(time), Some(peak), Some(work)) = (numbers.next(), numbers.next(), numbers.next()) else {
        panic!("{kind} failed: {}", String::from_utf8_lossy(&output.stderr));
    };
    let time = Duration::from_nanos(time);
    Went { time, peak, work }
}

/// Takes turns, so that both sides see the same weather, and compares the best of each.
fn compare(place: &Place) {
    say(&format!("\n{}, best of {ROUNDS} in turns:", place.name));
    let pull = |kind| transfer(place, kind, PULLED);
    let push = |kind| transfer(place, kind, &fresh());
    let pulls = (0..ROUNDS).map(|_| [pull("pull-bare"), pull("pull"), pull("pull-hashed")]);
    let pulls: Vec<_> = pulls.collect();
    let of = |at: usize| Went::of_all(&pulls.iter().map(|round| round[at]).collect::<Vec<_>>());
    told("pull", "bare ureq", of(0), of(1));
    told("pull", "ureq that hashes", of(2), of(1));
    let (bare, here): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| (push("push-bare"), push("push"))).unzip();
    told("push", "bare ureq", Went::of_all(&bare), Went::of_all(&here));
}

fn told(kind: &str, other: &str, bare: Went, here: Went) {
    say(&format!(
        "{kind} of 1 GiB: {:.2} s, {other} {:.2} s, ratio {:.2}; processors {} ms and {} ms; peak memory {} KiB and {} KiB",
        here.time.as_secs_f64(),
        bare.time.as_secs_f64(),
        here.time.as_secs_f64() / bare.time.as_secs_f64(),
        here.work,
        bare.work,
        here.peak >> 10,
        bare.peak >> 10,
    ));
}

fn manifests(place: &Place) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| transfer(place, "manifests", PULLED)).collect();
    let went = Went::of_all(&rounds);
    #[expect(clippy::cast_precision_loss, reason = "ten thousand is exact")]
    let rate = MANIFESTS as f64 / went.time.as_secs_f64();
    say(&format!(
        "{MANIFESTS} manifests by 4 threads: {rate:.0} requests/s; peak memory {} KiB",
        went.peak >> 10
    ));
}

fn say(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").expect("somebody reads");
}

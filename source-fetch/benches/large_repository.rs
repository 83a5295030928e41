//! What a large repository costs: 20,000 files, 2,000 commits, 150 MB, made once and kept in the target directory.
//!
//! `cargo bench -p source-fetch`. Each figure is the least of several runs, ours and git's by turns; bytes and round
//! trips are counted by the server, memory is the peak of a process of its own over what it had before.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use registry_client::{Http, HttpPolicy, RetryPolicy};
use source_fetch::{Access, GitSource, ResolvedGit, Resolver, fetch_git, fetch_git_sub_path, resolve_git_with_tree};
use support::repositories::Server;

const FILES: u64 = 20_000;
const COMMITS: u64 = 2_000;
/// Lines of a file, of which each has 75 bytes or so.
const LINES: u64 = 114;
const SUB_PATH: &str = "services/s07/src/m03";
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(position) = arguments.iter().position(|argument| argument == "--child") {
        return child(&arguments[position + 1], &arguments[position + 2]);
    }
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let repository = repository();
    println!(
        "{FILES} files of {} MB, {COMMITS} commits, {} MB of packs\n",
        files_of_head(&repository) / 1_000_000,
        size(&repository.join("objects")) / 1_000_000
    );
    for filters in [true, false] {
        let world = World::new(&repository, filters);
        println!("server {} filters", if filters { "with" } else { "without" });
        world.resolve();
        world.images();
        world.new_commit();
        world.fetch();
        println!();
    }
}

/// Runs one thing in a process of its own, and says how much more memory it took than what was there before.
fn child(what: &str, url: &str) {
    let access = access();
    // What a first request needs anyway is loaded before, from a server that refuses it.
    let _ = resolve_git_with_tree(&source("http://127.0.0.1:1/none"), &access, &std::env::temp_dir());
    let before = (peak(), status("RssAnon:"));
    let anonymous = Arc::new(AtomicU64::new(before.1));
    let most = Arc::clone(&anonymous);
    // The pack itself is mapped into memory, which can be had back at any time; what can't is looked at by the way.
    std::thread::spawn(move || {
        loop {
            most.fetch_max(status("RssAnon:"), Ordering::Relaxed);
            std::thread::yield_now();
        }
    });
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = tempfile::tempdir().expect("a directory");
    match what {
        "resolve" => drop(resolve_git_with_tree(&source(url), &access, scratch.path()).expect("resolved")),
        _ => drop(fetch_git(&unasked(url), dir.path(), &access, &mut |_| ()).expect("fetched")),
    }
    println!("{} {}", peak() - before.0, anonymous.load(Ordering::Relaxed) - before.1);
}

fn peak() -> u64 {
    status("VmHWM:")
}

fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn access() -> Access {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    Access::new(Http::new(&policy).expect("valid"))
}

fn source(url: &str) -> GitSource {
    GitSource::new(url, "main").with_sub_path(SUB_PATH)
}

fn unasked(url: &str) -> ResolvedGit {
    ResolvedGit::unasked(&source(url))
}

struct World {
    server: Server,
    bare: PathBuf,
    url: String,
}

/// Requests, bytes and time of something.
#[derive(Clone, Copy)]
struct Cost {
    requests: usize,
    bytes: u64,
    time: Duration,
}

impl World {
    fn new(repository: &Path, filters: bool) -> Self {
        let server = Server::start(true);
        let bare = server.root.path().join("r.git");
        // Its own refs and configuration, the objects of the one that was made.
        git(
            server.root.path(),
            &["init", "--quiet", "--bare", "--initial-branch=main", "r.git"],
        );
        let alternates = format!("{}\n", repository.join("objects").display());
        fs::write(bare.join("objects/info/alternates"), alternates).expect("written");
        let head = git(repository, &["rev-parse", "main"]);
        git(&bare, &["update-ref", "refs/heads/main", &head]);
        git(&bare, &["config", "uploadpack.allowFilter", &filters.to_string()]);
        let url = format!("{}/r.git", server.url());
        Self { server, bare, url }
    }

    fn cost(&self, run: impl FnOnce()) -> Cost {
        self.server.seen.lock().expect("a lock").clear();
        *self.server.sent.lock().expect("a lock") = 0;
        let start = Instant::now();
        run();
        let time = start.elapsed();
        Cost {
            requests: self.server.seen.lock().expect("a lock").len(),
            bytes: *self.server.sent.lock().expect("a lock"),
            time,
        }
    }

    fn least(&self, runs: usize, mut run: impl FnMut()) -> Cost {
        let costs = (0..runs).map(|_| self.cost(&mut run));
        costs.min_by_key(|cost| cost.time).expect("at least one")
    }

    fn memory(&self, name: &str, what: &str) {
        let program = std::env::current_exe().expect("a path");
        let run = || {
            let output = Command::new(&program)
                .args(["--child", what, &self.url])
                .output()
                .expect("runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut figures = text
                .split_whitespace()
                .map(|figure| figure.parse::<f64>().expect("a number") / 1e6);
            (figures.next().expect("a figure"), figures.next().expect("a figure"))
        };
        let least = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.min(b.1));
        let (all, anonymous) = (0..3).map(|_| run()).fold((f64::MAX, f64::MAX), least);
        println!("  {name:<44} {all:>8.1} MB over the base, {anonymous:.1} MB of it not mapped files");
    }

    fn resolve(&self) {
        let scratch = tempfile::tempdir().expect("a directory");
        let cost = self.least(RUNS, || {
            let found = resolve_git_with_tree(&source(&self.url), &access(), scratch.path()).expect("resolved");
            let expected = git(&self.bare, &["rev-parse", &format!("main:{SUB_PATH}")]);
            assert_eq!(found.tree, Some(expected));
        });
        show("resolve with the tree of a sub path", cost);
        self.memory("  its memory", "resolve");
    }

    fn images(&self) {
        let mirrors = tempfile::tempdir().expect("a directory");
        let period = Duration::from_secs(60);
        let resolver = Resolver::new(mirrors.path().to_owned(), period);
        let (access, start) = (access(), Instant::now());
        let ask = |at: Instant| {
            for image in 0..1000 {
                let sub_path = format!("services/s{:02}/src/m{:02}", image % 20, image / 20 % 20);
                let source = GitSource::new(&self.url, "main").with_sub_path(sub_path);
                assert!(resolver.resolve(&source, &access, at).expect("resolved").tree.is_some());
            }
        };
        show("1,000 images, the first period", self.cost(|| ask(start)));
        show("1,000 images, each later period", self.cost(|| ask(start + period)));
        let kilobytes = size(mirrors.path()) / 1000;
        println!("  {:<44} {kilobytes:>8} kB", "  the mirror");
    }

    fn new_commit(&self) {
        let mirrors = tempfile::tempdir().expect("a directory");
        let period = Duration::from_secs(60);
        let resolver = Resolver::new(mirrors.path().to_owned(), period);
        let (access, start) = (access(), Instant::now());
        let main = git(&self.bare, &["rev-parse", "main"]);
        let before = git(&self.bare, &["rev-parse", "main~1"]);
        git(&self.bare, &["update-ref", "refs/heads/main", &before]);
        resolver.resolve(&source(&self.url), &access, start).expect("resolved");
        git(&self.bare, &["update-ref", "refs/heads/main", &main]);
        let cost = self.cost(|| {
            resolver
                .resolve(&source(&self.url), &access, start + period)
                .expect("resolved");
        });
        show("one new commit", cost);
    }

    fn fetch(&self) {
        let scratch = tempfile::tempdir().expect("a directory");
        let (mut whole, mut part, mut clone) = (Vec::new(), Vec::new(), Vec::new());
        // By turns, so that what else the machine does meets all of them.
        for _ in 0..3 {
            let dir = tempfile::tempdir().expect("a directory");
            clone.push(self.cost(|| {
                let place = dir.path().to_str().expect("text");
                git(scratch.path(), &["clone", "--quiet", "--depth=1", &self.url, place]);
            }));
            let dir = tempfile::tempdir().expect("a directory");
            whole.push(self.cost(|| {
                fetch_git(&unasked(&self.url), dir.path(), &access(), &mut |_| ()).expect("fetched");
            }));
            let dir = tempfile::tempdir().expect("a directory");
            part.push(self.cost(|| {
                fetch_git_sub_path(&unasked(&self.url), dir.path(), &access(), scratch.path()).expect("fetched");
            }));
        }
        let least = |costs: Vec<Cost>| costs.into_iter().min_by_key(|cost| cost.time).expect("at least one");
        let (whole, part, clone) = (least(whole), least(part), least(clone));
        show("git clone --depth 1", clone);
        show("fetch of everything", whole);
        show("fetch of the sub path", part);
        for (name, ours) in [("everything", whole), ("the sub path", part)] {
            println!(
                "  {:<44} {:>7.2} of git's time, {:.4} of its bytes",
                format!("  {name} against git"),
                ours.time.as_secs_f64() / clone.time.as_secs_f64(),
                ours.bytes as f64 / clone.bytes as f64,
            );
        }
        self.memory("  memory of fetching everything", "fetch");
    }
}

fn show(name: &str, cost: Cost) {
    let (requests, kilobytes) = (cost.requests, cost.bytes as f64 / 1000.0);
    println!(
        "  {name:<44} {:>8.1?} {requests:>4} requests {kilobytes:>10.1} kB",
        cost.time
    );
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("readable").flatten();
    let size = |entry: fs::DirEntry| match entry.file_type().expect("a type").is_dir() {
        true => size(&entry.path()),
        false => entry.metadata().expect("there").len(),
    };
    entries.map(size).sum()
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stderr(Stdio::inherit())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Bytes of all files at the tip.
fn files_of_head(repository: &Path) -> u64 {
    let listed = git(repository, &["ls-tree", "-r", "-l", "main"]);
    let size = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
    listed.lines().filter_map(size).sum()
}

/// The repository, made when it is not there yet.
fn repository() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large-repository-2.git");
    if place.join("complete").is_file() {
        return place;
    }
    let _ = fs::remove_dir_all(&place);
    git(
        Path::new(env!("CARGO_TARGET_TMPDIR")),
        &[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            place.to_str().expect("text"),
        ],
    );
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet", "--depth=1"])
        .current_dir(&place)
        .stdin(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut out = BufWriter::with_capacity(1 << 20, import.stdin.take().expect("a pipe"));
    let mut state = 1_u64;
    for commit in 0..COMMITS {
        write!(
            out,
            "commit refs/heads/main\ncommitter A <a@x> {} +0000\ndata 2\nm\n",
            1_700_000_000 + commit
        )
        .expect("written");
        // Its parent is the last commit of the branch, without saying so.
        let files: Vec<u64> = if commit == 0 {
            (0..FILES).collect()
        } else {
            vec![commit * 7919 % FILES]
        };
        for file in files {
            let mut text = String::new();
            for line in 0..LINES {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push_str(&format!(
                    "let value_{line} = compute_something(0x{state:016x}, \"commit {commit}\");\n"
                ));
            }
            let (service, module) = (file / 1000, file / 50 % 20);
            write!(
                out,
                "M 100644 inline services/s{service:02}/src/m{module:02}/f{file:05}.rs\ndata {}\n{text}\n",
                text.len()
            )
            .expect("written");
        }
    }
    out.into_inner().expect("written").flush().expect("written");
    assert!(import.wait().expect("ended").success());
    git(&place, &["repack", "-a", "-d", "-q", "--window=0"]);
    fs::write(place.join("complete"), "").expect("written");
    place
}

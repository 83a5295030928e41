//! Many images of one repository cost one listing a period and one look at each new commit.

mod support;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy, RetryPolicy};
use source_fetch::{
    Access, GitKeychain, GitSource, PathFilter, ResolveError, Resolver, RevisionKind, TransportError,
    resolve_git_with_tree,
};
use support::repositories::Server;

fn access() -> Access {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    Access::new(Http::new(&policy).expect("the policy is valid"))
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=A", "-c", "user.email=a@x"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A server with one repository, which can be committed to.
struct World {
    server: Server,
    work: tempfile::TempDir,
    mirrors: tempfile::TempDir,
    start: Instant,
}

const PERIOD: Duration = Duration::from_secs(60);

impl World {
    fn new(filters: bool) -> Self {
        let server = Server::start(true);
        let work = tempfile::tempdir().expect("a directory");
        git(work.path(), &["init", "--quiet", "--initial-branch=main"]);
        let bare = server.root.path().join("r.git");
        git(
            work.path(),
            &["init", "--quiet", "--bare", bare.to_str().expect("text")],
        );
        if filters {
            git(&bare, &["config", "uploadpack.allowFilter", "true"]);
        }
        Self {
            server,
            work,
            mirrors: tempfile::tempdir().expect("a directory"),
            start: Instant::now(),
        }
    }

    /// Writes files and pushes them as a commit; returns its id.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let place = self.work.path().join(path);
            fs::create_dir_all(place.parent().expect("a parent")).expect("made");
            fs::write(place, text).expect("written");
        }
        git(self.work.path(), &["add", "--all"]);
        git(self.work.path(), &["commit", "--quiet", "--message", "m"]);
        self.push("main");
        git(self.work.path(), &["rev-parse", "HEAD"])
    }

    fn push(&self, branch: &str) {
        let bare = self.server.root.path().join("r.git");
        let refspec = format!("HEAD:refs/heads/{branch}");
        git(
            self.work.path(),
            &["push", "--quiet", bare.to_str().expect("text"), &refspec],
        );
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(self.mirrors.path().to_owned(), PERIOD)
    }

    fn source(&self, revision: &str) -> GitSource {
        GitSource::new(format!("{}/r.git", self.server.url()), revision)
    }

    /// The paths of the requests since the last call.
    fn requests(&self) -> Vec<String> {
        let mut seen = self.server.seen.lock().expect("a lock");
        seen.drain(..).map(|(path, _)| path).collect()
    }

    fn sent(&self) -> u64 {
        std::mem::take(&mut *self.server.sent.lock().expect("a lock"))
    }

    fn mirror_size(&self) -> u64 {
        fn walk(dir: &Path) -> u64 {
            let entries = fs::read_dir(dir).expect("readable").flatten();
            let size = |entry: fs::DirEntry| match entry.file_type().expect("a type").is_dir() {
                true => walk(&entry.path()),
                false => entry.metadata().expect("there").len(),
            };
            entries.map(size).sum()
        }
        walk(self.mirrors.path())
    }
}

fn noise(seed: u64, lines: usize) -> String {
    let mut state = seed;
    let mut text = String::new();
    for _ in 0..lines {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{state:x}\n"));
    }
    text
}

#[test]
fn a_thousand_images_of_one_repository_cost_one_listing_a_period() {
    let world = World::new(true);
    let files: Vec<_> = (0..50)
        .map(|number| (format!("apps/a{number}/f"), noise(number, 20)))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let first = world.commit(&files);
    let resolver = Arc::new(world.resolver());
    // All at once, from several threads, as reconcilers do.
    let ask = |at: Instant| {
        let threads: Vec<_> = (0..4)
            .map(|part| {
                let (resolver, source) = (Arc::clone(&resolver), world.source("main"));
                thread::spawn(move || {
                    let access = access();
                    let image = |number: usize| {
                        let source = source.clone().with_sub_path(format!("apps/a{}", number % 50));
                        resolver.resolve(&source, &access, at).expect("it resolves")
                    };
                    (0..250).map(|number| image(part * 250 + number)).collect::<Vec<_>>()
                })
            })
            .collect();
        let found: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect();
        assert_eq!(found.len(), 1000);
        found
    };
    let found = ask(world.start);
    for number in [0, 49, 999] {
        let tree = git(
            world.work.path(),
            &["rev-parse", &format!("HEAD:apps/a{}", number % 50)],
        );
        assert_eq!((&found[number].revision, &found[number].tree), (&first, &Some(tree)));
    }
    // The greeting, the listing, and the trees of the commit.
    assert_eq!(world.requests().len(), 3);
    ask(world.start + PERIOD / 2);
    assert_eq!(world.requests().len(), 0, "within the period nobody is asked");
    ask(world.start + PERIOD);
    assert_eq!(world.requests().len(), 1, "the listing, and nothing has changed");
    let second = world.commit(&[("apps/a7/f", "changed\n")]);
    let later = ask(world.start + PERIOD * 2);
    assert_eq!(
        world.requests().len(),
        2,
        "the listing, and the trees of the new commit"
    );
    assert!(later.iter().all(|found| found.revision == second));
    let changed = |number: usize| later[number].tree != found[number].tree;
    assert_eq!((0..50).filter(|number| changed(*number)).collect::<Vec<_>>(), [7]);
}

#[test]
fn images_of_many_branches_are_answered_by_one_listing_once_they_are_known() {
    let world = World::new(true);
    world.commit(&[("f", "x")]);
    for number in 0..30 {
        world.push(&format!("b{number}"));
    }
    let resolver = world.resolver();
    let ask = |at: Instant| {
        for number in 0..30 {
            let found = resolver
                .resolve(&world.source(&format!("b{number}")), &access(), at)
                .expect("it resolves");
            assert_eq!(found.kind, RevisionKind::Branch);
        }
        world.requests().len()
    };
    assert!(ask(world.start) <= 6);
    assert_eq!(ask(world.start + PERIOD), 1);
    assert_eq!(ask(world.start + PERIOD * 2), 1);
}

#[test]
fn a_new_resolver_finds_the_trees_that_the_last_one_left() {
    let world = World::new(true);
    world.commit(&[("app/f", "x")]);
    let source = world.source("main").with_sub_path("app");
    let first = world
        .resolver()
        .resolve(&source, &access(), world.start)
        .expect("it resolves");
    world.requests();
    let again = world
        .resolver()
        .resolve(&source, &access(), world.start)
        .expect("it resolves");
    assert_eq!(first, again);
    assert_eq!(world.requests().len(), 2, "the greeting and the listing");
    // What is damaged is had again.
    for entry in fs::read_dir(world.mirrors.path()).expect("readable").flatten() {
        fs::remove_dir_all(entry.path().join("objects")).expect("removed");
    }
    let again = world
        .resolver()
        .resolve(&source, &access(), world.start)
        .expect("it resolves");
    assert_eq!(first, again);
}

#[test]
fn a_server_that_leaves_nothing_out_sends_only_what_has_changed() {
    let world = World::new(false);
    let files: Vec<_> = (0..200)
        .map(|number| (format!("d{}/f{number}", number % 20), noise(number, 100)))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    world.commit(&files);
    let resolver = world.resolver();
    let ask = |count: u32| {
        let found = resolver.resolve(
            &world.source("main").with_sub_path("d3"),
            &access(),
            world.start + PERIOD * count,
        );
        assert_eq!(
            found.expect("it resolves").tree.expect("a tree"),
            git(world.work.path(), &["rev-parse", "HEAD:d3"])
        );
        world.sent()
    };
    assert!(ask(0) > 100_000, "the first time it is everything");
    assert!(world.mirror_size() < 30_000, "of which only the trees are kept");
    for count in 1..12 {
        world.commit(&[(&format!("d{}/new", count % 20), &noise(u64::from(count), 3))]);
        let sent = ask(count);
        assert!(sent < 8_000, "{count}: {sent} bytes");
    }
    assert!(world.mirror_size() < 60_000, "{} bytes", world.mirror_size());
}

#[test]
fn sources_with_different_credentials_share_nothing() {
    let world = World::new(true);
    world.commit(&[("app/f", "x")]);
    let source = GitSource::new(format!("{}/private/r.git", world.server.url()), "main").with_sub_path("app");
    let with = |password: &str| {
        let secret = KubernetesSecret::new("s", "kubernetes.io/basic-auth")
            .with_annotation("kpack.io/git", format!("http://localhost:{}", world.server.port))
            .with_data("username", "user")
            .with_data("password", password);
        Access {
            git: GitKeychain::from_secrets([&secret]),
            ..access()
        }
    };
    let resolver = world.resolver();
    resolver
        .resolve(&source, &with("pass"), world.start)
        .expect("the password is right");
    for access in [with("wrong"), access()] {
        let error = resolver.resolve(&source, &access, world.start).expect_err("refused");
        assert!(
            matches!(&error, ResolveError::Shared(error) if matches!(**error, TransportError::Unauthorized { .. })),
            "{error}"
        );
        assert!(!error.is_retryable());
    }
}

#[test]
fn a_failure_answers_for_a_while_and_then_the_server_is_asked_again() {
    let world = World::new(true);
    let source = world.source("main");
    let bare = world.server.root.path().join("r.git");
    world.commit(&[("f", "x")]);
    fs::rename(bare.join("HEAD"), bare.join("gone")).expect("renamed");
    let resolver = world.resolver();
    let resolve = |at: Instant| resolver.resolve(&source, &access(), at);
    resolve(world.start).expect_err("no such repository");
    resolve(world.start + PERIOD / 8).expect_err("still the same answer");
    assert_eq!(world.requests().len(), 1);
    fs::rename(bare.join("gone"), bare.join("HEAD")).expect("renamed");
    resolve(world.start + PERIOD / 4).expect("it is asked again");
    world.requests();
    resolver.forget(&source.url().parse().expect("a url"), &access());
    resolve(world.start + PERIOD / 4).expect("it is there");
    assert_eq!(world.requests().len(), 1, "somebody said that it has changed");
}

#[test]
fn what_is_no_branch_and_an_empty_repository_are_told_apart() {
    let world = World::new(true);
    let resolver = world.resolver();
    let kind = |at: Instant, revision: &str| {
        let found = resolver
            .resolve(&world.source(revision).with_sub_path("app"), &access(), at)
            .expect("it resolves");
        (found.kind, found.tree)
    };
    assert_eq!(kind(world.start, "main"), (RevisionKind::Unknown, None));
    let id = world.commit(&[("app/f", "x")]);
    assert_eq!(kind(world.start + PERIOD, "nope"), (RevisionKind::Commit, None));
    let (branch, tree) = kind(world.start + PERIOD, "main");
    assert!(branch == RevisionKind::Branch && tree.is_some());
    assert_eq!(kind(world.start + PERIOD, &id), (RevisionKind::Commit, tree));
    assert_eq!(
        kind(world.start + PERIOD, &"1".repeat(40)),
        (RevisionKind::Commit, None)
    );
}

#[test]
fn only_paths_that_count_change_the_tree() {
    let world = World::new(true);
    world.commit(&[
        ("app/main.py", "x"),
        ("app/README.md", "x"),
        ("libs/shared/a", "x"),
        ("libs/other/a", "x"),
        ("docs/a.md", "x"),
    ]);
    let paths = PathFilter::new(["libs/shared/"], ["*.md"]).expect("valid");
    let source = world.source("main").with_sub_path("app").with_paths(paths);
    let resolver = world.resolver();
    let mut count = 0;
    let mut tree = || {
        count += 1;
        let found = resolver
            .resolve(&source, &access(), world.start + PERIOD * count)
            .expect("it resolves");
        let scratch = tempfile::tempdir().expect("a directory");
        let alone = resolve_git_with_tree(&source, &access(), scratch.path()).expect("it resolves");
        assert_eq!(found, alone);
        found.tree.expect("a tree")
    };
    let first = tree();
    world.commit(&[("app/README.md", "y"), ("libs/other/a", "y"), ("docs/a.md", "y")]);
    assert_eq!(tree(), first);
    world.commit(&[("libs/shared/a", "y")]);
    let second = tree();
    assert_ne!(second, first);
    world.commit(&[("app/main.py", "y")]);
    assert_ne!(tree(), second);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    /// Git is asked for the tree that is left after removing what does not count.
    #[test]
    fn the_tree_of_what_counts_is_the_one_that_git_makes(
        files in prop::collection::btree_set("(a|b|c\\.md)(/(a|b\\.md|c)){0,2}", 1..8),
        include in prop::collection::vec(prop::sample::select(vec!["b/", "*.md", "/a/c", "a"]), 0..2),
        exclude in prop::collection::vec(prop::sample::select(vec!["*.md", "c", "/b", "a/**"]), 0..2),
        sub_path in prop::sample::select(vec!["", "a", "a/a"]),
    ) {
        let world = World::new(true);
        let mut written: Vec<&str> = Vec::new();
        for path in &files {
            // A file and a directory can't have one name.
            if !written.iter().any(|other| path.starts_with(&format!("{other}/")) || other.starts_with(&format!("{path}/"))) {
                written.push(path);
            }
        }
        let contents: Vec<_> = written.iter().map(|path| (*path, *path)).collect();
        world.commit(&contents);
        let paths = PathFilter::new(include.clone(), exclude.clone()).expect("valid");
        prop_assume!(!paths.is_everything());
        let source = world.source("main").with_sub_path(sub_path).with_paths(paths);
        let found = world.resolver().resolve(&source, &access(), world.start).expect("it resolves");
        // `git ls-files` with ignore patterns is the oracle for what they match.
        let matching = |patterns: &[&str]| -> Vec<String> {
            let mut arguments = vec!["ls-files", "--cached", "--ignored"];
            let patterns: Vec<_> = patterns.iter().map(|pattern| format!("--exclude={pattern}")).collect();
            arguments.extend(patterns.iter().map(String::as_str));
            match patterns.is_empty() {
                true => Vec::new(),
                false => git(world.work.path(), &arguments).lines().map(str::to_owned).collect(),
            }
        };
        let (included, excluded) = (matching(&include), matching(&exclude));
        let beneath = |path: &str| sub_path.is_empty() || path.starts_with(&format!("{sub_path}/")) || path == sub_path;
        for path in &written {
            let counts = (beneath(path) || included.iter().any(|other| other == path))
                && !excluded.iter().any(|other| other == path);
            if !counts {
                git(world.work.path(), &["rm", "--quiet", "--cached", path]);
            }
        }
        let expected = git(world.work.path(), &["write-tree"]);
        let empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        prop_assert_eq!(found.tree.unwrap_or_else(|| empty.to_owned()), expected);
    }
}

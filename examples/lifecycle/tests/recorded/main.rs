//! The programs against what the reference's programs did: every recorded scenario of analyzer, exporter,
//! rebaser, restorer and creator, against real registries, each in a root directory of its own.

mod exports;
mod failures;
mod json;
mod machine;
mod restores;
mod store;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use flate2::read::GzDecoder;
use serde::de::Deserialize as _;

use json::Json;
use store::Store;

/// The version that the recorded images name.
const RECORDED_LAUNCHER: &str = r#"{"version":"0.21.17","source":{"git":{"repository":"","commit":""}}}"#;

/// Reads a bundle: concatenated JSON documents, compressed.
fn bundle(name: &str) -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("gzip of text");
    let mut documents = Vec::new();
    let mut rest = serde_json::Deserializer::from_str(&text);
    while rest.end().is_err() {
        documents.push(Json::deserialize(&mut rest).expect("JSON"));
    }
    documents
}

fn from_base64(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

/// The registries of one worker. Those that few cases need are started when they do.
struct World {
    folder: PathBuf,
    program: PathBuf,
    registry: Store,
    second: Option<Store>,
    guarded: Option<Store>,
    /// Further environment variables of each phase.
    env: &'static [(&'static str, &'static str)],
}

impl World {
    fn start(folder: &Path, program: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            program: program.to_owned(),
            registry: Store::start(None),
            second: None,
            guarded: None,
            env: &[],
        }
    }

    /// Starts what the text of a case names, and forgets what the case before left.
    fn prepare(&mut self, case: &str) {
        if self.second.is_none() && case.contains("<registry2>") {
            self.second = Some(Store::start(None));
        }
        if self.guarded.is_none() && case.contains("<auth-registry>") {
            self.guarded = Some(Store::start(Some(("user", "s3cret"))));
        }
        for (_, _, store) in self.stores() {
            store.clear();
        }
    }

    /// Returns the placeholder, the host and the store of each running registry.
    fn stores(&self) -> Vec<(&'static str, String, &Store)> {
        let mut all = vec![("<registry>", self.registry.host(), &self.registry)];
        all.extend(self.second.as_ref().map(|store| ("<registry2>", store.host(), store)));
        all.extend(
            self.guarded
                .as_ref()
                .map(|store| ("<auth-registry>", store.host(), store)),
        );
        all
    }

    /// Returns the placeholders of hosts with what they stand for here.
    fn hosts(&self) -> Vec<(&'static str, String)> {
        let mut hosts: Vec<_> = self.stores().into_iter().map(|(name, host, _)| (name, host)).collect();
        hosts.push((
            "<named-registry>",
            format!("registry.example.test:{}", self.registry.port()),
        ));
        // Port 1 of an address of its own: nobody listens there.
        hosts.push(("<dead-registry>", "127.0.0.1:1".to_owned()));
        hosts
    }

    fn fill_in(&self, text: &str) -> String {
        let hosts = self.hosts();
        hosts
            .iter()
            .fold(text.to_owned(), |text, (name, host)| text.replace(name, host))
    }

    fn take_out(&self, text: &str) -> String {
        let hosts = self.hosts();
        hosts
            .iter()
            .fold(text.to_owned(), |text, (name, host)| text.replace(host, name))
    }

    /// Finds the store, repository and tag (or digest) of an image named with its placeholder.
    fn find<'a, 'b>(&'a self, name: &'b str) -> (&'a Store, &'b str, &'b str) {
        let (host, path) = name.split_once('/').expect("a registry and a repository");
        let stores = self.stores();
        let store = stores.iter().find(|(placeholder, address, _)| {
            host == *placeholder || host == address || (*placeholder == "<registry>" && host == "<named-registry>")
        });
        let (_, _, store) = store.unwrap_or_else(|| panic!("no registry {host}"));
        let (repository, tag) = match path.split_once('@') {
            Some(parts) => parts,
            None => path.rsplit_once(':').unwrap_or((path, "latest")),
        };
        (store, repository, tag)
    }
}

/// Checks all cases on a few workers, each with registries of its own, and reports all that fail.
/// `CASE` in the environment chooses cases by a part of their names.
fn check_all(cases: &[Json], check: impl Fn(&mut World, &Json) -> Vec<String> + Sync) {
    assert!(!cases.is_empty(), "a bundle without cases");
    let folder = tempfile::Builder::new()
        .prefix("recorded-")
        .tempdir()
        .expect("a directory");
    // The users that phases become must reach their root directories.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let program = folder.path().join("lifecycle");
    fs::hard_link(env!("CARGO_BIN_EXE_lifecycle"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_lifecycle"), &program).map(drop))
        .expect("a copy of the program");
    let only = std::env::var("CASE").ok();
    let chosen: Vec<_> = cases
        .iter()
        .filter(|case| only.as_deref().is_none_or(|only| case.str("name").contains(only)))
        .collect();
    assert!(!chosen.is_empty(), "CASE chooses none");
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..chosen.len().min(4) {
            scope.spawn(|| {
                let mut world = World::start(folder.path(), &program);
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    world.prepare(&case.to_string());
                    let problems = check(&mut world, case);
                    if !problems.is_empty() {
                        let text = format!("{}:\n    {}", case.str("name"), problems.join("\n    "));
                        failures.lock().expect("no thread panicked").push(text);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panicked");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n{}",
        failures.len(),
        chosen.len(),
        failures.join("\n")
    );
}

/// Runs `test` if this process may own files of several users and change its root; else runs the test
/// called `name` again as root of a user namespace.
fn as_root(name: &str, test: impl FnOnce()) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if rustix::process::getuid().is_root() {
        return test();
    }
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--map-auto", "--mount", "--"])
        .arg(this);
    let output = command
        .args([name, "--exact", "--nocapture"])
        .output()
        .expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `test` where its mounts are seen by nobody else and end with it, as root: the test called `name` in a
/// process of its own.
fn in_own_mounts(name: &str, test: impl FnOnce()) {
    const MARK: &str = "RECORDED_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command.args(["--mount", "--"]).arg(this).env(MARK, "yes");
    let output = command
        .args([name, "--exact", "--nocapture"])
        .output()
        .expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the lines that differ, as in a diff without context.
fn differences(expected: &[String], found: &[String]) -> String {
    let mut text = String::new();
    let common = |a: &[String], b: &[String]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let start = common(expected, found);
    let (expected, found) = (&expected[start..], &found[start..]);
    let reversed = |lines: &[String]| lines.iter().rev().cloned().collect::<Vec<_>>();
    let end = common(&reversed(expected), &reversed(found));
    for (sign, lines) in [('-', expected), ('+', found)] {
        for line in &lines[..lines.len() - end] {
            text += &format!("\n      {sign} {line}");
        }
    }
    text
}

/// Judges the problems of a case that is known to differ: words only, or in everything. A case that no
/// longer differs is a problem too, so that the list of exceptions stays true.
fn judge(in_everything: bool, problems: Vec<String>) -> Vec<String> {
    if problems.is_empty() {
        return vec!["it does not differ any more: take it off the list".to_owned()];
    }
    if in_everything {
        return Vec::new();
    }
    problems
        .into_iter()
        .filter(|problem| !problem.contains("): log\n"))
        .collect()
}

/// Replaces `/tmp/<name>-<number>/` and `<tmp>/` by the same.
fn one_temporary_directory(line: &str) -> String {
    let Some(at) = line.find("/tmp/") else {
        return line.to_owned();
    };
    let (before, behind) = line.split_at(at + "/tmp/".len());
    match behind.split_once('/') {
        Some((name, rest))
            if name
                .rsplit_once('-')
                .is_some_and(|(_, n)| n.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            format!("{}<tmp>/{rest}", &before[..before.len() - "/tmp/".len()])
        }
        _ => line.to_owned(),
    }
}

/// Replaces `<prefix>digits` by `<prefix><placeholder>`.
fn without_numbers(text: &str, prefix: &str, placeholder: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(prefix) {
        let (before, behind) = rest.split_at(at + prefix.len());
        out += before;
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            out += placeholder;
        }
        rest = &behind[digits..];
    }
    out + rest
}

/// Puts the recorded version of the launcher where ours is.
fn with_recorded_launcher(config: &str, by: &str) -> String {
    let ours = format!("{{\"version\":\"{}\",\"source\":{{\"git\":", env!("CARGO_PKG_VERSION")).replace('"', "\\\"");
    let Some(at) = config.find(&ours) else {
        return config.to_owned();
    };
    let end = config[at..].find("}}}").map_or(config.len(), |end| at + end + 3);
    format!("{}{by}{}", &config[..at], &config[end..])
}

// row 11.2/L1: `fresh-export-and-unchanged-rebuild-api-0-12`
// row 11.2/L3: `base-docker-api-0-12`
// row 11.2/L5: `slices-matches-nothing`
// row 11.2/L13: `process-flag-wins-api-0-12`
// row 11.2/L14: `process-type-with-angle-api-0-12`
// row 11.2/L15: `process-type-empty-api-0-12`
// row 11.2/L16: `base-docker-api-0-12`
// row 11.3/E2: `fresh-export-and-unchanged-rebuild-api-0-12`
// row 11.3/E3: `second-build-changed-app-file`
// row 11.3/E4: `second-build-changed-process`
// row 11.3/E5: `second-build-changed-app-file`
// row 11.3/E9: `two-more-tags`
// row 11.3/E12: `fresh-export-and-unchanged-rebuild-api-0-12`
// row 11.3/E13: `fresh-export-and-unchanged-rebuild-api-0-11`
// row 11.3/E17: `fresh-export-and-unchanged-rebuild-api-0-12`
// row 11.3/E18: `base-docker-api-0-12`
// row 11.3/E19: `base-docker-api-0-12`; `base-no-path-api-0-12`
// row 11.3/E20: `base-docker-api-0-12`; `base-rich-api-0-12`
// row 11.3/E29: `process-flag-unknown-api-0-12`
// row 11.3/E30: `process-no-default-api-0-12`
// row 11.3/E31: `process-default-from-metadata-api-0-12`
// row 11.3/E32: `debug-log-level`
// row 11.3/E34: `command-forms-api-0-8`; `command-forms-api-0-9`
// row 11.3/E38: `second-build-changed-app-file`
// row 11.5/N12: `platform-api-unset-unsupported-garbage`
// row 11.5/N14: `layers-dir-not-owned`; `layers-dir-group-writable`
// row 11.5/N5: `second-build-changed-app-file`
// row 11.5/N8: `sbom-restored-by-analyze-overwrites`
// row 11.7/B10: `rebase-report-path`; `rebase-debug`
// row 11.7/B13: `rebase-onto-fewer-mixins-api-0-11`
// row 11.7/B18: `rebase-onto-arm64-api-0-12`
// row 11.7/B19: `rebase-onto-other-stack-api-0-12`; `rebase-onto-no-stack-api-0-12`
// row 11.9/X1: `run-toml-empty`; `run-toml-missing-with-run-image-flag`
// row 11.9/X19: `output-unauthorized`; `no-run-image-readable`
#[test]
fn analyze_export_and_rebase_do_what_the_reference_did() {
    as_root("analyze_export_and_rebase_do_what_the_reference_did", || {
        let fixtures = bundle("layers/images.json.gz");
        let fixtures = exports::Fixtures::new(&fixtures[0], &fixtures[1]);
        check_all(&bundle("layers/scenarios.json.gz"), |world, case| {
            exports::check(world, &fixtures, case)
        });
    });
}

fn cases_of(documents: Vec<Json>) -> (Json, Vec<Json>) {
    let mut documents = documents.into_iter();
    let world = documents.next().expect("the world comes first");
    (
        world,
        documents
            .flat_map(|document| document.get("cases").list().to_vec())
            .collect(),
    )
}

// row 11.3/E7: `unchanged rebuild from restored layers reuses everything`
// row 11.3/E27: `store.toml is restored from the image`
// row 11.3/E41: `no cached layers gives a cache image with one empty layer`
// row 11.3/E42: `reuse verifies the old tar, damaged tar is rewritten`
// row 11.3/E43: `export with parallel and a cache image`
// row 11.4/C1: `all flag combinations, image and cache, PAPI 0.15`
// row 11.4/C2: `all flag combinations, image and cache, PAPI 0.15`
// row 11.4/C3: `sbom files, PAPI 0.15`
// row 11.4/C4: `unchanged rebuild from restored layers reuses everything`
// row 11.6/R11: `all flag combinations, image and cache, PAPI 0.15`
// row 11.6/R12: `sbom files, PAPI 0.15`; `sbom cached tar truncated to nothing`
// row 11.6/R17: `all flag combinations, image and cache, PAPI 0.15`
// row 11.6/R21: `all flag combinations, image only, PAPI 0.15`
// row 11.6/R23: `only the second buildpack is detected`
// row 11.6/R24: `sbom files, PAPI 0.7`
// row 11.9/X9: `run image of analyzed.toml is in run.toml and gone, PAPI 0.13`; `run image of analyzed.toml is in run.toml and gone, PAPI 0.14`; `run image of analyzed.toml is not in run.toml and gone`
#[test]
fn restore_and_caches_do_what_the_reference_did() {
    as_root("restore_and_caches_do_what_the_reference_did", || {
        let (start, cases) = cases_of(bundle("restore/scenarios.json.gz"));
        check_all(&cases, |world, case| restores::check(world, &start, case));
    });
}

// row 11.3/E1: `changed app then the old app again`
// row 11.3/E2: `first build, unchanged rebuild, PAPI 0.8`
#[test]
fn the_creator_does_what_the_reference_did() {
    as_root("the_creator_does_what_the_reference_did", || {
        let (start, cases) = cases_of(bundle("create/scenarios.json.gz"));
        check_all(&cases, |world, case| restores::check(world, &start, case));
    });
}

#[test]
fn the_creator_does_the_same_when_it_trusts_timestamps() {
    as_root("the_creator_does_the_same_when_it_trusts_timestamps", || {
        let (start, cases) = cases_of(bundle("create/scenarios.json.gz"));
        check_all(&cases, |world, case| {
            world.env = &[("CNB_TRUST_TIMESTAMPS", "true")];
            restores::check(world, &start, case)
        });
    });
}

// row 11.4/C21
#[test]
fn a_cache_image_that_another_replaces_is_deleted_before_platform_api_0_13() {
    let name = "a_cache_image_that_another_replaces_is_deleted_before_platform_api_0_13";
    as_root(name, failures::replaced_cache_image);
}

#[test]
fn a_killed_export_leaves_the_old_image_or_the_new_one_and_the_next_run_finishes() {
    let name = "a_killed_export_leaves_the_old_image_or_the_new_one_and_the_next_run_finishes";
    as_root(name, failures::killed_at_twenty_points);
}

#[test]
fn a_registry_that_is_gone_or_full_is_an_error_that_names_it_and_the_tag_stays() {
    let name = "a_registry_that_is_gone_or_full_is_an_error_that_names_it_and_the_tag_stays";
    in_own_mounts(name, failures::registry_gone_and_full);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it_and_the_tag_stays() {
    let name = "a_file_that_cannot_be_read_is_an_error_that_names_it_and_the_tag_stays";
    as_root(name, failures::unreadable_file);
}

#[test]
fn a_full_disk_below_the_layers_directory_is_an_error_that_says_so_and_the_tag_stays() {
    let name = "a_full_disk_below_the_layers_directory_is_an_error_that_says_so_and_the_tag_stays";
    in_own_mounts(name, failures::layers_full);
}

#[test]
fn a_full_disk_below_the_cache_is_a_warning() {
    in_own_mounts("a_full_disk_below_the_cache_is_a_warning", failures::cache_full);
}

#[test]
#[ignore = "takes half a minute; `.ci/run large` runs it"]
fn a_layer_of_two_gigabytes_needs_no_more_memory_than_a_small_one() {
    let name = "a_layer_of_two_gigabytes_needs_no_more_memory_than_a_small_one";
    as_root(name, failures::two_gigabytes);
}

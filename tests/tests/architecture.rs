//! The architecture, as `cargo metadata` sees it: who may depend on whom, and what each published crate says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

/// Each library, lowest first, with the libraries it may use. Arrows point down only.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("registry-auth", &[]),
    ("registry-client", &["registry-auth"]),
    ("cnb-order", &[]),
    ("cnb-detect", &["cnb-order"]),
    ("cnb-build", &["cnb-order", "cnb-detect"]),
    ("cnb-layers", &["registry-auth", "registry-client", "cnb-order"]),
    ("source-fetch", &["registry-auth", "registry-client"]),
    ("rebuild-policy", &["registry-auth", "cnb-order"]),
    (
        "kpack-engine",
        &[
            "registry-auth",
            "registry-client",
            "cnb-order",
            "cnb-detect",
            "cnb-build",
            "cnb-layers",
            "source-fetch",
            "rebuild-policy",
        ],
    ),
];

/// What no library but `kpack-engine` may pull in, however far down.
const ASYNC: &[&str] = &["tokio", "hyper", "async-std", "smol", "async-io", "futures-executor"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata(arguments: &[&str]) -> Value {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// The members of the workspace by name.
fn members() -> BTreeMap<String, Value> {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| (text(&package["name"]).to_owned(), package.clone()))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The members that `package` depends on: what its users get, or (`dev`) what only its tests get.
fn depends_on<'a>(package: &'a Value, members: &BTreeMap<String, Value>, dev: bool) -> BTreeSet<&'a str> {
    let dependencies = package["dependencies"].as_array().expect("there are dependencies");
    dependencies
        .iter()
        .filter(|dependency| (text(&dependency["kind"]) == "dev") == dev)
        .map(|dependency| text(&dependency["name"]))
        .filter(|name| members.contains_key(*name))
        .collect()
}

/// Whether crates.io may have it.
fn is_published(package: &Value) -> bool {
    package["publish"].is_null()
}

#[test]
fn the_libraries_are_exactly_those_of_the_map() {
    let members = members();
    let published: BTreeSet<_> = members
        .iter()
        .filter(|(_, package)| is_published(package))
        .map(|(name, _)| name.as_str())
        .collect();
    let known: BTreeSet<_> = LIBRARIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(published, known, "the map is above, and in ARCHITECTURE.md");
}

#[test]
fn a_library_depends_only_on_libraries_beneath_it() {
    let members = members();
    let mut beneath = BTreeSet::new();
    for (name, allowed) in LIBRARIES {
        let found = depends_on(&members[*name], &members, false);
        let too_many: Vec<_> = found.iter().filter(|other| !allowed.contains(other)).collect();
        assert!(too_many.is_empty(), "{name} must not depend on {too_many:?}");
        assert!(
            allowed.iter().all(|other| beneath.contains(other)),
            "{name} stands above all that it uses"
        );
        beneath.insert(name);
    }
}

#[test]
fn tests_of_a_library_use_nothing_above_it_but_the_real_servers() {
    let members = members();
    for (name, allowed) in LIBRARIES {
        let found = depends_on(&members[*name], &members, true);
        let wrong: Vec<_> = found
            .iter()
            .filter(|other| **other != "test-support" && !allowed.contains(other))
            .collect();
        assert!(wrong.is_empty(), "the tests of {name} must not depend on {wrong:?}");
    }
}

#[test]
fn no_library_but_the_engine_pulls_in_an_async_runtime() {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc can be started");
    let version = String::from_utf8(version.stdout).expect("rustc writes text");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host");
    let metadata = metadata(&["--filter-platform", host]);
    let packages = metadata["packages"].as_array().expect("there are packages");
    let names: BTreeMap<_, _> = packages
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("the graph has nodes");
    let normal: BTreeMap<_, Vec<_>> = nodes
        .iter()
        .map(|node| {
            let edges = node["deps"].as_array().into_iter().flatten();
            let edges = edges.filter(|edge| {
                let kinds = edge["dep_kinds"].as_array();
                kinds.into_iter().flatten().any(|kind| kind["kind"].is_null())
            });
            (text(&node["id"]), edges.map(|edge| text(&edge["pkg"])).collect())
        })
        .collect();
    for (library, _) in LIBRARIES.iter().filter(|(name, _)| *name != "kpack-engine") {
        let member = metadata["workspace_members"].as_array().into_iter().flatten();
        let start = member.map(text).find(|id| names[id] == *library);
        let mut open = vec![start.expect("the library is a member")];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                assert!(!ASYNC.contains(&names[id]), "{library} pulls in {}", names[id]);
                open.extend(&normal[id]);
            }
        }
        assert!(!seen.is_empty());
    }
}

#[test]
fn every_published_crate_says_what_it_is() {
    for (name, package) in members().iter().filter(|(_, package)| is_published(package)) {
        for field in ["description", "license", "repository", "readme", "rust_version"] {
            assert!(!text(&package[field]).is_empty(), "{name} has no {field}");
        }
        for field in ["keywords", "categories", "authors"] {
            let list = package[field].as_array();
            assert!(list.is_some_and(|list| !list.is_empty()), "{name} has no {field}");
        }
        let folder = root().join(name);
        assert!(folder.join("README.md").is_file(), "{name} has no README.md");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest can be read");
        assert!(
            manifest.contains("exclude = [\"tests/fixtures\""),
            "{name} would carry its recorded values along"
        );
        let page = fs::read_to_string(folder.join("src/lib.rs")).expect("the page can be read");
        assert!(
            page.contains("#![forbid(unsafe_code)]"),
            "{name} does not forbid unsafe code"
        );
        assert!(page.contains("//! Not here:"), "{name} does not say what is not in it");
    }
}

//! A process that is killed at any moment leaves a whole store, with everything that it acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should fail there, and the child reports on its output"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kpack_engine::store::{Store, StoreOptions};
use kpack_engine::{Kind, Object, ResourceVersion, Resources, Selector};
use serde_json::json;

const DIR: &str = "STORE_CRASH_DIR";
const ROUNDS: u64 = 5;
const OBJECTS: usize = 7;

fn open(dir: &Path) -> Store {
    Store::open(StoreOptions {
        dir: dir.to_owned(),
        clock: Arc::new(Timestamp::now),
    })
    .unwrap()
}

/// Not a test of its own: the process that is killed. It prints what it has been told is stored.
#[test]
#[ignore = "started by the test below"]
fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = open(Path::new(&dir));
    let _ = store.create(Object::new(Kind::Namespace, None, "demo"));
    for round in 0_u64.. {
        let name = format!("map-{}", round % 7);
        let stored = match store.get(Kind::ConfigMap, Some("demo"), &name).unwrap() {
            Some(found) if round % 5 == 4 => {
                store.delete(Kind::ConfigMap, Some("demo"), found.name()).unwrap();
                println!("\nACK {name} gone");
                continue;
            }
            Some(mut found) => {
                found.set(
                    "data",
                    json!({"round": round.to_string(), "padding": "x".repeat(20_000)}),
                );
                store.update(found).unwrap()
            }
            None => store.create(Object::new(Kind::ConfigMap, Some("demo"), &name)).unwrap(),
        };
        println!("\nACK {name} {}", stored.resource_version().unwrap());
    }
}

/// Starts the process above, kills it after `life`, and returns what it acknowledged last for each name.
fn run_and_kill(dir: &Path, life: Duration) -> BTreeMap<String, Option<ResourceVersion>> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "writes_until_it_is_killed"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = BTreeMap::new();
    let mut deadline = None;
    for line in lines.map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &["ACK", name, version] = words.as_slice() else {
            continue;
        };
        acknowledged.insert(name.to_owned(), version.parse().ok());
        if Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + life) {
            // What is in the pipe still counts, so reading goes on to its end.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

#[test]
fn a_killed_process_leaves_whole_files_and_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut highest = ResourceVersion::default();
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(dir.path(), Duration::from_millis(20 + 37 * round));
        assert!(!acknowledged.is_empty());
        // Opening reads every file, and refuses one that is torn.
        let store = open(dir.path());
        let list = store.list(Kind::ConfigMap, None, &Selector::everything()).unwrap();
        assert!(list.items.len() <= OBJECTS);
        assert!(list.resource_version >= highest, "versions never go back");
        highest = list.resource_version;
        // At most one change was under way, that of the name after the last acknowledged one.
        let mut behind = 0;
        for (name, version) in &acknowledged {
            let found = store
                .get(Kind::ConfigMap, Some("demo"), name)
                .unwrap()
                .and_then(|o| o.resource_version());
            assert!(
                version.is_none() || found >= *version || found.is_none(),
                "{name}: {version:?} {found:?}"
            );
            behind += usize::from(found != *version);
        }
        assert!(behind <= 1, "{behind} objects are not as acknowledged");
    }
}

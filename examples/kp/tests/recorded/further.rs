//! What was not recorded, in the same world.

use std::fs;

use kpack_engine::{Kind, Object, Resources};
use serde_json::{Value, json};

use crate::world::World;

/// Runs `kp`; returns what it printed on both outputs. It must succeed or fail as `succeeds` says.
fn kp(world: &World, words: &[&str], succeeds: bool) -> (String, String) {
    let mut command = world.command("kp");
    let output = command
        .args(words.iter().map(|word| world.filled(word)))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.success(), succeeds, "{words:?}: {out}{err}");
    (out, err)
}

/// A world with a default repository.
fn world() -> World {
    let world = World::start();
    let repository = "<registryhost>/shop/store";
    kp(&world, &["config", "default-repository", repository], true);
    world
}

fn get(world: &World, kind: Kind, namespace: Option<&str>, name: &str) -> Object {
    world.store.get(kind, namespace, name).unwrap().unwrap()
}

fn sources(store: &Object) -> Vec<&str> {
    let sources = store.pointer("/spec/sources").and_then(Value::as_array).unwrap();
    sources.iter().map(|source| source["image"].as_str().unwrap()).collect()
}

const DESCRIPTOR: &str = r#"
apiVersion: kp.kpack.io/v1
clusterLifecycles: [{name: default-lifecycle, image: "<registryhost>/fix/lifecycle:1"}]
clusterBuildpacks: [{name: extra, image: "<registryhost>/fix/extra:0.1.0"}]
clusterStores:
- name: store
  sources: [{image: "<registryhost>/fix/web:1.4.0"}, {image: "<registryhost>/fix/web:1.4.0"}]
clusterStacks:
- name: base
  buildImage: {image: "<registryhost>/fix/build:1"}
  runImage: {image: "<registryhost>/fix/run:1"}
clusterBuilders:
- {name: empty, clusterStack: base, clusterStore: store}
- name: web
  clusterStack: base
  clusterStore: store
  order:
  - group:
    - {id: acme/web, version: "", optional: false, note: unknown}
  - group:
    - {kind: ClusterBuildpack, name: extra}
"#;

#[test]
fn an_object_without_a_name_is_none_and_never_all() {
    let world = world();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", "namespace": "default"}});
    world.store.create(Object::from_value(secret).unwrap()).unwrap();
    let web = "<registryhost>/fix/web:1.4.0";
    kp(&world, &["clusterstore", "create", "store", "-b", web], true);

    let (build, run) = ("<registryhost>/fix/build:1", "<registryhost>/fix/run:1");
    let lifecycle = "<registryhost>/fix/lifecycle:1";
    for words in [
        &["image", "save", "", "-t", "reg.example/app", "--git", "a"][..],
        &["image", "patch", "", "--local-path", "."],
        &["image", "status", ""],
        &["image", "delete", ""],
        &["secret", "delete", ""],
        &["secret", "delete", "hub", "--service-account", ""],
        &["builder", "save", "", "-t", "reg.example/builder"],
        &["builder", "delete", ""],
        &["clusterbuilder", "patch", ""],
        &["clusterbuilder", "delete", ""],
        &["buildpack", "save", "", "-i", web],
        &["buildpack", "delete", ""],
        &["clusterbuildpack", "status", ""],
        &["clusterbuildpack", "delete", ""],
        &["clusterstack", "save", "", "-b", build, "-r", run],
        &["clusterstack", "delete", ""],
        &["clusterlifecycle", "patch", "", "-i", lifecycle],
        &["clusterlifecycle", "delete", ""],
        &["clusterstore", "add", "", "-b", web],
        &["clusterstore", "save", "", "-b", web],
        &["clusterstore", "remove", "", "-b", "acme/web@1.4.0"],
        &["clusterstore", "status", ""],
        &["clusterstore", "delete", "", "-f"],
    ] {
        let (out, err) = kp(&world, words, false);
        assert_eq!(
            (&*out, &*err),
            ("", "Error: resource name may not be empty\n"),
            "{words:?}"
        );
    }
    get(&world, Kind::Secret, Some("default"), "hub");
    get(&world, Kind::ClusterStore, None, "store");
}

#[test]
fn a_new_store_holds_a_buildpackage_as_often_as_it_is_given_and_is_given_no_more_of_it() {
    let world = world();
    let web = "<registryhost>/fix/web:1.4.0";
    let twice = ["-b", web, "-b", web];
    kp(
        &world,
        &[&["clusterstore", "create", "store"][..], &twice].concat(),
        true,
    );
    let (out, _) = kp(&world, &[&["clusterstore", "add", "store"][..], &twice].concat(), true);
    assert!(out.ends_with("ClusterStore \"store\" updated (no change)\n"), "{out}");
    let store = get(&world, Kind::ClusterStore, None, "store");
    let sources = sources(&store);
    assert_eq!(sources.len(), 2);
    assert_eq!(sources[0], sources[1]);
}

#[test]
fn an_import_prints_what_the_server_made_of_it_and_changes_nothing_the_second_time() {
    let world = world();
    fs::write(world.tmp().join("deps.yaml"), world.filled(DESCRIPTOR)).unwrap();
    let (out, _) = kp(&world, &["import", "-f", "deps.yaml", "--output", "json"], true);
    let printed: Vec<Value> = serde_json::from_str(&out).unwrap();
    let names: Vec<_> = printed.iter().map(|object| &object["metadata"]["name"]).collect();
    assert_eq!(names, ["default-lifecycle", "extra", "store", "base", "empty", "web"]);
    for object in &printed {
        assert!(object["metadata"]["uid"].is_string(), "{object}");
    }
    assert_eq!(sources(&get(&world, Kind::ClusterStore, None, "store")).len(), 2);

    let again = ["import", "-f", "deps.yaml", "--show-changes", "--force", "--dry-run"];
    let (out, _) = kp(&world, &again, true);
    let headings = [
        "ClusterLifecycles",
        "ClusterBuildpacks",
        "ClusterStores",
        "ClusterStacks",
        "ClusterBuilders",
    ];
    let unchanged: String = headings.map(|heading| format!("{heading}\n\nNo Changes\n\n")).concat();
    assert!(out.starts_with(&format!("Changes\n\n{unchanged}")), "{out}");
}

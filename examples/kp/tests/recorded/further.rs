//! What was not recorded, in the same world.

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

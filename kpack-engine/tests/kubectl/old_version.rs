//! Objects of `kpack.io/v1alpha1`, which kpack's webhooks do not see.

use kpack_engine::{Kind, Object, Resources};
use serde_json::json;

use crate::world::World;

/// An Image with what only the older version still has; `{VERSION}` and `{BINDINGS}` are filled in.
const LEGACY_IMAGE: &str = r#"
apiVersion: kpack.io/{VERSION}
kind: Image
metadata: {name: app, namespace: default}
spec:
  tag: reg.example/app
  builder: {kind: ClusterBuilder, name: base}
  source:
    git: {url: "https://git.example/app", revision: main}
  notary:
    v1: {url: "https://notary.example", secretRef: {name: signer}}
  build:
    {BINDINGS}: [{name: db, metadataRef: {name: db-metadata}, secretRef: {name: db-secret}}]
"#;

fn legacy_image(version: &str, bindings: &str) -> String {
    LEGACY_IMAGE
        .replace("{VERSION}", version)
        .replace("{BINDINGS}", bindings)
}

/// Gives `kubectl` a document that is refused, and returns what it says.
fn refused(world: &World, document: &str) -> String {
    let file = world.dir().join("refused.yaml");
    std::fs::write(&file, document).unwrap();
    let output = world.command(&["create", "-f"]).arg(&file).output().unwrap();
    assert!(!output.status.success(), "accepted: {document}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn image(world: &World) -> Object {
    let found = world.store.get(Kind::Image, Some("default"), "app");
    found.unwrap().unwrap()
}

#[test]
fn bindings_and_notary_may_be_asked_for_in_the_older_version_only() {
    let world = World::start();
    let error = refused(&world, &legacy_image("v1alpha2", "cnbBindings"));
    assert!(error.contains("please use v1alpha1 for CNB bindings"), "{error}");
    assert!(
        error.contains("please use v1alpha1 for notary image signing"),
        "{error}"
    );

    world.pipe(&legacy_image("v1alpha1", "bindings"), &["create", "-f", "-"]);
    let image = image(&world);
    assert_eq!(
        image.text("/spec/build/cnbBindings/0/secretRef/name"),
        Some("db-secret")
    );
    assert_eq!(image.text("/spec/notary/v1/secretRef/name"), Some("signer"));
    let shown = world.kubectl(&[
        "get",
        "images.v1alpha1.kpack.io",
        "app",
        "-o",
        "jsonpath={.spec.build.bindings}",
    ]);
    assert!(shown.contains("db-metadata"), "{shown}");
}

#[test]
fn the_older_version_gets_the_defaults_of_the_conversion_and_no_others() {
    let world = World::start();
    let mut class = Object::new(Kind::StorageClass, None, "standard");
    class.set_annotation("storageclass.kubernetes.io/is-default-class", "true");
    world.store.create(class).unwrap();
    world.pipe(&legacy_image("v1alpha1", "bindings"), &["create", "-f", "-"]);
    let image = image(&world);
    assert_eq!(image.text("/spec/serviceAccountName"), Some("default"));
    assert_eq!(image.pointer("/spec/cache"), None);
}

#[test]
fn changes_in_the_older_version_are_not_validated() {
    let world = World::start();
    let document = legacy_image("v1alpha1", "bindings");
    world.pipe(&document, &["apply", "-f", "-"]);
    let moved = document.replace("tag: reg.example/app", "tag: reg.example/moved");
    world.pipe(&moved, &["apply", "-f", "-"]);
    assert_eq!(image(&world).text("/spec/tag"), Some("reg.example/moved"));
}

#[test]
fn a_kind_that_is_not_converted_is_kept_as_it_came() {
    let world = World::start();
    let store = "{apiVersion: kpack.io/v1alpha1, kind: ClusterStore, metadata: {name: odd}, spec: {extra: 1}}";
    world.pipe(store, &["create", "-f", "-"]);
    let stored = world.store.get(Kind::ClusterStore, None, "odd").unwrap().unwrap();
    assert_eq!(stored.pointer("/spec"), Some(&json!({"extra": 1})));
    let error = refused(&world, &store.replace("v1alpha1", "v1alpha2"));
    assert!(error.contains("missing field(s): spec.sources"), "{error}");
}

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::Change;

/// A clock that moves one second at each look.
fn clock() -> Clock {
    let seconds = AtomicI64::new(1_767_607_200);
    Arc::new(move || Timestamp::from_second(seconds.fetch_add(1, Ordering::Relaxed)).unwrap())
}

fn open(dir: &Path) -> Store {
    Store::open(StoreOptions {
        dir: dir.to_owned(),
        clock: clock(),
    })
    .unwrap()
}

/// A store with the namespace `demo`, in a directory that is removed with it.
fn demo() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(Object::new(Kind::Namespace, None, "demo")).unwrap();
    (store, dir)
}

fn map(name: &str) -> Object {
    Object::new(Kind::ConfigMap, Some("demo"), name)
}

fn owned_by(mut object: Object, owner: &Object) -> Object {
    object
        .metadata_mut()
        .insert("ownerReferences".to_owned(), json!([owner.controller_reference()]));
    object
}

fn names(store: &Store, kind: Kind) -> Vec<String> {
    let list = store.list(kind, None, &Selector::everything()).unwrap();
    list.items.iter().map(|object| object.name().to_owned()).collect()
}

#[test]
fn a_created_object_has_an_id_a_version_and_a_time() {
    let (store, _dir) = demo();
    let created = store.create(map("settings")).unwrap();
    assert_eq!(created.uid().len(), 36);
    assert!(created.resource_version().is_some());
    assert!(created.creation_timestamp().unwrap().starts_with("2026-01-05T10:0"));
    assert_eq!(
        store.get(Kind::ConfigMap, Some("demo"), "settings").unwrap(),
        Some(created)
    );
}

#[test]
fn a_namespace_brings_its_default_service_account() {
    let (store, _dir) = demo();
    assert!(
        store
            .get(Kind::ServiceAccount, Some("demo"), "default")
            .unwrap()
            .is_some()
    );
}

#[test]
fn creating_twice_or_in_a_missing_namespace_is_refused() {
    let (store, _dir) = demo();
    store.create(map("settings")).unwrap();
    assert!(store.create(map("settings")).unwrap_err().is_already_exists());
    let error = store
        .create(Object::new(Kind::ConfigMap, Some("gone"), "x"))
        .unwrap_err();
    assert_eq!(error.to_string(), "namespaces \"gone\" not found");
}

#[test]
fn a_name_that_would_leave_its_directory_is_refused() {
    let (store, _dir) = demo();
    for name in ["../up", "a/b", "..", "Upper", "", "-a"] {
        assert!(
            matches!(store.create(map(name)), Err(ApiError::Invalid { .. })),
            "{name}"
        );
    }
}

#[test]
fn the_longest_allowed_name_can_be_stored() {
    let (store, dir) = demo();
    let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(name.len(), 253);
    store.create(map(&name)).unwrap();
    drop(store);
    assert!(
        open(dir.path())
            .get(Kind::ConfigMap, Some("demo"), &name)
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_generated_name_begins_with_what_was_asked_for() {
    let (store, _dir) = demo();
    let mut object = map("");
    object.metadata_mut().insert("generateName".to_owned(), json!("build-"));
    let created = store.create(object).unwrap();
    assert!(
        created.name().starts_with("build-") && created.name().len() == 11,
        "{}",
        created.name()
    );
}

#[test]
fn a_stale_version_is_refused_and_no_version_is_accepted() {
    let (store, _dir) = demo();
    let first = store.create(map("settings")).unwrap();
    let mut second = first.clone();
    second.set("data", json!({"a": "1"}));
    store.update(second).unwrap();
    let mut stale = first.clone();
    stale.set("data", json!({"a": "2"}));
    assert!(store.update(stale.clone()).unwrap_err().is_conflict());
    stale.metadata_mut().remove("resourceVersion");
    assert_eq!(store.update(stale).unwrap().text("/data/a"), Some("2"));
}

#[test]
fn an_update_that_changes_nothing_keeps_the_version() {
    let (store, _dir) = demo();
    let created = store.create(map("settings")).unwrap();
    assert_eq!(
        store.update(created.clone()).unwrap().resource_version(),
        created.resource_version()
    );
}

fn store_with_resolver() -> (Store, Object, tempfile::TempDir) {
    let (store, dir) = demo();
    let mut object = Object::new(Kind::SourceResolver, Some("demo"), "shop-source");
    object.set(
        "spec",
        json!({"source": {"git": {"url": "https://git.example/a", "revision": "main"}}}),
    );
    let created = store.create(object).unwrap();
    (store, created, dir)
}

#[test]
fn a_generation_counts_changes_of_the_spec_only() {
    let (store, mut object, _dir) = store_with_resolver();
    assert_eq!(object.generation(), 1);
    object.set_label("a", "b");
    let mut object = store.update(object).unwrap();
    assert_eq!(object.generation(), 1);
    object.set(
        "spec",
        json!({"source": {"git": {"url": "https://git.example/a", "revision": "next"}}}),
    );
    assert_eq!(store.update(object).unwrap().generation(), 2);
}

#[test]
fn status_and_spec_are_changed_by_their_own_calls_only() {
    let (store, mut object, _dir) = store_with_resolver();
    object.set("status", json!({"observedGeneration": 1}));
    let object = store.update(object).unwrap();
    assert_eq!(object.pointer("/status/observedGeneration"), None);
    let mut wanted = object.clone();
    wanted.set("status", json!({"observedGeneration": 1}));
    wanted.set("spec", json!({"source": {}}));
    let stored = store.update_status(wanted).unwrap();
    assert_eq!(stored.pointer("/status/observedGeneration"), Some(&json!(1)));
    assert_eq!(stored.pointer("/spec"), object.pointer("/spec"));
    assert_eq!(stored.generation(), 1);
}

#[test]
fn deleting_an_owner_deletes_what_it_owns_over_all_levels() {
    let (store, _dir) = demo();
    let top = store.create(map("top")).unwrap();
    let middle = store.create(owned_by(map("middle"), &top)).unwrap();
    store.create(owned_by(map("leaf"), &middle)).unwrap();
    store.create(map("other")).unwrap();
    store.delete(Kind::ConfigMap, Some("demo"), "top").unwrap();
    assert_eq!(names(&store, Kind::ConfigMap), ["other"]);
}

#[test]
fn an_object_with_two_owners_stays_until_both_are_gone() {
    let (store, _dir) = demo();
    let (a, b) = (store.create(map("a")).unwrap(), store.create(map("b")).unwrap());
    let mut both = map("both");
    let owners = json!([a.controller_reference(), b.controller_reference()]);
    both.metadata_mut().insert("ownerReferences".to_owned(), owners);
    store.create(both).unwrap();
    store.delete(Kind::ConfigMap, Some("demo"), "a").unwrap();
    assert_eq!(names(&store, Kind::ConfigMap), ["b", "both"]);
    store.delete(Kind::ConfigMap, Some("demo"), "b").unwrap();
    assert!(names(&store, Kind::ConfigMap).is_empty());
}

#[test]
fn a_dependent_created_after_its_owner_is_gone_does_not_stay() {
    let (store, _dir) = demo();
    let owner = store.create(map("owner")).unwrap();
    store.delete(Kind::ConfigMap, Some("demo"), "owner").unwrap();
    store.create(owned_by(map("late"), &owner)).unwrap();
    assert!(names(&store, Kind::ConfigMap).is_empty());
}

#[test]
fn orphaned_dependents_stay_without_owner() {
    let (store, _dir) = demo();
    let owner = store.create(map("owner")).unwrap();
    store.create(owned_by(map("child"), &owner)).unwrap();
    let options = DeleteOptions {
        propagation: Propagation::Orphan,
        ..DeleteOptions::default()
    };
    store
        .delete_with(Kind::ConfigMap, Some("demo"), "owner", &options)
        .unwrap();
    let child = store.get(Kind::ConfigMap, Some("demo"), "child").unwrap().unwrap();
    assert!(child.owners().is_empty());
}

#[test]
fn an_object_with_finalizers_waits_for_them() {
    let (store, _dir) = demo();
    let mut held = map("held");
    held.metadata_mut()
        .insert("finalizers".to_owned(), json!(["acme.example/hold"]));
    store.create(held).unwrap();
    store.delete(Kind::ConfigMap, Some("demo"), "held").unwrap();
    let mut held = store.get(Kind::ConfigMap, Some("demo"), "held").unwrap().unwrap();
    assert!(held.deletion_timestamp().is_some());
    held.metadata_mut().insert("finalizers".to_owned(), json!(null));
    store.update(held).unwrap();
    assert!(store.get(Kind::ConfigMap, Some("demo"), "held").unwrap().is_none());
}

#[test]
fn a_foreground_deletion_ends_with_the_last_dependent() {
    let (store, _dir) = demo();
    let owner = store.create(map("owner")).unwrap();
    let mut child = owned_by(map("child"), &owner);
    child
        .metadata_mut()
        .insert("finalizers".to_owned(), json!(["acme.example/hold"]));
    store.create(child).unwrap();
    let options = DeleteOptions {
        propagation: Propagation::Foreground,
        ..DeleteOptions::default()
    };
    let deleted = store
        .delete_with(Kind::ConfigMap, Some("demo"), "owner", &options)
        .unwrap();
    assert!(matches!(deleted, Deleted::Waiting(_)));
    let mut child = store.get(Kind::ConfigMap, Some("demo"), "child").unwrap().unwrap();
    child.metadata_mut().remove("finalizers");
    store.update(child).unwrap();
    assert!(names(&store, Kind::ConfigMap).is_empty());
}

#[test]
fn a_namespace_goes_with_everything_in_it_and_refuses_new_content_meanwhile() {
    let (store, _dir) = demo();
    let mut held = map("held");
    held.metadata_mut()
        .insert("finalizers".to_owned(), json!(["acme.example/hold"]));
    store.create(held).unwrap();
    store.create(map("free")).unwrap();
    store.delete(Kind::Namespace, None, "demo").unwrap();
    assert_eq!(names(&store, Kind::ConfigMap), ["held"]);
    assert!(matches!(store.create(map("late")), Err(ApiError::Forbidden { .. })));
    let mut held = store.get(Kind::ConfigMap, Some("demo"), "held").unwrap().unwrap();
    held.metadata_mut().remove("finalizers");
    store.update(held).unwrap();
    assert!(names(&store, Kind::Namespace).is_empty());
}

#[test]
fn a_secret_is_encoded_and_checked_by_its_type() {
    let (store, _dir) = demo();
    let mut secret = Object::new(Kind::Secret, Some("demo"), "s");
    secret.set("stringData", json!({"password": "hunter2"}));
    let stored = store.create(secret).unwrap();
    assert_eq!(stored.text("/data/password"), Some("aHVudGVyMg=="));
    assert_eq!(stored.text("/type"), Some("Opaque"));
    let mut broken = Object::new(Kind::Secret, Some("demo"), "broken");
    broken.set("type", json!("kubernetes.io/dockerconfigjson"));
    let error = store.create(broken).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Secret \"broken\" is invalid: data[.dockerconfigjson]: Required value"
    );
}

#[test]
fn a_watch_from_a_list_misses_nothing_and_repeats_nothing() {
    let (store, _dir) = demo();
    store.create(map("before")).unwrap();
    let list = store.list(Kind::ConfigMap, None, &Selector::everything()).unwrap();
    let filter = WatchFilter::kinds([Kind::ConfigMap]);
    let mut watch = store.watch(filter, Some(list.resource_version)).unwrap();
    store.create(map("after")).unwrap();
    store.delete(Kind::ConfigMap, Some("demo"), "after").unwrap();
    let seen: Vec<_> = std::iter::from_fn(|| watch.recv_timeout(Duration::ZERO))
        .map(|event| (event.change, event.object.name().to_owned()))
        .collect();
    assert_eq!(
        seen,
        [
            (Change::Added, "after".to_owned()),
            (Change::Deleted, "after".to_owned())
        ]
    );
}

#[test]
fn a_watch_without_a_version_begins_with_what_exists() {
    let (store, _dir) = demo();
    store.create(map("one")).unwrap();
    let mut watch = store.watch(WatchFilter::kinds([Kind::ConfigMap]), None).unwrap();
    assert_eq!(watch.recv_timeout(Duration::ZERO).unwrap().object.name(), "one");
    assert!(watch.recv_timeout(Duration::ZERO).is_none());
}

#[test]
fn versions_grow_over_restarts_even_after_deletions() {
    let (store, dir) = demo();
    store.create(map("gone")).unwrap();
    store.delete(Kind::ConfigMap, Some("demo"), "gone").unwrap();
    let before = store
        .list(Kind::ConfigMap, None, &Selector::everything())
        .unwrap()
        .resource_version;
    drop(store);
    let store = open(dir.path());
    assert!(store.create(map("next")).unwrap().resource_version().unwrap() > before);
    assert!(matches!(
        store.watch(WatchFilter::default(), Some(before)),
        Err(ApiError::Expired { .. })
    ));
}

#[test]
fn what_a_crash_left_undone_is_finished_when_the_store_opens() {
    let (store, dir) = demo();
    let owner = store.create(map("owner")).unwrap();
    store.create(owned_by(map("child"), &owner)).unwrap();
    drop(store);
    fs::remove_file(dir.path().join("objects/configmaps/demo/owner.json")).unwrap();
    fs::write(dir.path().join("tmp/next"), "{ torn").unwrap();
    let store = open(dir.path());
    assert!(names(&store, Kind::ConfigMap).is_empty());
    assert!(!dir.path().join("tmp/next").exists());
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let (_store, dir) = demo();
    let Err(error) = Store::open(StoreOptions {
        dir: dir.path().to_owned(),
        clock: clock(),
    }) else {
        panic!("the directory is locked");
    };
    let expected = format!(
        "the data directory {} is in use by process {}: stop it, or choose another directory",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_damaged_file_is_named() {
    let (store, dir) = demo();
    store.create(map("one")).unwrap();
    drop(store);
    fs::write(dir.path().join("objects/configmaps/demo/one.json"), "{").unwrap();
    let Err(error) = Store::open(StoreOptions {
        dir: dir.path().to_owned(),
        clock: clock(),
    }) else {
        panic!("the file is damaged");
    };
    assert!(
        error
            .to_string()
            .contains("objects/configmaps/demo/one.json is damaged"),
        "{error}"
    );
}

#[test]
fn files_can_be_read_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (store, dir) = demo();
    store.create(Object::new(Kind::Secret, Some("demo"), "s")).unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("objects/secrets/demo/s.json"), 0o600);
    assert_eq!(mode("objects/secrets/demo"), 0o700);
}

#[test]
fn what_could_not_be_read_again_is_not_stored() {
    let nested = |levels| (0..levels).fold(json!("v"), |inner, _| json!({ "a": inner }));
    let (store, dir) = demo();
    let mut deepest = map("deepest");
    // The names of its fields are in its managedFields again, four levels down.
    deepest.set("x", nested(crate::object::DEEPEST - 6));
    let mut deepest = store.create(deepest).unwrap();
    deepest.set("x", nested(crate::object::DEEPEST + 1));
    let error = store.update(deepest.clone()).unwrap_err();
    assert!(error.to_string().contains("is nested too deeply"), "{error}");
    let mut deeper = map("deeper");
    deeper.set("x", nested(122));
    assert!(matches!(store.create(deeper), Err(ApiError::BadRequest { .. })));
    drop(store);
    assert_eq!(names(&open(dir.path()), Kind::ConfigMap), ["deepest"]);
}

#[test]
fn labels_and_annotations_that_an_api_server_would_not_take_are_refused() {
    let (store, _dir) = demo();
    let create = |metadata: serde_json::Value| {
        let mut object = map("m");
        object.metadata_mut().extend(metadata.as_object().unwrap().clone());
        store.create_as(
            object,
            &WriteOptions {
                dry_run: true,
                ..WriteOptions::new(Caller::admin(), "test")
            },
        )
    };
    let long = "a".repeat(64);
    for (metadata, expected) in [
        (
            json!({"labels": {"a": "b c"}}),
            "metadata.labels: Invalid value: \"b c\": a valid label must be",
        ),
        (json!({"labels": {"a": long}}), "must be no more than 63 characters"),
        (
            json!({"labels": {"a b": ""}}),
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
        ),
        (json!({"labels": {"a/b/c": ""}}), "a qualified name must consist of"),
        (json!({"labels": {"/b": ""}}), "prefix part must be non-empty"),
        (
            json!({"labels": {"A/b": ""}}),
            "prefix part a lowercase RFC 1123 subdomain must consist of",
        ),
        (
            json!({"annotations": {"-": ""}}),
            "metadata.annotations: Invalid value: \"-\": name part must consist of",
        ),
        (
            json!({"annotations": {"a": "x".repeat(256 << 10)}}),
            "ConfigMap \"m\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
    ] {
        let error = create(metadata).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    create(json!({"labels": {"example.com/A_b.c": "1-2_3.z", "x": ""}, "annotations": {"Example.com/x": "a b"}}))
        .unwrap();
}

#[test]
fn a_pod_whose_volume_would_lie_elsewhere_is_refused() {
    let (store, _dir) = demo();
    let pod = |name: &str| {
        let mut pod = Object::new(Kind::Pod, Some("demo"), "p");
        pod.set(
            "spec",
            json!({
                "volumes": [{"name": "binding-a.b", "emptyDir": {}}, {"name": name, "emptyDir": {}}],
                "containers": [{"name": "main", "image": "x"}],
            }),
        );
        store.create(pod)
    };
    for name in ["/", "/etc", "..", "../../etc", "a/../../b", ""] {
        let error = pod(name).unwrap_err().to_string();
        assert!(error.contains("spec.volumes[1].name"), "{error}");
    }
    let error = pod("binding-a.b").unwrap_err().to_string();
    assert!(error.contains("Duplicate value"), "{error}");
    pod("other").unwrap();
}

#[test]
fn a_pod_that_would_have_no_time_is_refused() {
    let (store, _dir) = demo();
    let pod = |seconds: i64| {
        let mut pod = Object::new(Kind::Pod, Some("demo"), "p");
        let container = json!({"name": "main", "image": "x"});
        pod.set(
            "spec",
            json!({"activeDeadlineSeconds": seconds, "containers": [container]}),
        );
        store.create(pod)
    };
    for seconds in [0, -1, 1 << 31] {
        let expected = format!(
            "Pod \"p\" is invalid: spec.activeDeadlineSeconds: Invalid value: {seconds}: must be between 1 and \
             2147483647, inclusive"
        );
        assert_eq!(pod(seconds).unwrap_err().to_string(), expected);
    }
    pod(1).unwrap();
}

/// Creates an object of the clock's time `second` in a store that is opened for it alone; returns its creation time.
fn created_at(dir: &Path, second: i64, object: Object) -> String {
    let store = Store::open(StoreOptions {
        dir: dir.to_owned(),
        clock: Arc::new(move || Timestamp::from_second(second).unwrap()),
    });
    let object = store.unwrap().create(object).unwrap();
    object.creation_timestamp().unwrap().to_owned()
}

#[test]
fn no_build_is_older_than_one_that_was_created_before_it_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    // Other objects do not count, whenever they were created.
    let namespace = Object::new(Kind::Namespace, None, "demo");
    assert_eq!(created_at(dir.path(), 4_102_444_800, namespace), "2100-01-01T00:00:00Z");
    let build_at = |second, name| {
        let mut build = Object::new(Kind::Build, Some("demo"), name);
        build.set(
            "spec",
            json!({
                "tags": ["reg.example/app"], "builder": {"image": "reg.example/builder"},
                "source": {"blob": {"url": "https://files.example/app.zip"}},
            }),
        );
        created_at(dir.path(), second, build)
    };
    assert_eq!(build_at(1_767_607_200, "first"), "2026-01-05T10:00:00Z");
    assert_eq!(build_at(1_767_603_600, "second"), "2026-01-05T10:00:00Z");
    assert_eq!(build_at(1_767_607_201, "third"), "2026-01-05T10:00:01Z");
}

#[test]
fn a_clock_that_was_in_the_future_dates_nothing_that_comes_after() {
    let temporary = tempfile::tempdir().unwrap();
    let second = Arc::new(AtomicI64::new(4_102_444_800));
    let clock: Clock = Arc::new({
        let second = second.clone();
        move || Timestamp::from_second(second.load(Ordering::Relaxed)).unwrap()
    });
    let dir = temporary.path().to_owned();
    let store = Store::open(StoreOptions { dir, clock }).unwrap();
    let first = store.create(Object::new(Kind::Namespace, None, "first")).unwrap();
    assert_eq!(first.creation_timestamp(), Some("2100-01-01T00:00:00Z"));
    second.store(1_767_607_200, Ordering::Relaxed);
    let second = store.create(Object::new(Kind::Namespace, None, "second")).unwrap();
    assert_eq!(second.creation_timestamp(), Some("2026-01-05T10:00:00Z"));
}

#[test]
fn a_status_that_could_not_be_read_is_refused() {
    let (store, _dir) = demo();
    let mut image = Object::new(Kind::Image, Some("demo"), "i");
    image.set(
        "spec",
        json!({
            "tag": "reg.example/app", "builder": {"kind": "ClusterBuilder", "name": "b"},
            "source": {"blob": {"url": "https://files.example/app.zip"}},
        }),
    );
    let mut image = store.create(image).unwrap();
    image.set("status", json!({"conditions": "none"}));
    let error = store.update_status(image.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "admission webhook \"defaults.webhook.kpack.io\" denied the request: mutation failed: cannot decode incoming new \
         object: status.conditions: invalid type: string \"none\", expected a sequence"
    );
    image.set("status", json!({"conditions": []}));
    store.update_status(image).unwrap();
}

#[test]
fn an_owner_that_cannot_be_told_from_others_is_refused() {
    let (store, _dir) = demo();
    let owner = store.create(map("owner")).unwrap();
    for key in ["apiVersion", "kind", "name", "uid"] {
        let mut reference = owner.controller_reference();
        reference[key] = json!("");
        let mut child = map("child");
        child
            .metadata_mut()
            .insert("ownerReferences".to_owned(), json!([reference]));
        let expected = format!(
            "ConfigMap \"child\" is invalid: metadata.ownerReferences.{key}: Invalid value: \"\": must not be empty"
        );
        assert_eq!(store.create(child).unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_object_that_has_grown_too_large_keeps_its_last_state() {
    let (store, _dir) = demo();
    let mut object = map("m");
    object.set("data", json!({"a": "x".repeat(7 << 20)}));
    let mut object = store.create(object).unwrap();
    object.set("data", json!({"a": "x".repeat(8 << 20)}));
    assert!(matches!(store.update(object), Err(ApiError::TooLarge { .. })));
    let kept = store.get(Kind::ConfigMap, Some("demo"), "m").unwrap().unwrap();
    assert_eq!(kept.text("/data/a").map(str::len), Some(7 << 20));
}

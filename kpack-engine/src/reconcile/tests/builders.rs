//! Stores, stacks, lifecycles and builders reconciled step by step as the reference did it, over http with registries
//! in memory: statuses, conditions, messages, retries, images, and what was written to the registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use registry_auth::{Keychain, Reference};
use registry_client::{Client, Clock, Http, HttpPolicy};
use serde_json::{Value, json};

use cnb_order::OrderGroup;

use super::made::recorded_digest;
use super::registry::{Registries, digest};
use crate::reconcile::build::builder_of;
use crate::reconcile::builder::held;
use crate::reconcile::context::Context;
use crate::reconcile::registry_warehouse::{catalog, owner};
use crate::reconcile::{
    Account, ImageStores, Key, Outcome, ReconcileError, ReconcileOptions, Reconciler, RegistryWarehouse, SourceError,
    SourceReader,
};
use crate::runner::RouteError;
use crate::{ApiError, Kind, Object, ObjectList, Resources, Selector, Watch, WatchFilter};

/// Recorded values; the larger ones are beside the crate that makes the images.
pub(super) fn fixture(path: &str) -> Value {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/builders");
    let there = concat!(env!("CARGO_MANIFEST_DIR"), "/../cnb-layers/tests/fixtures/builders");
    let read = |dir: &str| std::fs::read(format!("{dir}/{path}"));
    let text = read(here)
        .or_else(|_| read(there))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&text).unwrap()
}

/// Objects that keep what is written to them, without any rule of an API server.
#[derive(Default)]
struct Live {
    objects: Mutex<BTreeMap<String, Object>>,
    statuses: Mutex<Vec<Value>>,
}

fn path(kind: Kind, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{}/{namespace}/{name}", kind.name()),
        None => format!("{}/{name}", kind.name()),
    }
}

fn path_of(object: &Object) -> String {
    path(object.kind(), object.namespace(), object.name())
}

impl Live {
    fn put(&self, object: Object) {
        self.objects.lock().unwrap().insert(path_of(&object), object);
    }
}

impl Resources for Live {
    fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Object>, ApiError> {
        Ok(self.objects.lock().unwrap().get(&path(kind, namespace, name)).cloned())
    }
    fn list(&self, kind: Kind, namespace: Option<&str>, selector: &Selector) -> Result<ObjectList, ApiError> {
        let objects = self.objects.lock().unwrap();
        let is_it = |object: &&Object| {
            object.kind() == kind
                && namespace.is_none_or(|namespace| object.namespace() == Some(namespace))
                && selector.matches(object)
        };
        Ok(ObjectList {
            items: objects.values().filter(is_it).cloned().collect(),
            ..ObjectList::default()
        })
    }
    fn create(&self, object: Object) -> Result<Object, ApiError> {
        panic!("nothing is created here: {object}")
    }
    fn update(&self, object: Object) -> Result<Object, ApiError> {
        panic!("nothing but statuses is written here: {object}")
    }
    fn update_status(&self, object: Object) -> Result<Object, ApiError> {
        let status = object.as_value()["status"].clone();
        self.statuses.lock().unwrap().push(status);
        self.put(object.clone());
        Ok(object)
    }
    fn delete(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<(), ApiError> {
        self.objects.lock().unwrap().remove(&path(kind, namespace, name));
        Ok(())
    }
    fn watch(&self, _: WatchFilter, _: Option<crate::ResourceVersion>) -> Result<Watch, ApiError> {
        Err(ApiError::bad_request("nothing to watch"))
    }
}

struct NoSource;

impl SourceReader for NoSource {
    fn resolve(
        &self,
        _: &rebuild_policy::SourceConfig,
        _: &Account,
    ) -> Result<rebuild_policy::ResolvedSource, SourceError> {
        Err(SourceError::new("no source"))
    }
}

/// Registry clients that reach the registries in memory.
struct Clients(Http);

impl Clients {
    fn store(&self, keychain: Arc<dyn Keychain>) -> Arc<cnb_layers::RegistryStore> {
        Arc::new(cnb_layers::RegistryStore::new(Client::with_http(
            self.0.clone(),
            keychain,
        )))
    }
}

impl ImageStores for Clients {
    fn place(&self, _: &Reference, keychain: Arc<dyn Keychain>) -> Result<crate::reconcile::ImagePlace, RouteError> {
        let store = self.store(keychain);
        Ok((store.clone(), store))
    }
    fn source(
        &self,
        _: &Reference,
        keychain: Arc<dyn Keychain>,
    ) -> Result<Arc<dyn cnb_layers::ImageSource>, RouteError> {
        Ok(self.store(keychain))
    }
    fn target(
        &self,
        _: &Reference,
        keychain: Arc<dyn Keychain>,
    ) -> Result<Arc<dyn cnb_layers::ImageTarget>, RouteError> {
        Ok(self.store(keychain))
    }
}

/// Never waits.
#[derive(Debug)]
struct Hurry;

impl Clock for Hurry {
    fn now(&self) -> std::time::SystemTime {
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_767_605_400)
    }
    fn sleep(&self, _: std::time::Duration) {}
}

struct World {
    images: Value,
    layers: Value,
    registries: Arc<Registries>,
    objects: Arc<Live>,
    version: String,
}

/// What one step came to.
struct Step {
    result: Result<Outcome, ReconcileError>,
    status: Option<Value>,
    effects: super::registry::Effects,
}

impl World {
    fn new(case: &Value, images: &Value, layers: &Value) -> Self {
        let mut hosts = vec!["reg.example", "index.docker.io"];
        hosts.extend(case["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str));
        Self {
            images: images.clone(),
            layers: layers.clone(),
            registries: Arc::new(Registries::new(&hosts)),
            objects: Arc::new(Live::default()),
            version: "v0.17.2 (git sha: 0123abc)".to_owned(),
        }
    }

    fn push(&self, reference: &Reference, name: &str) {
        let image = &self.images[name];
        let repository = reference.repository().to_string();
        for layer in image["layers"].as_array().into_iter().flatten() {
            use base64::Engine as _;
            let text = self.layers[layer.as_str().unwrap()]["base64"].as_str().unwrap();
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            self.registries.insert_blob(&repository, bytes);
        }
        if let Some(config) = image["config"].as_str() {
            self.registries.insert_blob(&repository, config.into());
        }
        for child in image["children"].as_array().into_iter().flatten() {
            let child = child.as_str().unwrap();
            let digest = self.images[child]["digest"].as_str().unwrap().parse().unwrap();
            self.push(&reference.with_digest(&digest), child);
        }
        let media_type = image["mediaType"].as_str().unwrap();
        let manifest = image["manifest"].as_str().unwrap().as_bytes();
        self.registries
            .insert_manifest(&repository, &reference.identifier(), media_type, manifest);
    }

    /// Does what comes before the action of a step.
    fn prepare(&mut self, step: &Value) {
        for push in step["push"].as_array().into_iter().flatten() {
            let reference = Reference::parse(push["ref"].as_str().unwrap()).unwrap();
            self.push(&reference, push["image"].as_str().unwrap());
        }
        for object in step["apply"].as_array().into_iter().flatten() {
            let mut object = object.clone();
            let parsed = Object::from_value(object.clone()).unwrap();
            if object.get("status").is_none()
                && let Some(old) = self.objects.objects.lock().unwrap().get(&path_of(&parsed))
                && let Some(status) = old.as_value().get("status")
            {
                object["status"] = status.clone();
            }
            self.objects.put(Object::from_value(object).unwrap());
        }
        for key in step["delete"].as_array().into_iter().flatten() {
            self.objects.objects.lock().unwrap().remove(key.as_str().unwrap());
        }
        if step["clearFail"] == true {
            self.registries.clear_rules();
        }
        self.registries.add_rules(&step["fail"]);
        for (host, login) in step["auth"].as_object().into_iter().flatten() {
            let text = |key: &str| login[key].as_str().unwrap();
            self.registries.demand(host, text("User"), text("Pass"));
        }
        if let Some(version) = step["kpackVersion"].as_str() {
            version.clone_into(&mut self.version);
        }
    }

    fn options(&self) -> ReconcileOptions {
        let policy = HttpPolicy {
            clock: Arc::new(Hurry),
            ..HttpPolicy::default()
        };
        let http = Http::with_transport(&policy, self.registries.clone());
        let clock: crate::store::Clock = Arc::new(|| "2026-01-05T09:30:00Z".parse().unwrap());
        let warehouse = RegistryWarehouse::new(Arc::new(Clients(http)), self.version.clone(), clock.clone());
        ReconcileOptions::new(Arc::new(warehouse), Arc::new(NoSource), clock)
    }

    fn reconcile(&self, target: &str) -> Step {
        let parts: Vec<&str> = target.split('/').collect();
        let (namespace, name) = match parts[1..] {
            [namespace, name] => (Some(namespace), name),
            [name] => (None, name),
            _ => panic!("{target}"),
        };
        let kind = Kind::all().find(|kind| kind.name() == parts[0]).unwrap();
        self.objects.statuses.lock().unwrap().clear();
        self.registries.take_effects();
        let reconciler = Reconciler::new(self.objects.clone(), self.options());
        let result = reconciler.reconcile(&Key::new(kind, namespace, name));
        let mut statuses = std::mem::take(&mut *self.objects.statuses.lock().unwrap());
        assert!(statuses.len() < 2, "{target} writes its status twice");
        Step {
            result,
            status: statuses.pop(),
            effects: self.registries.take_effects(),
        }
    }

    /// A value with the digests of the reference's compressor, and without what was not recorded.
    fn canonical(&self, value: &Value) -> Value {
        let mut value = value.clone();
        let conditions = value.get_mut("conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            condition["lastTransitionTime"] = json!("<time>");
        }
        serde_json::from_str(&self.registries.canonical(&value.to_string())).unwrap()
    }

    fn image(&self, reference: &str) -> (String, Vec<u8>) {
        // `…:tag@digest` is found by its digest.
        let parsed = Reference::parse(reference).unwrap();
        let key = format!("{}@{}", parsed.repository(), parsed.digest().unwrap());
        self.registries
            .manifest(&key)
            .unwrap_or_else(|| panic!("{key} was not pushed"))
    }
}

/// Adds a line for each difference.
fn differences(got: &Value, want: &Value, path: &str, found: &mut Vec<String>) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    match (got, want) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                differences(
                    &got[name.as_str()],
                    &want[name.as_str()],
                    &format!("{path}.{name}"),
                    found,
                );
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &format!("{path}[{number}]"), found);
            }
        }
        _ if got == want || (is_empty(got) && is_empty(want)) => {}
        _ => found.push(format!("  {path}:\n    got  {got}\n    want {want}")),
    }
}

/// Texts that come from the reference's registry client and document readers. Ours say the same in other words:
/// which repository, which answer of the registry.
fn same_meaning(ours: &str, theirs: &str) -> bool {
    let theirs = theirs.rsplit_once(": GET ").map_or(theirs, |(context, _)| {
        if ours.contains(context) {
            &theirs[context.len() + 2..]
        } else {
            theirs
        }
    });
    let kinds = [
        ("no child with platform", "no image for linux/amd64"),
        ("manifest digest", "other bytes than those of"),
        ("unsupported MediaType", "media type"),
        ("Get \"", "connect"),
    ];
    if let Some((_, ours_says)) = kinds.iter().find(|(start, _)| theirs.starts_with(start)) {
        return ours.contains(ours_says);
    }
    let Some((_, rest)) = theirs.split_once(" https://") else {
        return false;
    };
    let Some((url, answer)) = rest.split_once(": ") else {
        return false;
    };
    let host = url.split('/').next().unwrap_or_default();
    let repository = url.split("/v2/").nth(1).unwrap_or_default();
    let repository = ["/manifests/", "/blobs/"]
        .iter()
        .find_map(|part| repository.split_once(part))
        .map_or("", |(repository, _)| repository);
    // A status stands for itself, a code for its message too.
    let told = match answer.strip_prefix("unexpected status code ") {
        Some(status) => ours.contains(&status[..3]) || (status.starts_with("404") && ours.contains("not found")),
        None if answer.starts_with("Content-Length") => true,
        None => {
            let codes = answer
                .trim_start_matches("multiple errors returned: ")
                .split(": ")
                .next()
                .unwrap_or_default();
            ours.contains(codes) || (codes.ends_with("_UNKNOWN") && ours.contains("not found"))
        }
    };
    ours.contains(host) && ours.contains(repository) && told
}

/// Puts the recorded message in the place of ours where both mean the same.
fn settle_messages(got: &mut Value, expect: &Value) {
    let loose = expect["looseMessage"] == true;
    let Some(error) = expect["error"].as_str() else {
        return;
    };
    let conditions = got.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let ours = condition["message"].as_str().unwrap_or_default().to_owned();
        if !ours.is_empty() && (loose || same_meaning(&ours, error)) {
            condition["message"] = json!(error);
        }
    }
}

/// Of an image that was not recorded, neither are the digests of its own layers, and so of its manifest. The step that
/// first has one tells what it is in the reference; every later one must have the same.
fn learn_digests(world: &World, step: &Step, expect: &Value) {
    let (Some(status), Some(wanted)) = (&step.status, expect["status"]["latestImage"].as_str()) else {
        return;
    };
    let ours = status["latestImage"].as_str().unwrap_or_default();
    if let (Some((tag, ours)), Some((other, theirs))) = (ours.split_once('@'), wanted.split_once('@'))
        && tag == other
    {
        world.registries.learn(ours, theirs);
    }
    let uploaded = world.canonical(&json!(step.effects.uploaded));
    let only_in = |one: &Value, other: &Value| -> Vec<String> {
        let (one, other) = (
            one.as_array().cloned().unwrap_or_default(),
            other.as_array().cloned().unwrap_or_default(),
        );
        let digests = one.iter().filter(|blob| !other.contains(blob));
        digests
            .map(|blob| blob.as_str().unwrap().split('@').nth(1).unwrap().to_owned())
            .collect()
    };
    let theirs = &expect["registry"]["blobsUploaded"];
    let (ours, theirs) = (only_in(&uploaded, theirs), only_in(theirs, &uploaded));
    // At most stack.toml and order.toml.
    if ours.len() == theirs.len() && ours.len() <= 2 {
        ours.iter()
            .zip(&theirs)
            .for_each(|(ours, theirs)| world.registries.learn(ours, theirs));
    }
}

fn check(world: &World, step: &Step, expect: &Value, quiet: bool) -> Vec<String> {
    let mut found = Vec::new();
    if quiet {
        learn_digests(world, step, expect);
    }
    if expect["panic"].is_string() {
        // Where the reference crashes: an error, and a condition that says so.
        let told = step.status.as_ref().is_some_and(|status| {
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            conditions
                .iter()
                .any(|one| one["status"] == "False" && one["message"].as_str().is_some_and(|text| !text.is_empty()))
        });
        if step.result.is_ok() || !told {
            found.push(format!(
                "  no error where the reference crashes: {:?} {:?}",
                step.result, step.status
            ));
        }
        return found;
    }
    let mut got = step
        .status
        .as_ref()
        .map_or(Value::Null, |status| world.canonical(status));
    settle_messages(&mut got, expect);
    differences(&got, &expect["status"], "status", &mut found);
    if step.status.is_some() != (expect["updated"] == true) {
        found.push(format!("  status written: {}", step.status.is_some()));
    }
    check_result(&step.result, expect, &mut found);
    check_effects(world, step, expect, &mut found);
    if expect["builder"].is_object() {
        check_builder(world, step, expect, &mut found);
    }
    found
}

fn check_result(result: &Result<Outcome, ReconcileError>, expect: &Value, found: &mut Vec<String>) {
    match (result, expect["error"].as_str()) {
        (Ok(_), None) => {}
        (Err(error), Some(text)) => {
            let ours = error.to_string();
            if ours != text && expect["looseMessage"] != true && !same_meaning(&ours, text) {
                found.push(format!("  error:\n    got  {ours}\n    want {text}"));
            }
            let want = expect["retry"] == true;
            if error.is_retryable() != want {
                found.push(format!("  tried again: {}, want {want} ({text})", error.is_retryable()));
            }
        }
        (got, want) => found.push(format!("  result {got:?}, want error {want:?}")),
    }
}

fn check_effects(world: &World, step: &Step, expect: &Value, found: &mut Vec<String>) {
    let Some(registry) = expect["registry"].as_object() else {
        if !step.effects.manifests.is_empty() {
            found.push(format!("  manifests were put: {:?}", step.effects.manifests));
        }
        return;
    };
    let failed = expect["error"].is_string();
    let mut got = json!({"manifestsPut": step.effects.manifests});
    if !failed {
        got["blobsUploaded"] = json!(step.effects.uploaded);
        got["blobsMounted"] = json!(step.effects.mounted);
    }
    let mut got = world.canonical(&got);
    let mut want = json!(registry);
    for list in ["blobsUploaded", "blobsMounted"] {
        for side in [&mut got, &mut want] {
            if let Some(list) = side[list].as_array_mut() {
                list.sort_by_key(ToString::to_string);
            }
        }
    }
    differences(&got, &want, "registry", found);
}

fn check_builder(world: &World, step: &Step, expect: &Value, found: &mut Vec<String>) {
    let Some(status) = &step.status else {
        return;
    };
    let (media_type, manifest) = world.image(status["latestImage"].as_str().unwrap());
    let repository = Reference::parse(status["latestImage"].as_str().unwrap())
        .unwrap()
        .repository()
        .to_string();
    let canonical = super::made::canonical_manifest(&manifest, |digest| world.registries.blob(&repository, digest))
        .unwrap_or_else(|| String::from_utf8(manifest.clone()).unwrap());
    let parsed: Value = serde_json::from_slice(&manifest).unwrap();
    let config = world
        .registries
        .blob(&repository, parsed["config"]["digest"].as_str().unwrap())
        .unwrap();
    let config = String::from_utf8(config).unwrap();
    let diff_ids = serde_json::from_str::<Value>(&config).unwrap()["rootfs"]["diff_ids"].clone();
    let layers: Vec<Value> = parsed["layers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(diff_ids.as_array().unwrap())
        .map(|(layer, diff_id)| {
            let blob = world.registries.blob(&repository, layer["digest"].as_str().unwrap());
            let digest = blob.as_deref().and_then(recorded_digest);
            let digest = digest.map_or_else(|| layer["digest"].clone(), Value::String);
            json!({"diffId": diff_id, "digest": digest, "mediaType": layer["mediaType"]})
        })
        .collect();
    let tag = status["latestImage"]
        .as_str()
        .unwrap()
        .split('@')
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let got = json!({
        "ref": world.registries.canonical(status["latestImage"].as_str().unwrap()),
        "tag": tag,
        "tagPointsTo": digest(canonical.as_bytes()),
        "mediaType": media_type,
        "manifest": canonical,
        "config": config,
        "layers": layers,
    });
    let mut want = expect["builder"].clone();
    for layer in want["layers"].as_array_mut().unwrap() {
        layer
            .as_object_mut()
            .unwrap()
            .retain(|key, _| ["diffId", "digest", "mediaType"].contains(&key.as_str()));
    }
    differences(&got, &want, "builder", found);
    let run_image = &expect["runImage"];
    let (_, bytes) = world.image(status["stack"]["runImage"].as_str().unwrap());
    let same = world.images[run_image["sameBytesAsImage"].as_str().unwrap()]["manifest"]
        .as_str()
        .unwrap();
    if bytes != same.as_bytes() || status["stack"]["runImage"] != run_image["ref"] {
        found.push(format!("  run image is not {run_image}"));
    }
}

fn check_build_read(world: &World, read: &Value, expect: &Value) -> Vec<String> {
    let (loose, expect) = (expect["looseMessage"] == true, &expect["buildRead"]);
    let mut builder = json!({});
    match read.get("ref") {
        Some(reference) => builder["ref"] = reference.clone(),
        None => builder["image"] = read["image"].clone(),
    }
    let build = json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Build", "metadata": {"name": "x", "namespace": "apps"},
        "spec": {"tags": ["reg.example/app"], "builder": builder, "serviceAccountName": "default"},
    });
    let build = rebuild_policy::decode(&build).unwrap();
    let options = world.options();
    match (builder_of(&*world.objects, &options, &build), expect["error"].as_str()) {
        (Ok(found), None) => {
            let apis = found.platform_apis;
            let got = json!({
                "stackId": found.stack_id, "runImage": found.run_image, "uid": found.uid, "gid": found.gid,
                "platformApis": apis, "image": world.registries.canonical(&found.image),
            });
            let mut differs = Vec::new();
            differences(&got, &expect["builder"], "builder", &mut differs);
            differs
        }
        (Err(error), Some(_)) if error.is_retryable() => vec![format!("  tried again: {error}")],
        (Err(error), Some(text)) if error.to_string() == text || loose || same_meaning(&error.to_string(), text) => {
            Vec::new()
        }
        (got, _) => vec![format!("  got {got:?}\n  want {expect}")],
    }
}

/// Steps in which we do otherwise, and why: file, case, what may differ, reason.
const OTHERWISE: [(&str, &str, &str, &str); 5] = [
    (
        "store",
        "ping answers 500",
        "",
        "no request is sent to /v2/ before the one that is wanted, so its answer does not matter",
    ),
    ("store", "ping answers 404", "", "as above"),
    (
        "store",
        "connection refused is permanent",
        "tried again: true",
        "a registry that cannot be reached just now is tried again with back-off",
    ),
    (
        "store",
        "config blob missing",
        "tried again: true",
        "a missing blob may come, as a missing manifest may; the reference tries only the latter again",
    ),
    (
        "create",
        "a buildpack layer equal to the lifecycle layer is dropped and one equal to a base layer is kept",
        "registry.blobsMounted[1]",
        "a blob that two repositories hold is taken from the base image's, not from the buildpack's",
    ),
];

/// Replays a file of cases; returns how many steps were compared.
fn replay(file: &str) -> usize {
    let (images, layers) = (fixture("images.json"), fixture("layers.json"));
    let cases = fixture(&format!("{file}/cases.json"));
    let (mut wrong, mut compared, mut differing) = (Vec::new(), 0, 0);
    for case in cases["cases"].as_array().unwrap() {
        let mut world = World::new(case, &images, &layers);
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let act = &step["do"];
            world.prepare(act);
            let found = if let Some(read) = act.get("buildRead") {
                check_build_read(&world, read, &step["expect"])
            } else if let Some(target) = act["reconcile"].as_str().filter(|target| !target.is_empty()) {
                let outcome = world.reconcile(target);
                // An object that is gone is not reconciled, and nothing was recorded.
                if step.get("expect").is_some() {
                    check(&world, &outcome, &step["expect"], act["quiet"] == true)
                } else {
                    Vec::new()
                }
            } else {
                continue;
            };
            compared += 1;
            let known: Vec<_> = OTHERWISE
                .iter()
                .filter(|(other, name, ..)| *other == file && case["name"] == *name)
                .collect();
            if !known.is_empty() {
                let only_known = found
                    .iter()
                    .all(|found| known.iter().any(|(_, _, what, _)| found.contains(what)));
                if only_known {
                    differing += usize::from(!found.is_empty());
                    continue;
                }
            }
            if !found.is_empty() {
                wrong.push(format!(
                    "{} step {number} {}:\n{}",
                    case["name"],
                    act["reconcile"],
                    found.join("\n")
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    let expected = OTHERWISE.iter().filter(|(other, ..)| *other == file).count();
    assert_eq!(differing, expected, "a deviation that is listed is none any more");
    compared
}

/// Resolves one reference; returns what the recorder noted of it.
fn resolve(world: &World, within: &Value, reference: &Value) -> Value {
    let options = world.options();
    let context = Context {
        resources: &*world.objects,
        options: &options,
    };
    let name = within["store"].as_str().unwrap_or_default();
    let store: Option<rebuild_policy::ClusterStore> = context.read(&Key::new(Kind::ClusterStore, None, name)).unwrap();
    let namespace = within["namespace"].as_str().unwrap_or_default();
    let held = held(context, namespace, store.as_ref(), &Account::default()).unwrap();
    let catalog = catalog(&held).unwrap();
    let order = [OrderGroup {
        group: vec![serde_json::from_value(reference.clone()).unwrap()],
    }];
    let resolved = match cnb_order::resolve_order(&order, &catalog) {
        Ok(resolved) => resolved,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let chosen = resolved.groups[0].entries[0].buildpack;
    let held = &held[owner(&chosen, &held).unwrap()];
    let owner = match held.kind {
        cnb_order::OwnerKind::Buildpack => format!("Buildpack/{namespace}/{}", held.name),
        kind => format!("{}/{}", kind.as_str(), held.name),
    };
    let mut item = json!({
        "id": chosen.item.id, "version": chosen.item.version, "diffId": chosen.item.diff_id, "from": owner,
    });
    // An account nobody named is the builder's own, which these cases do not have.
    if !held.account.name.is_empty() {
        item["serviceAccount"] = json!(format!("{}/{}", held.account.namespace, held.account.name));
    }
    let layers = resolved.buildpacks.iter().map(|one| {
        let mut layer = json!({"id": one.item.id, "version": one.item.version, "diffId": one.item.diff_id});
        if !one.item.homepage.is_empty() {
            layer["homepage"] = json!(one.item.homepage);
        }
        layer
    });
    json!({"resolved": item, "layers": layers.collect::<Vec<_>>()})
}

fn compare_resolved(got: &Value, wanted: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let layers_error = wanted["layersError"].as_str().unwrap_or_default();
    match wanted["error"].as_str() {
        // Names and digests of items are looked at when the layers are fetched.
        None if layers_error.contains("BAD REF") || layers_error.contains("sha256:12") => {
            differences(&got["resolved"], &wanted["resolved"], "resolved", &mut found);
        }
        None if !layers_error.is_empty() => {
            differences(&got["error"], &wanted["layersError"], "error", &mut found);
        }
        // Where the reference crashes, ours finds the child in another object.
        None if wanted["panic"].is_string() => {
            differences(
                &json!(got["layers"].as_array().map(Vec::len)),
                &json!(3),
                "layers",
                &mut found,
            );
        }
        Some(error) => differences(&got["error"], &json!(error), "error", &mut found),
        None => {
            let mut wanted = wanted.clone();
            // An account without a name is the namespace's default one.
            if let Some(namespace) = wanted["resolved"]["serviceAccount"]
                .as_str()
                .and_then(|text| text.strip_suffix('/'))
            {
                wanted["resolved"]["serviceAccount"] = json!(format!("{namespace}/default"));
            }
            differences(&got["resolved"], &wanted["resolved"], "resolved", &mut found);
            differences(&got["layers"], &wanted["layers"], "layers", &mut found);
        }
    }
    found
}

#[test]
fn orders_are_resolved_as_recorded_with_the_account_that_reads_each_layer() {
    let (mut compared, mut cycles) = (0, 0);
    for file in ["cases", "cycles"] {
        let cases = fixture(&format!("../../../../cnb-order/tests/fixtures/resolution/{file}.json"));
        for case in cases["cases"].as_array().unwrap() {
            let mut world = World::new(case, &Value::Null, &Value::Null);
            for step in case["steps"].as_array().unwrap() {
                let (act, expect) = (&step["do"], &step["expect"]);
                world.prepare(act);
                if expect["crash"].is_string() {
                    for reference in act["resolve"]["refs"].as_array().unwrap() {
                        let got = resolve(&world, &act["resolve"], reference);
                        let error = got["error"].as_str().unwrap_or_default();
                        assert!(
                            error.contains(" contains itself: ") && error.contains(" -> "),
                            "{case}: {got}"
                        );
                        cycles += 1;
                    }
                }
                for wanted in expect["resolved"].as_array().into_iter().flatten() {
                    compared += 1;
                    let found = compare_resolved(&resolve(&world, &act["resolve"], &wanted["ref"]), wanted);
                    assert!(
                        found.is_empty(),
                        "{}: {}\n{}",
                        case["name"],
                        wanted["ref"],
                        found.join("\n")
                    );
                }
            }
        }
    }
    assert_eq!((compared, cycles), (135, 3));
}

// Cases `manifest unknown is a network error and retried`, `not found with an empty body` (A20), `unauthorized is permanent`,
// `forbidden is permanent` (A21): compared is also whether it is tried again.
// rows 10.4/A20 10.4/A21
#[test]
fn stores_and_buildpacks_are_read_as_recorded() {
    assert_eq!(replay("store"), 119);
}

#[test]
fn stacks_are_read_as_recorded() {
    assert_eq!(replay("stack"), 65);
}

#[test]
fn lifecycles_are_read_as_recorded() {
    assert_eq!(replay("lifecycle"), 25);
}

// Compared is what was written: every blob once, the manifest under its tag and under that of the time.
// row 10.4/A23
#[test]
fn builders_are_made_as_recorded() {
    assert_eq!(replay("create"), 192);
}

#[test]
fn builders_are_refused_as_recorded() {
    assert_eq!(replay("validation"), 240);
}

// Case `reconciled again without change`: compared is also what was written, which is nothing.
// row 10.4/A22
#[test]
fn builders_follow_changes_as_recorded() {
    assert_eq!(replay("changes"), 77);
}

#[test]
fn builders_say_how_they_stand_as_recorded() {
    assert_eq!(replay("conditions"), 184);
}

#[test]
fn builds_read_builders_as_recorded() {
    assert_eq!(replay("build-read"), 30);
}

#[test]
fn a_build_waits_for_a_registry_that_is_away_but_not_for_a_builder_that_is_not_there() {
    for (path, answer, again) in [
        ("manifests", json!({"status": 404, "body": ""}), false),
        (
            "manifests",
            json!({"status": 404, "body": r#"{"errors": [{"code": "NAME_UNKNOWN"}]}"#}),
            false,
        ),
        ("blobs", json!({"status": 404, "body": ""}), false),
        ("manifests", json!({"status": 503, "body": ""}), true),
        ("blobs", json!({"status": 429, "body": ""}), true),
        ("manifests", json!({"dial": "connection refused"}), true),
    ] {
        let mut world = World::new(&Value::Null, &fixture("images.json"), &fixture("layers.json"));
        let mut rule = answer.clone();
        rule["path"] = json!(format!("/{path}/"));
        world.prepare(&json!({"push": [{"image": "bi-ok", "ref": "reg.example/bb:1"}], "fail": [rule]}));
        let build = json!({
            "apiVersion": "kpack.io/v1alpha2", "kind": "Build", "metadata": {"name": "x", "namespace": "apps"},
            "spec": {"tags": ["reg.example/app"], "builder": {"image": "reg.example/bb:1"}},
        });
        let build = rebuild_policy::decode(&build).unwrap();
        let error = builder_of(&*world.objects, &world.options(), &build).unwrap_err();
        assert_eq!(error.is_retryable(), again, "{path} {answer}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("unable to fetch remote builder image: "), "{text}");
    }
}

/// Goes through a case whose last step is to make a builder, with other rules for that; returns how it ended.
fn last_step(name: &str, rules: &Value) -> (World, Step) {
    let cases = fixture("conditions/cases.json");
    let case = cases["cases"]
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["name"] == name);
    let case = case.unwrap();
    let mut world = World::new(case, &fixture("images.json"), &fixture("layers.json"));
    let (last, before) = case["steps"].as_array().unwrap().split_last().unwrap();
    for step in before {
        world.prepare(&step["do"]);
        world.reconcile(step["do"]["reconcile"].as_str().unwrap());
    }
    let mut act = last["do"].clone();
    act["fail"] = rules.clone();
    world.prepare(&act);
    let step = world.reconcile(act["reconcile"].as_str().unwrap());
    (world, step)
}

// rows 10.4/A20 10.4/A21
#[test]
fn a_push_that_finds_nothing_there_is_tried_again_and_one_that_is_refused_is_not() {
    for (status, again) in [(404, true), (401, false), (403, false)] {
        let rule = json!([{"method": "PUT", "path": "^/v2/team/builder/manifests/one-run-image", "status": status, "body": ""}]);
        let (_, step) = last_step("ClusterBuilder: push refused", &rule);
        let error = step.result.unwrap_err();
        assert_eq!(error.is_retryable(), again, "{status}: {error}");
    }
}

// rows 10.4/A22 10.4/A23
#[test]
fn a_new_builder_is_written_under_two_tags_and_the_same_one_not_again() {
    let (world, step) = last_step("ClusterBuilder: push refused", &Value::Null);
    assert!(step.result.is_ok(), "{:?}", step.result);
    let written = |tag: &str| {
        let found = step
            .effects
            .manifests
            .iter()
            .filter(|name| name.contains(&format!("team/builder:{tag}")));
        found.count()
    };
    assert_eq!(
        (written("one"), written("<timestamp>")),
        (2, 2),
        "{:?}",
        step.effects.manifests
    );
    let again = world.reconcile("ClusterBuilder/b");
    assert!(again.result.is_ok(), "{:?}", again.result);
    let effects = again.effects;
    assert!(
        effects.manifests.is_empty() && effects.uploaded.is_empty() && effects.mounted.is_empty(),
        "{effects:?}"
    );
}

//! Every recorded step.

use std::sync::{Arc, Mutex};

use rebuild_policy::{
    BuildpackStatus, ClusterStackSpec, ClusterStackStatus, HelperImages, ImageFacts, PodOptions, ResolvedLifecycle,
    ResolvedSource, SourceConfig, StoreImage,
};
use serde_json::{Value, json};

use super::frozen::Frozen;
use crate::reconcile::{
    Account, BuilderInputs, BuilderRecord, Key, Outcome, ReconcileError, ReconcileOptions, Reconciler, SourceError,
    SourceReader, StepLogs, Warehouse, WarehouseError,
};
use crate::{Kind, Object};

/// What the recorder answered.
struct Recorded {
    input: Value,
    tags: Mutex<Vec<String>>,
}

impl Recorded {
    fn fail<T>(&self, field: &str, value: impl FnOnce(&Value) -> T) -> Result<T, WarehouseError> {
        match self.input[field].as_str() {
            Some(message) => Err(WarehouseError::permanent(message)),
            None => Ok(value(&self.input)),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    rebuild_policy::decode(value).unwrap()
}

impl Warehouse for Recorded {
    fn buildpacks(&self, _: &[StoreImage], _: &Account) -> Result<Vec<BuildpackStatus>, WarehouseError> {
        self.fail("readError", |input| read(&input["read"]))
    }
    fn stack(&self, _: &ClusterStackSpec, _: &Account) -> Result<ClusterStackStatus, WarehouseError> {
        self.fail("readError", |input| read(&input["read"]))
    }
    fn lifecycle(&self, _: &str, _: &Account) -> Result<ResolvedLifecycle, WarehouseError> {
        self.fail("readError", |input| read(&input["read"]))
    }
    fn builder(&self, inputs: &BuilderInputs<'_>) -> Result<BuilderRecord, WarehouseError> {
        self.tags.lock().unwrap().push(inputs.tag.to_owned());
        self.fail("createError", |input| {
            let record = &input["record"];
            BuilderRecord {
                image: record["Image"].as_str().unwrap_or_default().to_owned(),
                stack: read(&record["Stack"]),
                lifecycle: read(&record["Lifecycle"]),
                buildpacks: read(&record["Buildpacks"]),
                order: read(&record["Order"]),
                os: record["OS"].as_str().unwrap_or_default().to_owned(),
            }
        })
    }
    fn facts(&self, image: &str, _: &Account) -> Result<ImageFacts, WarehouseError> {
        if let Some(message) = self.input["generateError"].as_str() {
            return Err(WarehouseError::permanent(message));
        }
        let found = &self.input["images"][image];
        if found.is_null() {
            return Err(WarehouseError::permanent(format!("image {image} not found")));
        }
        Ok(ImageFacts {
            labels: read(&found["labels"]),
            env: read(&found["env"]),
            os: "linux".to_owned(),
        })
    }
}

impl SourceReader for Recorded {
    fn resolve(&self, _: &SourceConfig, _: &Account) -> Result<ResolvedSource, SourceError> {
        match (self.input["resolveError"].as_str(), self.input.get("resolved")) {
            (Some(message), _) => Err(SourceError::new(message)),
            (None, Some(resolved)) => Ok(read(resolved)),
            (None, None) => Err(SourceError::new("no source")),
        }
    }
}

impl StepLogs for Recorded {
    fn read(&self, _pod: &Object, _container: &str) -> Option<Vec<u8>> {
        self.input["log"].as_str().map(|log| log.as_bytes().to_vec())
    }
}

struct Step {
    result: Result<Outcome, ReconcileError>,
    writes: Vec<Value>,
    tags: Vec<String>,
}

fn step(input: &Value, kind: Kind, accounts: bool) -> Step {
    let key = input["key"].as_str().unwrap();
    let (namespace, name) = key
        .split_once('/')
        .map_or((None, key), |(namespace, name)| (Some(namespace), name));
    let mut objects = input["objects"].as_array().unwrap().clone();
    if accounts {
        for namespace in ["n", "team-a"] {
            objects.push(json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": namespace},
            }));
        }
    }
    let store = Arc::new(Frozen::new(&objects));
    let world = Arc::new(Recorded {
        input: input.clone(),
        tags: Mutex::default(),
    });
    let helper = |name: &str| format!("kpack.example/{name}");
    let clock = Arc::new(|| "2026-01-05T09:30:00Z".parse().unwrap());
    let mut options = ReconcileOptions::new(world.clone(), world.clone(), clock);
    options.logs = world.clone();
    options.priority_classes = input["enablePriorityClasses"] == true;
    options.path_aware = input["shallowClone"] == true;
    options.pods = PodOptions {
        images: HelperImages {
            build_init: helper("build-init"),
            completion: helper("completion"),
            rebase: helper("rebase"),
            build_waiter: helper("build-waiter"),
        },
        ssh_trust_unknown_hosts: input["sshTrustUnknownHosts"] == true,
        injected_sidecar_support: input["injectedSidecarSupport"] == true,
        ..PodOptions::default()
    };
    let result = Reconciler::new(store.clone(), options).reconcile(&Key::new(kind, namespace, name));
    let tags = world.tags.lock().unwrap().clone();
    Step {
        result,
        writes: store.take_writes(),
        tags,
    }
}

fn cases(document: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(document).unwrap();
    document["cases"].as_array().unwrap().clone()
}

/// Makes what is recorded and what is written comparable: no times of conditions, no type where the recorder saw none,
/// and typed so that absent and empty are the same.
fn comparable(write: &Value) -> Value {
    let mut write = write.clone();
    if let Some(fields) = write.as_object_mut() {
        fields.remove("preconditions");
    }
    if let Some(object) = write["object"].as_object_mut() {
        object.remove("apiVersion");
        object.remove("kind");
        for condition in object
            .get_mut("status")
            .and_then(|status| status["conditions"].as_array_mut())
            .into_iter()
            .flatten()
        {
            condition["lastTransitionTime"] = Value::Null;
        }
        if write["resource"] == "persistentvolumeclaims" {
            object_without_status(&mut write);
        }
    }
    let text = stamp(&write.to_string());
    let mut write: Value = serde_json::from_str(&text).unwrap();
    if write["object"].is_null() {
        write.as_object_mut().unwrap().remove("object");
    }
    write
}

fn object_without_status(write: &mut Value) {
    if let Some(object) = write["object"].as_object_mut() {
        object.remove("status");
    }
}

/// Replaces `.20260105.093000` by what the recorder wrote for the time of recording.
fn stamp(text: &str) -> String {
    text.replace(".20260105.093000", ".<YYYYMMDD>.<HHMMSS>")
        .replace(".20260105.100000", ".<YYYYMMDD>.<HHMMSS>")
        .replace("Mon, 05 Jan 2026 09:30:00 +0000", "<RFC1123Z>")
}

fn difference(got: &Value, want: &Value, path: &str) -> String {
    match (got, want) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort();
            names.dedup();
            let inner =
                |name: &String| difference(&got[name.as_str()], &want[name.as_str()], &format!("{path}.{name}"));
            names.into_iter().map(inner).collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => (0..one.len())
            .map(|i| difference(&one[i], &other[i], &format!("{path}[{i}]")))
            .collect(),
        _ if got == want => String::new(),
        _ => format!("  {path}:\n    got  {got}\n    want {want}\n"),
    }
}

/// Compares one step with what was recorded; `known` are deviations, by case and reason.
fn check(case: &Value, step: &Step) -> Option<String> {
    let expect = &case["expect"];
    let want: Vec<Value> = expect["writes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(comparable)
        .collect();
    let got: Vec<Value> = step.writes.iter().map(comparable).collect();
    let (mut got, mut want) = (got, want);
    forgive(case, &mut got, &mut want);
    let mut found = difference(&json!(got), &json!(want), "writes");
    if step.result.is_err() == expect["error"].is_null() {
        found.push_str(&format!("  result {:?}, want error {}\n", step.result, expect["error"]));
    }
    if let (Err(error), Some(message)) = (&step.result, expect["error"].as_str())
        && !message.starts_with("error creating build")
        && error.to_string() != message
    {
        found.push_str(&format!("  error {error}, want {message}\n"));
    }
    if let Some(tag) = expect["resolvedTag"].as_str()
        && step.tags != [tag]
    {
        found.push_str(&format!("  tags {:?}, want {tag}\n", step.tags));
    }
    (!found.is_empty()).then(|| format!("{}:\n{found}", case["name"]))
}

/// What we do otherwise, on purpose.
fn forgive(case: &Value, got: &mut Vec<Value>, want: &mut Vec<Value>) {
    let name = case["name"].as_str().unwrap();
    for (got, want) in got.iter_mut().zip(want.iter_mut()) {
        if got["resource"] == "builds" && name.starts_with("volume cache") {
            // The first Build has its cache already.
            want["object"]["spec"]["cache"] = got["object"]["spec"]["cache"].clone();
        }
        if name == "pod generation fails permanently" {
            // The recorder's failure has no cause; ours is that of reading the builder image.
            want["object"]["status"]["conditions"][0]["message"] =
                json!("unable to fetch remote builder image: no such builder");
        }
        if name.starts_with("last build running") || name == "running builds are not counted" {
            // The status names the running Build, whatever was written before.
            for field in [
                "latestBuildRef",
                "latestBuildImageGeneration",
                "latestBuildReason",
                "buildCounter",
            ] {
                want["object"]["status"][field] = got["object"]["status"][field].clone();
            }
        }
        if name.ends_with("no store given") {
            // The recorder's builder claims a generation that there is no store for.
            want["object"]["status"]["observedStoreGeneration"] = Value::Null;
            got["object"]["status"]["observedStoreGeneration"] = Value::Null;
        }
    }
    if name.starts_with("sidecar mode") {
        // The pod is replaced where the reference patches it.
        got.retain(|write| write["resource"] != "pods");
        want.retain(|write| write["resource"] != "pods");
    }
}

/// Cases in which a Build fails where the reference tries the same again for ever.
const FAIL_FOR_GOOD: [&str; 3] = [
    "succeeded with undecodable message",
    "succeeded with empty message",
    "succeeded without completion container",
];

fn all_pass(total: usize, failures: Vec<String>) {
    assert!(
        failures.is_empty(),
        "{} of {total} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn images_are_reconciled_as_recorded() {
    let cases = cases(include_str!("../../../tests/fixtures/reconcile/reconcile-image.json"));
    let failures = cases
        .iter()
        .filter_map(|case| check(case, &step(&case["input"], Kind::Image, false)));
    all_pass(cases.len(), failures.collect());
}

// Case `pod generation fails permanently`: the Build is failed, and its pod is not tried again.
// row 10.2/D40
#[test]
fn builds_are_reconciled_as_recorded() {
    let cases = cases(include_str!("../../../tests/fixtures/reconcile/reconcile-build.json"));
    let failures = cases.iter().filter_map(|case| {
        let step = step(&case["input"], Kind::Build, false);
        if FAIL_FOR_GOOD.contains(&case["name"].as_str().unwrap()) {
            let condition = &step.writes[0]["object"]["status"]["conditions"][0];
            let failed = condition["status"] == "False"
                && condition["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("failed to get build metadata from build pod");
            return (!failed).then(|| format!("{}: {condition}", case["name"]));
        }
        check(case, &step)
    });
    all_pass(cases.len(), failures.collect());
}

#[test]
fn source_resolvers_are_reconciled_as_recorded() {
    let cases = cases(include_str!(
        "../../../tests/fixtures/reconcile/reconcile-sourceresolver.json"
    ));
    let failures = cases.iter().filter_map(|case| {
        let step = step(&case["input"], Kind::SourceResolver, false);
        let polled = step.result.as_ref().is_ok_and(|outcome| outcome.again_after.is_some());
        // A source that cannot be reached is looked at again here, and for 10 hours not there.
        let unknown = case["input"]["resolved"]["git"]["type"] == "Unknown";
        let want = case["expect"]["polledAgain"] == true || unknown;
        check(case, &step).or_else(|| (polled != want).then(|| format!("{}: polled {polled}", case["name"])))
    });
    all_pass(cases.len(), failures.collect());
}

#[test]
fn stores_stacks_and_builders_are_reconciled_as_recorded() {
    let cases = cases(include_str!(
        "../../../tests/fixtures/reconcile/reconcile-cluster-kinds.json"
    ));
    let failures = cases.iter().filter_map(|case| {
        let kind = match case["input"]["op"].as_str().unwrap() {
            "reconcile-clusterstore" => Kind::ClusterStore,
            "reconcile-clusterstack" => Kind::ClusterStack,
            "reconcile-clusterbuilder" => Kind::ClusterBuilder,
            "reconcile-builder" => Kind::Builder,
            other => panic!("{other}"),
        };
        check(case, &step(&case["input"], kind, true))
    });
    all_pass(cases.len(), failures.collect());
}

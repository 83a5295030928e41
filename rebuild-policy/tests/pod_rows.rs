//! What each part of a Build adds to its Pod, one rule a test: the rows of the reference's table about pods.
#![allow(clippy::unwrap_used, reason = "what is missing in a pod must stop its test")]

mod fixture;

use std::sync::LazyLock;

use fixture::cluster::{Cluster, options};
use fixture::{cases, read};
use rebuild_policy::{PodError, plan_pod};
use serde_json::{Value, json};

static RECORDED: LazyLock<Vec<Value>> = LazyLock::new(|| cases(include_str!("fixtures/resources/build-pod.json")));

/// A Build of a git source with two tags, its service account and its builder.
fn plain() -> Value {
    let case = RECORDED.iter().find(|case| case["name"] == "git source plain");
    case.unwrap()["input"].clone()
}

/// The same with more in the specification of the Build.
fn with(spec: &Value) -> Value {
    let mut input = plain();
    for (field, value) in spec.as_object().unwrap() {
        input["build"]["spec"][field] = value.clone();
    }
    input
}

fn plan(input: &Value) -> Result<Value, PodError> {
    let now = "2026-01-05T09:30:00Z".parse().unwrap();
    plan_pod(&read(&input["build"]), &Cluster(input), &options(input), now)
}

fn pod(input: &Value) -> Value {
    plan(input).unwrap()
}

fn refusal(input: &Value) -> String {
    let error = plan(input).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    error.to_string()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn names(value: &Value) -> Vec<String> {
    list(value)
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

fn all_steps(pod: &Value) -> Vec<Value> {
    [list(&pod["spec"]["initContainers"]), list(&pod["spec"]["containers"])].concat()
}

fn step(pod: &Value, name: &str) -> Value {
    all_steps(pod).into_iter().find(|step| step["name"] == name).unwrap()
}

fn args(pod: &Value, name: &str) -> Vec<String> {
    let texts = list(&step(pod, name)["args"]);
    texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn variable(pod: &Value, step_name: &str, name: &str) -> Option<String> {
    let variables = list(&step(pod, step_name)["env"]);
    let found = variables.iter().find(|variable| variable["name"] == name)?;
    Some(found["value"].as_str().unwrap_or_default().to_owned())
}

/// Where a step sees a volume; `!` behind a place that cannot be written to.
fn mounts(pod: &Value, name: &str) -> Vec<String> {
    let mounts = list(&step(pod, name)["volumeMounts"]);
    let shown = mounts.iter().map(|mount| {
        let mark = if mount["readOnly"] == true { "!" } else { "" };
        format!("{}{mark}", mount["mountPath"].as_str().unwrap())
    });
    shown.collect()
}

fn volume(pod: &Value, name: &str) -> Option<Value> {
    list(&pod["spec"]["volumes"])
        .into_iter()
        .find(|volume| volume["name"] == name)
}

fn account(input: &mut Value, field: &str, secrets: &Value) {
    input["objects"][0][field] = secrets.clone();
}

fn secret(input: &mut Value, name: &str) {
    input["objects"].as_array_mut().unwrap().push(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": "team-a"},
    }));
}

fn with_platform_apis(apis: &[&str]) -> Value {
    let mut input = plain();
    for image in input["images"].as_object_mut().unwrap().values_mut() {
        let label = &mut image["labels"]["io.buildpacks.builder.metadata"];
        let mut metadata: Value = serde_json::from_str(label.as_str().unwrap()).unwrap();
        metadata["lifecycle"]["apis"]["platform"] = json!({"deprecated": [], "supported": apis});
        *label = metadata.to_string().into();
    }
    input
}

fn platform_api(input: &Value) -> String {
    variable(&pod(input), "detect", "CNB_PLATFORM_API").unwrap()
}

/// A Build that only has another run image than the last one.
fn rebase() -> Value {
    let mut input = with(&json!({"lastBuild": {"image": "r.example/shop@sha256:c", "stackId": "io.acme.base"}}));
    input["build"]["metadata"]["annotations"] =
        json!({"image.kpack.io/reason": "STACK", "image.kpack.io/buildChanges": "[]"});
    input
}

// row 10.2/D1
#[test]
fn a_build_goes_through_six_steps_and_then_completes() {
    let pod = pod(&plain());
    let steps = ["prepare", "analyze", "detect", "restore", "build", "export"];
    assert_eq!(names(&pod["spec"]["initContainers"]), steps);
    assert_eq!(names(&pod["spec"]["containers"]), ["completion"]);
}

// row 10.2/D2
#[test]
fn a_sub_path_is_all_that_steps_after_prepare_see_of_the_source() {
    let mut source = plain()["build"]["spec"]["source"].clone();
    source["subPath"] = json!("some/path");
    let pod = pod(&with(&json!({ "source": source })));
    for (name, expected) in [
        ("prepare", Value::Null),
        ("analyze", json!("some/path")),
        ("detect", json!("some/path")),
        ("build", json!("some/path")),
        ("export", json!("some/path")),
    ] {
        let mounts = list(&step(&pod, name)["volumeMounts"]);
        let workspace = mounts.iter().find(|mount| mount["name"] == "workspace-dir");
        assert_eq!(workspace.unwrap()["subPath"], expected, "{name}");
    }
}

// rows 10.2/D3 10.2/D4
#[test]
fn services_are_seen_by_buildpacks_and_only_to_be_read() {
    let services = json!([{"kind": "Secret", "name": "database"}, {"kind": "Secret", "name": "apm"}]);
    let pod = pod(&with(&json!({ "services": services })));
    let bindings = ["/platform/bindings/database!", "/platform/bindings/apm!"];
    let own = ["/layers", "/platform", "/workspace"];
    assert_eq!(mounts(&pod, "detect"), [&own[..], &bindings[..]].concat());
    assert_eq!(mounts(&pod, "build"), [&own[..], &bindings[..]].concat());
    for name in ["database", "apm"] {
        let volume = volume(&pod, &format!("binding-{name}")).unwrap();
        assert_eq!(volume["secret"], json!({ "secretName": name }));
    }
    for name in ["prepare", "analyze", "restore", "export", "completion"] {
        assert!(
            !mounts(&pod, name).iter().any(|place| place.contains("bindings")),
            "{name}"
        );
    }
}

// row 10.2/D5
#[test]
fn an_old_binding_is_seen_as_metadata_and_secret() {
    let bindings = json!([{"name": "db", "metadataRef": {"name": "meta"}, "secretRef": {"name": "pass"}}]);
    let pod = pod(&with(&json!({ "cnbBindings": bindings })));
    for name in ["detect", "build"] {
        let places = mounts(&pod, name);
        assert_eq!(
            places[places.len() - 2..],
            ["/platform/bindings/db/metadata!", "/platform/bindings/db/secret!"]
        );
    }
    assert_eq!(
        volume(&pod, "binding-metadata-db").unwrap()["configMap"],
        json!({"name": "meta"})
    );
    assert_eq!(
        volume(&pod, "binding-secret-db").unwrap()["secret"],
        json!({"secretName": "pass"})
    );
}

// row 10.2/D6
#[test]
fn services_take_the_place_of_old_bindings() {
    let pod = pod(&with(&json!({
        "services": [{"kind": "Secret", "name": "database"}],
        "cnbBindings": [{"name": "db", "metadataRef": {"name": "meta"}, "secretRef": {"name": "pass"}}],
    })));
    let bound: Vec<String> = names(&pod["spec"]["volumes"]);
    let bound: Vec<&String> = bound.iter().filter(|name| name.starts_with("binding")).collect();
    assert_eq!(bound, ["binding-database"]);
}

// row 10.2/D7
#[test]
fn an_old_binding_needs_no_secret() {
    let pod = pod(&with(
        &json!({"cnbBindings": [{"name": "db", "metadataRef": {"name": "meta"}}]}),
    ));
    assert_eq!(
        mounts(&pod, "detect").last().unwrap(),
        "/platform/bindings/db/metadata!"
    );
    assert_eq!(volume(&pod, "binding-secret-db"), None);
}

// row 10.2/D8
#[test]
fn the_secret_of_any_service_account_is_no_service() {
    let mut input = with(&json!({"services": [{"kind": "Secret", "name": "push"}]}));
    assert!(plan(&input).is_ok());
    input["objects"].as_array_mut().unwrap().push(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "of-someone-else", "namespace": "team-a"},
        "secrets": [{"name": "push"}],
    }));
    assert_eq!(
        refusal(&input),
        "build rejected: service \"push\" uses forbidden secret \"push\""
    );
}

// row 10.2/D9
#[test]
fn a_service_that_is_not_there_is_named() {
    let service = json!({"apiVersion": "svc.example/v1", "kind": "Database", "name": "pg"});
    let mut input = with(&json!({ "services": [service] }));
    assert!(matches!(plan(&input), Err(PodError::NotFound { .. })));
    assert_eq!(refusal(&input), "databases.svc.example \"pg\" not found");
    input["services"] = json!([{"metadata": {"name": "pg"}, "status": {"binding": {"name": "pg-secret"}}}]);
    let volume = volume(&pod(&input), "binding-pg").unwrap();
    assert_eq!(volume["secret"]["secretName"], "pg-secret");
}

// row 10.2/D10
#[test]
fn a_secret_of_an_account_has_a_name() {
    for (field, kind) in [("secrets", "Secret"), ("imagePullSecrets", "ImagePullSecret")] {
        let mut input = plain();
        account(&mut input, field, &json!([{"name": ""}]));
        assert_eq!(refusal(&input), format!("ServiceAccount has invalid {kind} reference"));
    }
}

// row 10.2/D11
#[test]
fn a_secret_that_an_account_names_twice_is_used_once() {
    let mut input = plain();
    account(&mut input, "secrets", &json!([{"name": "push"}, {"name": "push"}]));
    secret(&mut input, "push");
    let pod = pod(&input);
    let secrets: Vec<String> = names(&pod["spec"]["volumes"]);
    let secrets: Vec<&String> = secrets
        .iter()
        .filter(|name| name.starts_with("secret-volume"))
        .collect();
    assert_eq!(secrets, ["secret-volume-0"]);
    assert_eq!(args(&pod, "prepare"), ["-dockerconfig=push"]);
}

// row 10.2/D12
#[test]
fn a_builder_for_windows_is_refused() {
    let mut input = plain();
    for image in input["images"].as_object_mut().unwrap().values_mut() {
        image["os"] = json!("windows");
    }
    assert_eq!(refusal(&input), "windows builds are not supported");
}

// rows 10.2/D13 10.2/D14 10.2/D15 10.2/D16
#[test]
fn the_newest_platform_api_that_both_sides_and_the_operator_allow_is_used() {
    let eight = ["0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8"];
    let mut input = with_platform_apis(&eight);
    for (maximum, expected) in [(Value::Null, "0.8"), (json!("0.7"), "0.7"), (json!("1.0"), "0.8")] {
        input["maximumPlatformApi"] = maximum;
        assert_eq!(platform_api(&input), expected);
    }
    assert_eq!(platform_api(&with_platform_apis(&["0.7", "0.8", "0.9"])), "0.9");
}

// row 10.2/D17
#[test]
fn a_builder_without_a_usable_platform_api_is_refused_with_what_it_has() {
    let problem = refusal(&with_platform_apis(&["0.2", "0.999"]));
    assert_eq!(problem, "unsupported builder platform API versions: 0.2,0.999");
}

// row 10.2/D31
#[test]
fn the_exporter_is_told_the_cache_the_process_and_every_tag() {
    let claim = json!({"volume": {"persistentVolumeClaimName": "shop-cache"}});
    let pod = pod(&with(
        &json!({"cache": claim, "defaultProcess": "sys-info", "tags": ["r.example/aa:1", "r.example/bb:2"]}),
    ));
    let expected = [
        "-layers=/layers",
        "-app=/workspace",
        "-group=/layers/group.toml",
        "-analyzed=/layers/analyzed.toml",
        "-project-metadata=/layers/project-metadata.toml",
        "-cache-dir=/cache",
        "-process-type=sys-info",
        "-report=/var/report/report.toml",
        "r.example/aa:1",
        "r.example/bb:2",
    ];
    assert_eq!(args(&pod, "export"), expected);
    assert_eq!(args(&pod, "restore")[2], "-cache-dir=/cache");
    let volume = volume(&pod, "cache-dir").unwrap();
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "shop-cache");
}

// rows 10.2/D32 10.2/D33
#[test]
fn a_previous_image_is_named_where_there_is_one() {
    let previous = |last: &Value| {
        let args = args(&pod(&with(&json!({ "lastBuild": last }))), "analyze");
        args.into_iter()
            .find(|argument| argument.starts_with("-previous-image"))
    };
    assert_eq!(previous(&Value::Null), None);
    assert_eq!(previous(&json!({"stackId": "io.acme.base"})), None);
    let known = previous(&json!({"image": "r.example/shop@sha256:c"}));
    assert_eq!(known.unwrap(), "-previous-image=r.example/shop@sha256:c");
}

fn cache_args(pod: &Value, step: &str) -> Vec<String> {
    let all = args(pod, step).into_iter();
    all.filter(|argument| argument.starts_with("-cache")).collect()
}

// rows 10.2/D34 10.2/D35
#[test]
fn a_registry_cache_is_read_where_it_was_last_written() {
    let mut spec = json!({"cache": {"registry": {"tag": "r.example/cache:1"}}});
    let tag = ["-cache-image=r.example/cache:1"];
    let first = pod(&with(&spec));
    for step in ["analyze", "restore", "export"] {
        assert_eq!(cache_args(&first, step), tag, "{step}");
    }
    assert_eq!(
        variable(&first, "completion", "CACHE_TAG").unwrap(),
        "r.example/cache:1"
    );

    spec["lastBuild"] = json!({"image": "r.example/shop@sha256:c", "cache": {"image": "r.example/cache@sha256:8"}});
    let next = pod(&with(&spec));
    for step in ["analyze", "restore"] {
        assert_eq!(
            cache_args(&next, step),
            ["-cache-image=r.example/cache@sha256:8"],
            "{step}"
        );
    }
    assert_eq!(cache_args(&next, "export"), tag);
}

// row 10.2/D36
#[test]
fn a_cache_without_a_name_is_none() {
    for cache in [
        json!({"volume": {"persistentVolumeClaimName": ""}}),
        json!({"registry": {"tag": ""}}),
        Value::Null,
    ] {
        let pod = pod(&with(&json!({ "cache": cache })));
        for step in ["analyze", "restore", "export"] {
            assert!(cache_args(&pod, step).is_empty(), "{step} {cache}");
            assert!(!mounts(&pod, step).contains(&"/cache".to_owned()), "{step} {cache}");
        }
        assert_eq!(volume(&pod, "cache-dir"), None);
    }
}

// row 10.2/D37
#[test]
fn every_step_may_use_the_resources_of_the_build() {
    let resources = json!({"limits": {"memory": "2Gi"}, "requests": {"cpu": "500m"}});
    let pod = pod(&with(&json!({ "resources": resources })));
    let steps = all_steps(&pod);
    assert_eq!(steps.len(), 7);
    for step in steps {
        assert_eq!(step["resources"], resources, "{}", step["name"]);
    }
}

/// What Kubernetes' restricted pod security standard asks for, as far as it is about what our pods say.
fn assert_restricted(pod: &Value, case: &Value) {
    let spec = &pod["spec"];
    for container in all_steps(pod) {
        let own = &container["securityContext"];
        let of = |field: &str| {
            if own[field].is_null() {
                &spec["securityContext"][field]
            } else {
                &own[field]
            }
        };
        let name = format!("{case} {}", container["name"]);
        assert_eq!(of("runAsNonRoot"), &json!(true), "{name}");
        assert_eq!(of("seccompProfile")["type"], "RuntimeDefault", "{name}");
        assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(own["privileged"], false, "{name}");
        assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}), "{name}");
        assert_ne!(of("runAsUser"), &json!(0), "{name}");
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(spec[field].is_null(), "{case} {field}");
    }
    let allowed = [
        "configMap",
        "downwardAPI",
        "emptyDir",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in list(&spec["volumes"]) {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        assert!(
            kinds.clone().all(|kind| allowed.contains(&kind.as_str())),
            "{case} {volume}"
        );
    }
}

// Of pods with injected sidecars, `pre-start` says less: as in the reference.
// row 10.2/D38
#[test]
fn pods_may_do_no_more_than_the_restricted_pod_security_standard_allows() {
    let mut checked = 0;
    for case in RECORDED.iter() {
        let input = &case["input"];
        if let Ok(pod) = plan(input)
            && input["injectedSidecarSupport"] != true
        {
            assert_restricted(&pod, &case["name"]);
            checked += 1;
        }
    }
    assert_restricted(&pod(&rebase()), &json!("rebase"));
    assert!(checked > 40, "{checked}");
}

// row 10.2/D39
#[test]
fn with_injected_sidecars_steps_wait_for_each_other() {
    let mut input = plain();
    input["injectedSidecarSupport"] = json!(true);
    let pod = pod(&input);
    assert_eq!(names(&pod["spec"]["initContainers"]), ["pre-start"]);
    let steps = [
        "prepare",
        "analyze",
        "detect",
        "restore",
        "build",
        "export",
        "completion",
    ];
    assert_eq!(names(&pod["spec"]["containers"]), steps);
    let mut before = "/downward/sidecars-ready".to_owned();
    for step in steps {
        let args = args(&pod, step);
        assert_eq!(args[0], "-mode=wait");
        assert_eq!(args[1], format!("-done-file=/buildWait/{step}"));
        assert_eq!(args[2], "-error-file=/buildWait/error");
        assert!(args[3].starts_with("-execute=/cnb/"), "{}", args[3]);
        assert_eq!(args[4..], [format!("-wait-file={before}")]);
        // Without these mounts it would wait for ever: the first for the sidecars, the others for the step before.
        let step_of_pod = all_steps(&pod).into_iter().find(|found| found["name"] == step).unwrap();
        let mounts = list(&step_of_pod["volumeMounts"]);
        let waits: Vec<&str> = mounts
            .iter()
            .filter_map(|mount| mount["mountPath"].as_str())
            .filter(|path| ["/downward", "/buildWait"].contains(path))
            .collect();
        let expected: &[&str] = if step == "prepare" {
            &["/downward", "/buildWait"]
        } else {
            &["/buildWait"]
        };
        assert_eq!(waits, expected, "{step}");
        before = format!("/buildWait/{step}");
    }
}

// row 10.2/D40
#[test]
fn a_creation_time_that_is_none_ends_the_build_for_good() {
    let problem = refusal(&with(&json!({"creationTime": "abc"})));
    assert!(problem.starts_with("parsing creation time abc: "), "{problem}");
}

#[test]
fn a_creation_time_too_far_away_is_out_of_range() {
    let problem = refusal(&with(&json!({"creationTime": "99999999999999999999"})));
    assert!(problem.ends_with("value out of range"), "{problem}");
}

// row 10.2/D41
#[test]
fn a_new_run_image_of_the_same_stack_only_needs_a_rebase() {
    let input = rebase();
    let pod = pod(&input);
    let (steps, spec) = (all_steps(&pod), &pod["spec"]);
    assert_eq!(steps.len(), 2);
    let step = &spec["initContainers"][0];
    assert_eq!(
        (&step["name"], &step["image"]),
        (&json!("rebase"), &json!("kpack.example/rebase"))
    );
    assert_eq!(step["command"], json!(["/cnb/process/rebase"]));
    let build = &input["build"]["spec"];
    let expected = json!([
        "--run-image",
        build["runImage"]["image"],
        "--last-built-image",
        "r.example/shop@sha256:c",
        "--report",
        "/var/report/report.toml",
        build["tags"][0],
        build["tags"][1],
    ]);
    assert_eq!(step["args"], expected);
    assert_eq!(names(&step["env"]), ["BUILD_CHANGES"]);
    assert_eq!(names(&spec["volumes"]), ["report-dir", "notary-dir"]);
    for field in ["activeDeadlineSeconds", "imagePullSecrets"] {
        assert!(spec[field].is_null(), "{field}");
    }
    let user = &spec["securityContext"];
    assert_eq!(
        user,
        &json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    assert_eq!(variable(&pod, "completion", "HOME"), None);
}

// row 10.2/D42
#[test]
fn without_a_last_build_of_the_same_stack_everything_is_built() {
    let steps = |change: &dyn Fn(&mut Value)| {
        let mut input = rebase();
        change(&mut input["build"]);
        all_steps(&pod(&input)).len()
    };
    assert_eq!(steps(&|_| ()), 2);
    assert_eq!(steps(&|build| build["spec"]["lastBuild"] = Value::Null), 7);
    assert_eq!(steps(&|build| build["metadata"]["annotations"] = json!({})), 7);
    assert_eq!(
        steps(&|build| build["spec"]["lastBuild"]["stackId"] = json!("io.other")),
        7
    );
}

// row 10.4/A25
#[test]
fn each_secret_of_an_account_is_told_as_what_it_is_for() {
    let annotated = |name: &str, kind: &str, annotation: &str, value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": "team-a", "annotations": {annotation: value}}})
    };
    let basic = "kubernetes.io/basic-auth";
    let secrets = [
        annotated("git", basic, "kpack.io/git", "https://github.example"),
        annotated("key", "kubernetes.io/ssh-auth", "kpack.io/git", "git@github.example"),
        annotated("registry", basic, "kpack.io/docker", "r.example"),
        annotated("nothing", basic, "other", "x"),
        annotated("config", "kubernetes.io/dockerconfigjson", "other", "x"),
        annotated("cfg", "kubernetes.io/dockercfg", "other", "x"),
        annotated("secret.with.dots", "kubernetes.io/dockerconfigjson", "other", "x"),
        annotated("archives", "Opaque", "kpack.io/blob", "blobs.example"),
        annotated("boot", "bootstrap.kubernetes.io/token", "kpack.io/docker", "r.example"),
    ];
    let mut input = plain();
    let named: Vec<Value> = secrets
        .iter()
        .map(|secret| json!({"name": secret["metadata"]["name"]}))
        .collect();
    account(&mut input, "secrets", &json!(named));
    input["objects"].as_array_mut().unwrap().extend(secrets);
    let pod = pod(&input);
    let expected = [
        "-basic-git=git=https://github.example",
        "-ssh-git=key=git@github.example",
        "-basic-docker=registry=r.example",
        "-dockerconfig=config",
        "-dockercfg=cfg",
        "-dockerconfig=secret.with.dots",
    ];
    assert_eq!(args(&pod, "prepare"), expected);
    let volumes = names(&pod["spec"]["volumes"]);
    let volumes: Vec<&str> = volumes
        .iter()
        .filter_map(|name| name.strip_prefix("secret-volume-"))
        .collect();
    assert_eq!(volumes, ["0", "1", "2", "4", "5", "6"]);
}

// row 10.4/A26
#[test]
fn a_pull_secret_of_account_and_builder_is_mounted_once() {
    let mut input = plain();
    account(
        &mut input,
        "imagePullSecrets",
        &json!([{"name": "pull"}, {"name": "other"}]),
    );
    input["build"]["spec"]["builder"]["imagePullSecrets"] = json!([{"name": "pull"}, {"name": "third"}]);
    let pod = pod(&input);
    assert_eq!(
        args(&pod, "prepare"),
        ["-imagepull=pull", "-imagepull=other", "-imagepull=third"]
    );
    let places = mounts(&pod, "prepare");
    let pull = places
        .iter()
        .filter(|place| place.starts_with("/var/build-secrets/pull"));
    assert_eq!(pull.count(), 1, "{places:?}");
    let volumes = names(&pod["spec"]["volumes"]);
    let pull: Vec<&String> = volumes
        .iter()
        .filter(|name| name.starts_with("pull-secret-volume"))
        .collect();
    assert_eq!(
        pull,
        ["pull-secret-volume-0", "pull-secret-volume-1", "pull-secret-volume-2"]
    );
}

// row 10.4/A27
#[test]
fn a_secret_for_archives_is_mounted_where_archives_are_fetched_with_secrets() {
    for (auth, expected) in [("secret", vec!["-blob=store=blobs.example"]), ("helper", vec![])] {
        let blob = json!({"blob": {"url": "https://blobs.example/a.zip", "auth": auth}});
        let mut input = with(&json!({ "source": blob }));
        account(&mut input, "secrets", &json!([{"name": "store"}]));
        input["objects"].as_array_mut().unwrap().push(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "store", "namespace": "team-a", "annotations": {"kpack.io/blob": "blobs.example"}},
        }));
        let pod = pod(&input);
        assert_eq!(args(&pod, "prepare"), expected, "{auth}");
        let mounted = mounts(&pod, "prepare")
            .iter()
            .any(|place| place.starts_with("/var/build-secrets/store"));
        assert_eq!(mounted, !expected.is_empty(), "{auth}");
        assert_eq!(variable(&pod, "prepare", "BLOB_AUTH").unwrap(), "true", "{auth}");
    }
}

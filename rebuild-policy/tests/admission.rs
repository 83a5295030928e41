//! Every recorded admission: defaults, refusals and their messages.

mod fixture;

use fixture::{all_pass, cases};
use rebuild_policy::{AdmissionContext, Operation, admit};
use serde_json::{Value, json};

fn check(document: &str, has_default_storage_class: bool) {
    let cases = cases(document);
    let failures = cases
        .iter()
        .filter_map(|case| failure(case, has_default_storage_class))
        .collect();
    all_pass(cases.len(), failures);
}

fn failure(case: &Value, has_default_storage_class: bool) -> Option<String> {
    let (input, expect) = (&case["input"], &case["expect"]);
    let operation = match input["operation"].as_str() {
        Some("UPDATE") => Operation::Update(&input["old"]),
        Some("DELETE") => Operation::Delete,
        _ => Operation::Create,
    };
    let user = input["user"].as_str().unwrap_or("dev");
    let answer = admit(
        &input["object"],
        operation,
        AdmissionContext {
            user,
            has_default_storage_class,
        },
    );
    let name = &case["name"];
    match answer {
        Ok(admission) if expect["allowed"] == true => {
            let expected = match &expect["defaulted"] {
                Value::Object(_) => &expect["defaulted"],
                _ => &input["object"],
            };
            (admission.object != *expected).then(|| format!("{name}:\n  got  {}\n  want {expected}", admission.object))
        }
        Err(refusal) if expect["allowed"] == false => {
            let wanted = expect["message"].as_str().unwrap_or_default();
            let got = refusal.to_string();
            // A wrong type names the field here and a Go type there.
            let stage_only = wanted.contains("json: cannot unmarshal") && expect["stage"] == "defaulting";
            let same = if stage_only {
                got.starts_with("mutation failed: ")
            } else {
                got == wanted
            } || wanted.contains("quantities must match") && got.contains("quantities must match");
            (!same).then(|| format!("{name}:\n  got  {got}\n  want {wanted}"))
        }
        Ok(_) => Some(format!("{name}: allowed, but expected {}", expect["message"])),
        Err(refusal) => Some(format!("{name}: refused: {refusal}")),
    }
}

// Cases `builder group entry image` and `clusterbuilder group entry image`.
// row 10.1/O22
#[test]
fn recorded_admissions_are_repeated() {
    check(include_str!("fixtures/resources/admission.json"), false);
}

#[test]
fn a_default_storage_class_gives_images_a_cache() {
    check(
        include_str!("fixtures/resources/admission-default-storage-class-expandable.json"),
        true,
    );
    check(
        include_str!("fixtures/resources/admission-default-storage-class-not-expandable.json"),
        true,
    );
    check(
        include_str!("fixtures/resources/admission-default-storage-class-expansion-unset.json"),
        true,
    );
}

#[test]
fn changes_of_a_build_are_named_as_in_go_and_listed_in_the_order_of_its_fields() {
    let build = |url: &str, revision: &str, tag: &str, time: &str, binding: &str, image: &str| {
        serde_json::json!({
            "apiVersion": "kpack.io/v1alpha2", "kind": "Build", "metadata": {"name": "b", "namespace": "n"},
            "spec": {
                "tags": [tag], "builder": {"image": "reg.example/b"}, "serviceAccountName": "default",
                "runImage": {"image": image},
                "source": {"git": {"url": url, "revision": revision}}, "creationTime": time, "defaultProcess": time,
                "cnbBindings": [{"name": binding}],
            },
        })
    };
    let old = build("u", "r", "t", "1", "a", "i");
    let refusal = admit(
        &build("v", "s", "x", "2", "b", "j"),
        Operation::Update(&old),
        AdmissionContext::default(),
    )
    .unwrap_err()
    .to_string();
    let paths: Vec<&str> = refusal
        .lines()
        .filter_map(|line| line.strip_prefix("{*v1alpha2.BuildSpec}.")?.strip_suffix(':'))
        .collect();
    assert_eq!(
        paths,
        [
            "Tags[0]",
            "Source.Git.URL",
            "Source.Git.Revision",
            "RunImage.Image",
            "CNBBindings[0].Name",
            "DefaultProcess",
            "CreationTime",
        ]
    );
}

#[test]
fn a_field_that_the_kind_does_not_have_is_dropped_with_a_warning() {
    let object = serde_json::json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "ClusterStore", "metadata": {"name": "s", "lables": {"a": "b"}},
        "spec": {"sources": [{"image": "reg.example/bp", "tga": "x"}], "zzz": 1, "serviceAccountRef": null},
    });
    let admission = admit(&object, Operation::Create, AdmissionContext::default()).unwrap();
    assert_eq!(
        admission.warnings,
        [
            "unknown field \"metadata.lables\"",
            "unknown field \"spec.sources[0].tga\"",
            "unknown field \"spec.zzz\"",
        ]
    );
}

#[test]
fn an_affinity_of_the_wrong_shape_is_refused_by_the_path_of_its_field() {
    for (affinity, expected) in [
        (
            json!("node-1"),
            "spec.build.affinity: invalid type: string \"node-1\", expected struct Affinity",
        ),
        (
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "disk", "operator": "In", "values": "ssd"}]},
            ]}}}),
            "spec.build.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]\
             .matchExpressions[0].values: invalid type: string \"ssd\", expected a sequence",
        ),
        (
            json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1.5, "podAffinityTerm": {"topologyKey": "zone"}},
            ]}}),
            "spec.build.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: invalid type: \
             floating point `1.5`, expected i32",
        ),
    ] {
        let image = json!({
            "apiVersion": "kpack.io/v1alpha2", "kind": "Image", "metadata": {"name": "i"},
            "spec": {
                "tag": "reg.example/app", "builder": {"kind": "ClusterBuilder", "name": "b"},
                "source": {"blob": {"url": "https://files.example/app.zip"}}, "build": {"affinity": affinity},
            },
        });
        let refusal = admit(&image, Operation::Create, AdmissionContext::default()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!("mutation failed: cannot decode incoming new object: {expected}")
        );
    }
}

//! Every recorded conversion.

mod fixture;

use fixture::{all_pass, cases};
use rebuild_policy::convert;
use serde_json::{Value, json};

/// The reference writes times that are not there as null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn recorded_conversions_are_repeated() {
    let cases = cases(include_str!("fixtures/resources/conversion.json"));
    let failures = cases.iter().filter_map(|case| {
        let (input, expect) = (&case["input"], &case["expect"]);
        let got = convert(&input["object"], input["to"].as_str()?);
        match got {
            Ok(got) => {
                let (got, want) = (without_nulls(&got), without_nulls(&expect["object"]));
                (got != want).then(|| format!("{}:\n  got  {got}\n  want {want}", case["name"]))
            }
            Err(error) => (Some(error.to_string().as_str()) != expect["error"].as_str())
                .then(|| format!("{}: {error}, want {}", case["name"], expect["error"])),
        }
    });
    all_pass(cases.len(), failures.collect());
}

#[test]
fn an_image_survives_the_way_there_and_back() {
    let cases = cases(include_str!("fixtures/resources/conversion.json"));
    let mut image = cases[0]["input"]["object"].clone();
    let old = convert(&image, "kpack.io/v1alpha1").unwrap();
    let back = convert(&old, "kpack.io/v1alpha2").unwrap();
    image["spec"].as_object_mut().unwrap().remove("additionalTags");
    image["spec"]["build"].as_object_mut().unwrap().remove("creationTime");
    assert_eq!(back, image);
}

#[test]
fn annotations_hold_json_with_the_fields_in_the_order_of_their_types_and_escapes_for_html() {
    let image = json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Image", "metadata": {"name": "i"},
        "spec": {
            "tag": "reg.example/app",
            "builder": {"kind": "ClusterBuilder", "name": "b"},
            "build": {
                "services": [{
                    "apiVersion": "v1", "fieldPath": "f", "kind": "Secret", "name": "n", "namespace": "ns",
                    "resourceVersion": "7", "uid": "u",
                }],
                "tolerations": [{
                    "effect": "NoExecute", "key": "k", "operator": "Equal", "tolerationSeconds": 3, "value": "v",
                }],
                "nodeSelector": {"weight": "<b>", "value": "a&b", "key": "c"},
                "affinity": {
                    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                        "podAffinityTerm": {
                            "topologyKey": "t",
                            "labelSelector": {
                                "matchExpressions": [{"key": "k", "operator": "In", "values": ["b", "a"]}],
                                "matchLabels": {"value": "1", "name": "2", "key": "3"},
                            },
                        },
                        "weight": 1,
                    }]},
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"preference": {}, "weight": 2}],
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []},
                    },
                },
            },
            "cosign": {"annotations": [{"value": "<v>", "name": "n"}]},
        },
    });
    let old = convert(&image, "kpack.io/v1alpha1").unwrap();
    let annotations = &old["metadata"]["annotations"];
    for (name, expected) in [
        (
            "services",
            r#"[{"kind":"Secret","namespace":"ns","name":"n","uid":"u","apiVersion":"v1","resourceVersion":"7","fieldPath":"f"}]"#,
        ),
        (
            "tolerations",
            r#"[{"key":"k","operator":"Equal","value":"v","effect":"NoExecute","tolerationSeconds":3}]"#,
        ),
        (
            "nodeSelector",
            r#"{"key":"c","value":"a\u0026b","weight":"\u003cb\u003e"}"#,
        ),
        (
            "affinity",
            concat!(
                r#"{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[]},"#,
                r#""preferredDuringSchedulingIgnoredDuringExecution":[{"weight":2,"preference":{}}]},"#,
                r#""podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"podAffinityTerm":"#,
                r#"{"labelSelector":{"matchLabels":{"key":"3","name":"2","value":"1"},"#,
                r#""matchExpressions":[{"key":"k","operator":"In","values":["b","a"]}]},"topologyKey":"t"}}]}}"#,
            ),
        ),
        ("cosignAnnotation", r#"[{"name":"n","value":"\u003cv\u003e"}]"#),
    ] {
        assert_eq!(annotations[format!("kpack.io/{name}")], expected, "{name}");
    }
    let back = convert(&old, "kpack.io/v1alpha2").unwrap();
    assert_eq!(back["spec"]["build"]["affinity"], image["spec"]["build"]["affinity"]);
}

#[test]
fn a_group_that_has_no_entry_in_the_old_version_is_left_out_of_its_order() {
    let builder = json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "Builder", "metadata": {"name": "b"},
        "spec": {
            "tag": "reg.example/b",
            "order": [{"group": [{"kind": "ClusterBuildpack", "name": "n"}]}, {"group": []}, {"group": [{"id": "x/y"}]}],
        },
    });
    let old = convert(&builder, "kpack.io/v1alpha1").unwrap();
    assert_eq!(old["spec"]["order"], json!([{}, {}, {"group": [{"id": "x/y"}]}]));
}

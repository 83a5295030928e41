//! Every field of every kind: missing, of the wrong type, too long, unknown. The fields are those of the schema, so that
//! none is forgotten.

use serde_json::{Value, json};

use super::{KINDS, open_api};
use crate::admit::{AdmissionContext, Operation, Refusal, admit};

/// A small object of the kind that is accepted.
fn valid(kind: &str) -> Value {
    let spec = match kind {
        "Image" => json!({
            "tag": "reg.example/team/app", "builder": {"kind": "ClusterBuilder", "name": "base"},
            "source": {"git": {"url": "https://git.example/app", "revision": "main"}},
        }),
        "Build" => json!({
            "tags": ["reg.example/team/app"], "builder": {"image": "reg.example/builder"},
            "source": {"git": {"url": "https://git.example/app", "revision": "main"}},
        }),
        "Builder" | "ClusterBuilder" => json!({
            "tag": "reg.example/builder", "stack": {"kind": "ClusterStack", "name": "base"},
            "store": {"kind": "ClusterStore", "name": "store"}, "order": [{"group": [{"id": "acme/app"}]}],
            "serviceAccountRef": {"namespace": "kpack", "name": "sa"},
        }),
        "ClusterStore" => json!({"sources": [{"image": "reg.example/buildpack"}]}),
        "ClusterStack" => json!({
            "id": "acme", "buildImage": {"image": "reg.example/build"}, "runImage": {"image": "reg.example/run"},
        }),
        "SourceResolver" => json!({"source": {"git": {"url": "https://git.example/app", "revision": "main"}}}),
        _ => json!({"image": "reg.example/image"}),
    };
    let mut spec = spec;
    if kind == "Builder" {
        spec.as_object_mut().unwrap().remove("serviceAccountRef");
    }
    json!({"apiVersion": "kpack.io/v1alpha2", "kind": kind, "metadata": {"name": "x", "namespace": "team"}, "spec": spec})
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    First,
}

/// As messages write it: `spec.env[0].name`.
fn text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::First => text.push_str("[0]"),
        }
    }
    text
}

/// Every field of a schema, with its schema.
fn fields(schema: &Value, path: &[Step], found: &mut Vec<(Vec<Step>, Value)>) {
    if !path.is_empty() {
        found.push((path.to_vec(), schema.clone()));
    }
    let with = |step: Step| [path, &[step]].concat();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        fields(inner, &with(Step::Field(name.clone())), found);
    }
    if schema["items"].is_object() {
        fields(&schema["items"], &with(Step::First), found);
    }
    if schema["additionalProperties"].is_object() {
        fields(
            &schema["additionalProperties"],
            &with(Step::Field("key".to_owned())),
            found,
        );
    }
}

/// Puts a value at a path, making what leads there.
fn put(document: &mut Value, path: &[Step], value: Value) {
    let Some((step, rest)) = path.split_first() else {
        *document = value;
        return;
    };
    match step {
        Step::Field(name) => {
            if !document.is_object() {
                *document = json!({});
            }
            put(&mut document[name.as_str()], rest, value);
        }
        Step::First => {
            if document.as_array().is_none_or(Vec::is_empty) {
                *document = json!([null]);
            }
            put(&mut document[0], rest, value);
        }
    }
}

fn remove(document: &mut Value, path: &[Step]) {
    let (last, before) = path.split_last().unwrap();
    let mut at = document;
    for step in before {
        at = match step {
            Step::Field(name) => &mut at[name.as_str()],
            Step::First => &mut at[0],
        };
    }
    match (last, at) {
        (Step::Field(name), Value::Object(map)) => drop(map.remove(name)),
        (Step::First, Value::Array(list)) => drop(list.pop()),
        _ => {}
    }
}

fn all_fields(kind: &str) -> Vec<(Vec<Step>, Value)> {
    let mut found = Vec::new();
    fields(&open_api(kind).unwrap(), &[], &mut found);
    found.retain(|(path, _)| !["apiVersion", "kind", "metadata"].contains(&text(path).as_str()));
    found
}

fn admitted(document: &Value) -> Result<Vec<String>, Refusal> {
    admit(document, Operation::Create, AdmissionContext::default()).map(|admission| admission.warnings)
}

#[test]
fn every_kind_has_a_schema_without_gaps() {
    let mut count = 0;
    for kind in KINDS {
        for (path, schema) in all_fields(kind) {
            count += 1;
            let has_type = schema["type"].is_string() || schema["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(has_type, "{kind} {}: {schema}", text(&path));
        }
    }
    assert!(count > 400, "only {count} fields");
    assert!(open_api("Pod").is_none());
}

#[test]
fn small_objects_of_every_kind_are_accepted_without_a_warning() {
    for kind in KINDS {
        assert_eq!(admitted(&valid(kind)).unwrap(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn a_field_of_the_wrong_type_is_refused_by_its_path() {
    let mut checked = 0;
    for kind in KINDS {
        for (path, schema) in all_fields(kind) {
            let Some(right) = schema["type"].as_str() else {
                continue; // anything goes there
            };
            let wrong = [
                ("string", json!("text")),
                ("integer", json!(7)),
                ("boolean", json!(true)),
                ("array", json!(["x"])),
                ("object", json!({"x": "y"})),
            ];
            for (name, value) in wrong.iter().filter(|(name, _)| *name != right) {
                let mut document = valid(kind);
                put(&mut document, &path, value.clone());
                checked += 1;
                match admitted(&document) {
                    Err(error) => {
                        let message = error.to_string();
                        let place = text(&path);
                        assert!(message.contains(&place), "{kind} {place}: {message}");
                    }
                    Ok(_) => panic!("{kind} {} takes {name}", text(&path)),
                }
            }
        }
    }
    assert!(checked > 1500, "only {checked}");
}

#[test]
fn fields_that_are_missing_or_null_or_very_long_never_end_in_a_panic() {
    for kind in KINDS {
        for (path, schema) in all_fields(kind) {
            for length in [0, 64, 254, 5_000] {
                let mut document = valid(kind);
                put(&mut document, &path, json!("a".repeat(length)));
                if let Err(error) = admitted(&document) {
                    assert!(!error.to_string().is_empty());
                }
            }
            let mut document = valid(kind);
            put(&mut document, &path, Value::Null);
            let _ = admitted(&document);
            remove(&mut document, &path);
            let _ = admitted(&document);
            for number in [i64::MIN, -1, 0, i64::MAX] {
                if schema["type"] == "integer" {
                    let mut document = valid(kind);
                    put(&mut document, &path, json!(number));
                    let _ = admitted(&document);
                }
            }
        }
    }
}

#[test]
fn a_required_field_that_is_missing_is_named() {
    let required = [
        ("Image", "spec.tag"),
        ("Image", "spec.builder.name"),
        ("Image", "spec.source.git.url"),
        ("Image", "spec.source.git.revision"),
        ("Build", "spec.tags"),
        ("Builder", "spec.tag"),
        ("Builder", "spec.stack.name"),
        ("ClusterBuilder", "spec.serviceAccountRef.name"),
        ("ClusterStack", "spec.id"),
        ("ClusterStack", "spec.runImage.image"),
    ];
    for (kind, place) in required {
        let path: Vec<Step> = place.split('.').map(|name| Step::Field(name.to_owned())).collect();
        let mut document = valid(kind);
        remove(&mut document, &path);
        let message = admitted(&document).unwrap_err().to_string();
        assert!(message.contains(place), "{kind} {place}: {message}");
    }
}

#[test]
fn an_unknown_field_is_dropped_with_a_warning_wherever_it_is() {
    let mut checked = 0;
    for kind in KINDS {
        let objects = all_fields(kind)
            .into_iter()
            .filter(|(_, schema)| schema["properties"].is_object())
            .map(|(path, _)| path);
        for mut path in objects {
            path.push(Step::Field("mispelt".to_owned()));
            let mut document = valid(kind);
            put(&mut document, &path, json!("x"));
            // Where the rest that leads there is not valid, it is refused for that.
            let Ok(warnings) = admitted(&document) else {
                continue;
            };
            checked += 1;
            // Where nothing else is, the part that holds it is unknown for want of anything known.
            let (place, holder) = (text(&path), text(&path[..path.len() - 1]));
            let named = |place: &str| warnings.contains(&format!("unknown field \"{place}\""));
            assert!(named(&place) || named(&holder), "{kind}: {place} not in {warnings:?}");
        }
    }
    assert!(checked > 60, "only {checked}");
}

#[test]
fn no_environment_takes_a_value_from_a_secret() {
    for (kind, path) in [("Image", "spec.build.env"), ("Build", "spec.env")] {
        let mut document = valid(kind);
        let steps: Vec<Step> = path.split('.').map(|name| Step::Field(name.to_owned())).collect();
        let secret = json!([
            {"name": "A", "value": "b"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]);
        put(&mut document, &steps, secret);
        let message = admitted(&document).unwrap_err().to_string();
        assert!(
            message.contains(&format!("{path}[1].valueFrom.secretKeyRef")),
            "{message}"
        );
    }
}

#[test]
fn names_may_be_as_long_as_kubernetes_lets_them() {
    let image = |length: usize| {
        let mut document = valid("Image");
        document["metadata"]["name"] = json!("a".repeat(length));
        admitted(&document)
    };
    assert!(image(63).is_ok());
    let message = image(64).unwrap_err().to_string();
    assert!(message.contains("metadata.name"), "{message}");
    let service = |length: usize| {
        let mut document = valid("Image");
        let service = json!({"kind": "Secret", "name": "a".repeat(length)});
        document["spec"]["build"] = json!({"services": [service]});
        admitted(&document)
    };
    assert!(service(253).is_ok());
    let message = service(254).unwrap_err().to_string();
    assert!(message.contains("spec.build.services[0].name"), "{message}");
}

#[test]
fn unknown_words_are_refused_where_only_some_are_known() {
    let cases = [
        ("Image", "spec.builder.kind", json!("Bulider")),
        ("Image", "spec.build.creationTime", json!("yesterday")),
        (
            "Image",
            "spec.source.blob",
            json!({"url": "https://x.example/a", "auth": "magic"}),
        ),
        ("Builder", "spec.stack.kind", json!("Stack")),
        ("ClusterBuilder", "spec.store.kind", json!("Store")),
    ];
    for (kind, place, value) in cases {
        let path: Vec<Step> = place.split('.').map(|name| Step::Field(name.to_owned())).collect();
        let mut document = valid(kind);
        if place.contains("blob") {
            document["spec"]["source"] = json!({});
        }
        put(&mut document, &path, value);
        let message = admitted(&document).unwrap_err().to_string();
        // The reference's paths of stack and store in a ClusterBuilder begin beneath `spec`.
        let place = match kind {
            "ClusterBuilder" => place.trim_start_matches("spec."),
            _ => place,
        };
        assert!(message.contains(place), "{kind} {place}: {message}");
    }
}

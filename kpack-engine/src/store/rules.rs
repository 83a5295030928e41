//! What Kubernetes adds to and demands of an object before it is stored.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::metadata;
use crate::object::{DEEPEST, depth};
use crate::{ApiError, Cause, Kind, Object};

/// Checks `metadata.name` and `metadata.namespace` of an object that is to be created.
pub(super) fn check_names(object: &Object) -> Result<(), ApiError> {
    let (kind, name) = (object.kind(), object.name());
    let refuse = |cause| Err(ApiError::invalid(kind, name, cause));
    if name.is_empty() {
        return refuse(Cause::required("metadata.name", "name or generateName is required"));
    }
    if let Some(problem) = if kind == Kind::Namespace {
        label_problem(name)
    } else {
        subdomain_problem(name)
    } {
        return refuse(Cause::invalid("metadata.name", &json!(name), &problem));
    }
    match object.namespace() {
        None if kind.is_namespaced() => refuse(Cause::required("metadata.namespace", "")),
        Some(namespace) if !kind.is_namespaced() => refuse(Cause::invalid(
            "metadata.namespace",
            &json!(namespace),
            "not allowed on this type",
        )),
        Some(namespace) => match label_problem(namespace) {
            Some(problem) => refuse(Cause::invalid("metadata.namespace", &json!(namespace), &problem)),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// Fills in what the API server fills in for its own kinds; kpack's kinds are defaulted by admission.
pub(super) fn set_defaults(object: &mut Object) -> Result<(), ApiError> {
    match object.kind() {
        Kind::Secret => secret_defaults(object),
        Kind::Namespace => {
            let name = object.name().to_owned();
            object.set_label("kubernetes.io/metadata.name", &name);
            object.set("spec", json!({"finalizers": ["kubernetes"]}));
            Ok(())
        }
        Kind::Pod => {
            pod_defaults(object);
            Ok(())
        }
        Kind::PersistentVolumeClaim => {
            if object.pointer("/spec/volumeMode").is_none() {
                let mut spec = object.pointer("/spec").cloned().unwrap_or_else(|| json!({}));
                if let Some(map) = spec.as_object_mut() {
                    map.insert("volumeMode".to_owned(), json!("Filesystem"));
                    object.set("spec", spec);
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns the status that a new object begins with; `None` for none.
pub(super) fn first_status(kind: Kind) -> Option<Value> {
    match kind {
        Kind::Namespace => Some(json!({"phase": "Active"})),
        Kind::Pod => Some(json!({"phase": "Pending", "qosClass": "BestEffort"})),
        Kind::PersistentVolumeClaim => Some(json!({"phase": "Pending"})),
        _ => None,
    }
}

/// Refuses what could be written, but not read again.
pub(super) fn check_depth(object: &Object) -> Result<(), ApiError> {
    if depth(object.as_value()) > DEEPEST {
        return Err(ApiError::bad_request(format!(
            "{object} is nested too deeply: more than {DEEPEST} lists and maps are within each other, those of \
             metadata.managedFields included"
        )));
    }
    Ok(())
}

/// Checks labels, annotations and owners, and the rules of core kinds that the flow depends on.
pub(super) fn check(object: &Object, old: Option<&Object>) -> Result<(), ApiError> {
    let (kind, name) = (object.kind(), object.name());
    let mut causes = metadata::check(object);
    match kind {
        Kind::Secret => check_secret(object, old, &mut causes),
        Kind::ConfigMap => check_data(object, "data", &mut causes),
        Kind::Pod => check_pod(object, &mut causes),
        _ => {}
    }
    if kind == Kind::Secret || kind == Kind::ConfigMap {
        check_immutable(object, old, &mut causes);
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::Invalid {
            kind,
            name: name.to_owned(),
            causes,
        })
    }
}

/// Says whether the kind counts generations: pods and everything of kpack.
pub(super) fn has_generation(kind: Kind) -> bool {
    kind.is_kpack() || kind == Kind::Pod
}

fn secret_defaults(object: &mut Object) -> Result<(), ApiError> {
    if object.text("/type").is_none_or(str::is_empty) {
        object.set("type", json!("Opaque"));
    }
    let Some(plain) = object.remove("stringData") else {
        return Ok(());
    };
    let mut data = match object.remove("data") {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    for (key, value) in plain.as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .ok_or_else(|| ApiError::bad_request(format!("stringData.{key} is not a text")))?;
        data.insert(key.clone(), json!(STANDARD.encode(text)));
    }
    if !data.is_empty() {
        object.set("data", Value::Object(data));
    }
    Ok(())
}

/// The keys that a type of secret must have.
///
/// # Specification
/// Kubernetes, "Types of Secret".
fn check_secret(object: &Object, old: Option<&Object>, causes: &mut Vec<Cause>) {
    let kind_of_secret = object.text("/type").unwrap_or_default();
    let old_type = old.and_then(|old| old.text("/type"));
    if old_type.is_some_and(|old| old != kind_of_secret) {
        causes.push(Cause::invalid("type", &json!(kind_of_secret), "field is immutable"));
    }
    check_data(object, "data", causes);
    let bytes = |key: &str| {
        let text = object.as_value().get("data")?.get(key)?.as_str()?;
        STANDARD.decode(text).ok()
    };
    if let Some(data) = object.pointer("/data").and_then(Value::as_object) {
        for (key, value) in data {
            if value.as_str().is_none_or(|text| STANDARD.decode(text).is_err()) {
                causes.push(Cause::invalid(
                    &format!("data[{key}]"),
                    &json!("<secret>"),
                    "must be base64",
                ));
            }
        }
    }
    match kind_of_secret {
        "kubernetes.io/dockerconfigjson" => check_json(".dockerconfigjson", bytes(".dockerconfigjson"), causes),
        "kubernetes.io/dockercfg" => check_json(".dockercfg", bytes(".dockercfg"), causes),
        "kubernetes.io/ssh-auth" if bytes("ssh-privatekey").is_none_or(|key| key.is_empty()) => {
            causes.push(Cause::required("data[ssh-privatekey]", ""));
        }
        "kubernetes.io/basic-auth" if bytes("username").or_else(|| bytes("password")).is_none() => {
            causes.push(Cause::required("data[username]", ""));
            causes.push(Cause::required("data[password]", ""));
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if bytes(key).is_none() {
                    causes.push(Cause::required(&format!("data[{key}]"), ""));
                }
            }
        }
        "kubernetes.io/service-account-token" if object.annotation("kubernetes.io/service-account.name").is_none() => {
            causes.push(Cause::required(
                "metadata.annotations[kubernetes.io/service-account.name]",
                "",
            ));
        }
        _ => {}
    }
}

fn check_json(key: &str, bytes: Option<Vec<u8>>, causes: &mut Vec<Cause>) {
    let field = format!("data[{key}]");
    match bytes {
        None => causes.push(Cause::required(&field, "")),
        Some(bytes) if serde_json::from_slice::<Map<String, Value>>(&bytes).is_err() => {
            causes.push(Cause::invalid(
                &field,
                &json!("<secret contents redacted>"),
                "not a JSON object",
            ));
        }
        Some(_) => {}
    }
}

/// Keys of ConfigMaps and Secrets become file names.
fn check_data(object: &Object, field: &str, causes: &mut Vec<Cause>) {
    let Some(data) = object.as_value().get(field) else {
        return;
    };
    if data.is_null() {
        return;
    }
    let Some(map) = data.as_object() else {
        causes.push(Cause::invalid(field, &json!("<data>"), "must be a map"));
        return;
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for key in map.keys() {
        if key.is_empty() || key.len() > 253 || key == "." || key.starts_with("..") || !key.chars().all(allowed) {
            let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
                        'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            causes.push(Cause::invalid(&format!("{field}[{key}]"), &json!(key), rule));
        }
    }
    if map.values().any(|value| !value.is_string()) {
        causes.push(Cause::invalid(field, &json!("<data>"), "values must be texts"));
    }
}

fn check_immutable(object: &Object, old: Option<&Object>, causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|old| old.pointer("/immutable") == Some(&json!(true))) else {
        return;
    };
    let rule = "field is immutable when `immutable` is set";
    for field in ["immutable", "data", "binaryData"] {
        if old.as_value().get(field) != object.as_value().get(field) {
            causes.push(Cause {
                reason: "FieldValueForbidden",
                message: format!("Forbidden: {rule}"),
                field: field.to_owned(),
            });
        }
    }
}

fn check_pod(object: &Object, causes: &mut Vec<Cause>) {
    if list(object, "containers").is_empty() {
        causes.push(Cause::required("spec.containers", ""));
    }
    let deadline = object.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64);
    if let Some(seconds) = deadline.filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds)) {
        let rule = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid("spec.activeDeadlineSeconds", &json!(seconds), rule));
    }
    // Volumes are directories of these names. The name of a service binding may have dots, so theirs may, too.
    let mut names = BTreeSet::new();
    for (index, volume) in list(object, "volumes").iter().enumerate() {
        let field = format!("spec.volumes[{index}].name");
        check_name(volume, field, subdomain_problem, &mut names, causes);
    }
    let mut names = BTreeSet::new();
    for kind in ["initContainers", "containers"] {
        for (index, container) in list(object, kind).iter().enumerate() {
            let field = format!("spec.{kind}[{index}].name");
            check_name(container, field, label_problem, &mut names, causes);
            if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
                causes.push(Cause::required(&format!("spec.{kind}[{index}].image"), ""));
            }
        }
    }
}

/// A list in the spec of a pod; empty when there is none.
fn list<'a>(pod: &'a Object, name: &str) -> &'a [Value] {
    let list = pod.pointer("/spec").and_then(|spec| spec.get(name)?.as_array());
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Checks the name of one of several things that must have different ones.
fn check_name<'a>(
    thing: &'a Value,
    field: String,
    problem: fn(&str) -> Option<String>,
    names: &mut BTreeSet<&'a str>,
    causes: &mut Vec<Cause>,
) {
    let name = thing.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required(&field, ""));
    } else if let Some(problem) = problem(name) {
        causes.push(Cause::invalid(&field, &json!(name), &problem));
    } else if !names.insert(name) {
        causes.push(Cause {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {}", json!(name)),
            field,
        });
    }
}

/// # Specification
/// Kubernetes API reference, PodSpec and Container: default values.
fn pod_defaults(object: &mut Object) {
    let Some(Value::Object(mut spec)) = object.remove("spec") else {
        return;
    };
    let defaults = [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
        ("enableServiceLinks", json!(true)),
    ];
    set_missing(&mut spec, defaults);
    if !spec.contains_key("serviceAccountName") {
        spec.insert("serviceAccountName".to_owned(), json!("default"));
    }
    spec.insert("serviceAccount".to_owned(), spec["serviceAccountName"].clone());
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(map) = container.as_object_mut() {
                container_defaults(map);
            }
        }
    }
    object.set("spec", Value::Object(spec));
}

fn container_defaults(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let tail = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (tail.ends_with(":latest") || !tail.contains(':'));
    let defaults = [
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
        ("imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" })),
        ("resources", json!({})),
    ];
    set_missing(container, defaults);
}

fn set_missing<const N: usize>(map: &mut Map<String, Value>, defaults: [(&str, Value); N]) {
    for (key, value) in defaults {
        let slot = map.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
    }
}

fn label_problem(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 characters".to_owned());
    }
    (!is_label(name)).then(|| {
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
         end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    })
}

pub(super) fn subdomain_problem(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some("must be no more than 253 characters".to_owned());
    }
    (!name.split('.').all(is_label)).then(|| {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
         start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    })
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

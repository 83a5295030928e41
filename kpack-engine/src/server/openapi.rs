//! The smallest `OpenAPI` v3 with which unmodified clients apply and create objects.
//!
//! They look only for a `patch` operation of the kind that takes the parameter `fieldValidation`, to know
//! that the server checks objects itself.

use serde_json::{Map, Value, json};

use super::versions::Version;
use crate::{ApiError, Kind};

const DOCUMENTS: [(&str, &str); 4] = [
    ("", "v1"),
    ("kpack.io", "v1alpha2"),
    ("kpack.io", "v1alpha1"),
    ("storage.k8s.io", "v1"),
];

/// Media type of version 2, which is asked for in this form only.
pub(super) const V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Returns version 2 without any path: clients before 1.27, and all that meet a kind that is not served,
/// insist on reading it, and check nothing then.
///
/// The message is gnostic's `Document` {1: swagger, 2: info {1: title, 2: version}}.
pub(super) fn version_2() -> Vec<u8> {
    b"\x0a\x032.0\x12\x0b\x0a\x06kpackd\x12\x010".to_vec()
}

/// Returns the index (no parts) or the document of one group and version.
pub(super) fn document(parts: &[String]) -> Result<Value, ApiError> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Ok(index()),
        ["api", "v1"] => Ok(group_version("", "v1")),
        ["apis", group, version] if DOCUMENTS.contains(&(*group, *version)) => Ok(group_version(group, version)),
        _ => Err(ApiError::NotServed),
    }
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn index() -> Value {
    let paths: Map<String, Value> = DOCUMENTS
        .iter()
        .map(|(group, version)| {
            let path = path(group, version);
            // The hash lets clients keep a document for ever: it changes with the engine.
            let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({ "paths": paths })
}

fn group_version(group: &str, version: &str) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in Kind::all().filter(|kind| kind.group() == group && Version::of(*kind, version).is_some()) {
        let id = json!({"group": group, "version": version, "kind": kind.name()});
        let scope = if kind.is_namespaced() {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let parameters = json!([{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]);
        let operation = json!({
            "operationId": format!("patch{}", kind.name()),
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": id,
        });
        paths.insert(
            format!("/{}/{scope}{}/{{name}}", path(group, version), kind.plural()),
            json!({"patch": operation}),
        );
        let schema = json!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-group-version-kind": [id],
        });
        schemas.insert(
            format!(
                "{}.{version}.{}",
                if group.is_empty() { "core" } else { group },
                kind.name()
            ),
            schema,
        );
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "kpackd", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

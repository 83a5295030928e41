//! The OpenAPI schemas of the kinds, told by what reads them.

#![cfg_attr(not(feature = "schema"), allow(unreachable_pub, reason = "then only tests use it"))]

#[cfg(test)]
mod tests;
mod trace;

use serde_json::{Value, json};

use crate::resource::{
    Build, Builder, Buildpack, ClusterBuilder, ClusterBuildpack, ClusterLifecycle, ClusterStack, ClusterStore,
    Condition, Image, ObjectReference, ResolvedLifecycle, SourceResolver,
};

/// The kinds of `kpack.io/v1alpha2`.
pub const KINDS: [&str; 10] = [
    "Image",
    "Build",
    "Builder",
    "ClusterBuilder",
    "Buildpack",
    "ClusterBuildpack",
    "ClusterStore",
    "ClusterStack",
    "ClusterLifecycle",
    "SourceResolver",
];

/// Returns the OpenAPI schema of a kind, for `openAPIV3Schema` of its CustomResourceDefinition; `None` when there is no
/// such kind.
///
/// The schema is what reading accepts, no less and no more: it is traced from the very code that reads objects. It has the
/// fields and their types; what values are allowed is for admission to say, with messages that a schema cannot give.
///
/// # Examples
/// ```
/// let schema = rebuild_policy::open_api("Image").expect("a kind");
/// assert_eq!(schema["properties"]["spec"]["properties"]["tag"]["type"], "string");
/// ```
pub fn open_api(kind: &str) -> Option<Value> {
    let mut schema = match kind {
        "Image" => trace::schema::<Image>(),
        "Build" => trace::schema::<Build>(),
        "Builder" => with_order(trace::schema::<Builder>()),
        "ClusterBuilder" => with_order(trace::schema::<ClusterBuilder>()),
        "Buildpack" => trace::schema::<Buildpack>(),
        "ClusterBuildpack" => trace::schema::<ClusterBuildpack>(),
        "ClusterStore" => trace::schema::<ClusterStore>(),
        "ClusterStack" => trace::schema::<ClusterStack>(),
        "ClusterLifecycle" => with_status(trace::schema::<ClusterLifecycle>()),
        "SourceResolver" => trace::schema::<SourceResolver>(),
        _ => return None,
    };
    // The API server has its own schema for metadata and takes none from a definition.
    schema["properties"]["metadata"] = json!({"type": "object"});
    Some(schema)
}

/// Entries of an order are an object reference and more in one map, which tracing does not see into.
fn with_order(mut schema: Value) -> Value {
    let mut entry = trace::schema::<ObjectReference>();
    for name in ["id", "version", "image"] {
        entry["properties"][name] = json!({"type": "string"});
    }
    entry["properties"]["optional"] = json!({"type": "boolean"});
    schema["properties"]["spec"]["properties"]["order"]["items"]["properties"]["group"]["items"] = entry;
    schema
}

/// So is the status of a lifecycle.
fn with_status(mut schema: Value) -> Value {
    let mut status = trace::schema::<ResolvedLifecycle>();
    status["properties"]["observedGeneration"] = json!({"type": "integer", "format": "int64"});
    status["properties"]["conditions"] = json!({"type": "array", "items": trace::schema::<Condition>()});
    schema["properties"]["status"] = status;
    schema
}

//! Objects in the form of the API's own clients: every field that their types have, in the order of those types.

use anyhow::Context as _;
use rebuild_policy::{
    BuildSpec, BuildStatus, BuilderSpec, BuilderStatus, BuildpackSpec, BuildpacksStatus, ClusterBuilderSpec,
    ClusterBuildpackSpec, ClusterLifecycleSpec, ClusterLifecycleStatus, ClusterStackSpec, ClusterStackStatus,
    ClusterStoreSpec, ImageSpec, ImageStatus, OwnerReference, Resource, go_yaml,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Returns the object with all fields that its type has: `status: {}`, `creationTimestamp: null`.
pub(crate) fn complete(object: &Value) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&compact(object)?)?)
}

/// Returns the object as JSON in one line.
pub(crate) fn compact(object: &Value) -> anyhow::Result<String> {
    write(object, Form::Compact)
}

/// Returns the object as indented JSON.
pub(crate) fn pretty(object: &Value) -> anyhow::Result<String> {
    write(object, Form::Pretty)
}

/// Returns the object as YAML with sorted keys.
pub(crate) fn yaml(object: &Value) -> anyhow::Result<String> {
    Ok(go_yaml(&complete(object)?))
}

#[derive(Clone, Copy)]
enum Form {
    Compact,
    Pretty,
}

fn write(object: &Value, form: Form) -> anyhow::Result<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match kind {
        "Image" => kpack::<ImageSpec, ImageStatus>(object, form),
        "Build" => kpack::<BuildSpec, BuildStatus>(object, form),
        "Builder" => kpack::<BuilderSpec, BuilderStatus>(object, form),
        "ClusterBuilder" => kpack::<ClusterBuilderSpec, BuilderStatus>(object, form),
        "Buildpack" => kpack::<BuildpackSpec, BuildpacksStatus>(object, form),
        "ClusterBuildpack" => kpack::<ClusterBuildpackSpec, BuildpacksStatus>(object, form),
        "ClusterStore" => kpack::<ClusterStoreSpec, BuildpacksStatus>(object, form),
        "ClusterStack" => kpack::<ClusterStackSpec, ClusterStackStatus>(object, form),
        "ClusterLifecycle" => kpack::<ClusterLifecycleSpec, ClusterLifecycleStatus>(object, form),
        _ => text(&Headed::of(object, Core::of(object)), form),
    }
    .with_context(|| format!("cannot show this {kind}"))
}

fn kpack<S, T>(object: &Value, form: Form) -> anyhow::Result<String>
where
    S: Default + DeserializeOwned + Serialize,
    T: Default + DeserializeOwned + Serialize,
{
    let Resource { spec, status, .. } = rebuild_policy::decode::<Resource<S, T>>(object)?;
    text(&Headed::of(object, Kpack { spec, status }), form)
}

fn text(value: &impl Serialize, form: Form) -> anyhow::Result<String> {
    match form {
        Form::Compact => Ok(cnb_order::go_json_of(value)?),
        Form::Pretty => {
            let mut bytes = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
            // These occur in texts only, where the clients escape them.
            let text = String::from_utf8(bytes)?;
            let escape = |text: String, (character, escaped): &(char, &str)| text.replace(*character, escaped);
            Ok([('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026")]
                .iter()
                .fold(text, escape))
        }
    }
}

/// The head of any object, and what its kind adds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Headed<'a, B> {
    kind: &'a Value,
    api_version: &'a Value,
    metadata: Metadata<'a>,
    #[serde(flatten)]
    body: B,
}

impl<'a, B> Headed<'a, B> {
    fn of(object: &'a Value, body: B) -> Self {
        Self {
            kind: &object["kind"],
            api_version: &object["apiVersion"],
            metadata: Metadata::of(&object["metadata"]),
            body,
        }
    }
}

#[derive(Serialize)]
struct Kpack<S, T> {
    spec: S,
    status: T,
}

/// The fields of Secret, ServiceAccount and ConfigMap, which share none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Core<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_pull_secrets: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    automount_service_account_token: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_data: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    string_data: Option<&'a Value>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind_of_secret: Option<&'a Value>,
}

impl<'a> Core<'a> {
    fn of(object: &'a Value) -> Self {
        let field = |name: &str| written(object, name);
        Self {
            secrets: field("secrets"),
            image_pull_secrets: field("imagePullSecrets"),
            automount_service_account_token: field("automountServiceAccountToken"),
            immutable: field("immutable"),
            data: field("data"),
            binary_data: field("binaryData"),
            string_data: field("stringData"),
            kind_of_secret: field("type"),
        }
    }
}

/// Returns a field, unless it is one that the API's own clients leave out: null or empty.
fn written<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    object.get(name).filter(|value| !is_empty(value))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate_name: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<&'a Value>,
    /// The one that is written even when there is none.
    creation_timestamp: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_grace_period_seconds: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owner_references: Vec<OwnerReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finalizers: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    managed_fields: Vec<ManagedFields<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManagedFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields_type: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields_v1: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<&'a Value>,
}

impl<'a> Metadata<'a> {
    fn of(metadata: &'a Value) -> Self {
        let field = |name: &str| written(metadata, name);
        let managed = |entry: &'a Value| {
            let field = |name: &str| entry.get(name);
            ManagedFields {
                manager: field("manager"),
                operation: field("operation"),
                api_version: field("apiVersion"),
                time: field("time"),
                fields_type: field("fieldsType"),
                fields_v1: field("fieldsV1"),
                subresource: field("subresource"),
            }
        };
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        Self {
            name: field("name"),
            generate_name: field("generateName"),
            namespace: field("namespace"),
            uid: field("uid"),
            resource_version: field("resourceVersion"),
            generation: field("generation"),
            creation_timestamp: field("creationTimestamp"),
            deletion_timestamp: field("deletionTimestamp"),
            deletion_grace_period_seconds: field("deletionGracePeriodSeconds"),
            labels: field("labels"),
            annotations: field("annotations"),
            owner_references: owners
                .filter_map(|owner| serde_json::from_value(owner.clone()).ok())
                .collect(),
            finalizers: field("finalizers"),
            managed_fields: metadata["managedFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(managed)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_empty_is_left_out() {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "bot", "labels": {}, "annotations": {"a": ""}, "finalizers": []},
            "secrets": [{"name": "hub"}], "imagePullSecrets": [], "automountServiceAccountToken": false,
        });
        assert_eq!(
            compact(&account).expect("it is an account"),
            r#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"bot","creationTimestamp":null,"annotations":{"a":""}},"secrets":[{"name":"hub"}],"automountServiceAccountToken":false}"#
        );
    }

    #[test]
    fn an_object_is_written_in_the_order_of_its_type_with_the_fields_that_are_never_left_out() {
        let object = json!({
            "apiVersion": "kpack.io/v1alpha2", "kind": "ClusterStore", "metadata": {"name": "a<b"},
            "spec": {"serviceAccountRef": {"name": "n", "namespace": "s"}, "sources": [{"image": "i"}]},
        });
        assert_eq!(
            compact(&object).expect("it is a store"),
            r#"{"kind":"ClusterStore","apiVersion":"kpack.io/v1alpha2","metadata":{"name":"a\u003cb","creationTimestamp":null},"spec":{"sources":[{"image":"i"}],"serviceAccountRef":{"namespace":"s","name":"n"}},"status":{}}"#
        );
        assert!(
            yaml(&object)
                .expect("it is a store")
                .starts_with("apiVersion: kpack.io/v1alpha2\nkind: ClusterStore\n")
        );
    }
}

//! [`Object`]: one resource as the API shows it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// A resource of a known [`Kind`]: a JSON document with `apiVersion`, `kind` and `metadata`.
///
/// Unknown fields are kept. The document is always in the version that is stored
/// ([`Kind::api_version`]); other versions are converted where requests enter and leave.
#[derive(Clone, PartialEq)]
pub struct Object {
    kind: Kind,
    /// Always a JSON object whose `metadata` is a JSON object.
    value: Value,
}

impl Object {
    /// Makes an object that has only a name; `namespace` is `None` for kinds of the whole cluster.
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Self {
        let mut metadata = json!({ "name": name });
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        let value = json!({ "apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata });
        Self { kind, value }
    }

    /// Checks that `value` is a document of a kind that is served, in the stored version.
    ///
    /// An absent `metadata` becomes an empty one.
    ///
    /// # Errors
    /// When it is no JSON object, lacks `apiVersion` or `kind`, is of an unknown kind or version, or has
    /// metadata of the wrong type.
    pub fn from_value(mut value: Value) -> Result<Self, InvalidObject> {
        let Some(map) = value.as_object_mut() else {
            return Err(InvalidObject::NotAnObject);
        };
        let text = |key: &'static str| {
            map.get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .ok_or(InvalidObject::Missing(key))
        };
        let (api_version, name) = (text("apiVersion")?, text("kind")?);
        let kind = Kind::of_object(api_version, name)
            .filter(|kind| kind.api_version() == api_version)
            .ok_or_else(|| InvalidObject::UnknownKind {
                api_version: api_version.to_owned(),
                kind: name.to_owned(),
            })?;
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        check_metadata(metadata)?;
        Ok(Self { kind, value })
    }

    /// Makes an object from a typed resource that serialises to such a document.
    ///
    /// # Errors
    /// As [`Object::from_value`], and when `typed` cannot be represented as JSON.
    pub fn from_typed<T: Serialize>(typed: &T) -> Result<Self, InvalidObject> {
        Self::from_value(serde_json::to_value(typed).map_err(|source| InvalidObject::Encode { source })?)
    }

    /// Reads the document as a typed resource.
    ///
    /// # Errors
    /// When a field has another type than `T` wants.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, InvalidObject> {
        T::deserialize(&self.value).map_err(|source| InvalidObject::Decode {
            kind: self.kind,
            name: self.name().to_owned(),
            source,
        })
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the namespace; `None` for kinds of the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.meta_text("namespace")
    }

    /// Returns the name, `""` while only `generateName` is known.
    pub fn name(&self) -> &str {
        self.meta_text("name").unwrap_or_default()
    }

    /// Returns the id that no other object ever has, `""` before creation.
    pub fn uid(&self) -> &str {
        self.meta_text("uid").unwrap_or_default()
    }

    /// Returns the version of this state of the object; `None` before creation.
    pub fn resource_version(&self) -> Option<ResourceVersion> {
        self.meta_text("resourceVersion")?.parse().ok()
    }

    /// Returns how often the wanted state changed since creation, 0 before it.
    pub fn generation(&self) -> i64 {
        self.metadata()
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    /// Returns when the object was made, as RFC 3339 text.
    pub fn creation_timestamp(&self) -> Option<&str> {
        self.meta_text("creationTimestamp")
    }

    /// Returns since when the object waits for its finalizers, as RFC 3339 text.
    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.meta_text("deletionTimestamp")
    }

    /// Returns the labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        text_map(self.metadata().get("labels"))
    }

    /// Returns the annotations.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        text_map(self.metadata().get("annotations"))
    }

    /// Returns one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata().get("labels")?.get(key)?.as_str()
    }

    /// Returns one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata().get("annotations")?.get(key)?.as_str()
    }

    /// Returns the names of the finalizers that hold the object back from deletion.
    pub fn finalizers(&self) -> Vec<&str> {
        let list = self.metadata().get("finalizers").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Returns the objects that own this one.
    pub fn owners(&self) -> Vec<Owner> {
        let list = self.metadata().get("ownerReferences").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Owner::from_value).collect()
    }

    /// Returns the owner reference that names this object as the controller, for its dependents' metadata.
    pub fn controller_reference(&self) -> Value {
        json!({
            "apiVersion": self.kind.api_version(),
            "kind": self.kind.name(),
            "name": self.name(),
            "uid": self.uid(),
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }

    /// Returns the value at a JSON pointer, such as `/status/latestImage`.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// Returns the text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer)?.as_str()
    }

    /// Returns the metadata.
    pub fn metadata(&self) -> &Map<String, Value> {
        self.value["metadata"]
            .as_object()
            .expect("metadata is checked where the object is made")
    }

    /// Returns the metadata, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        self.value["metadata"]
            .as_object_mut()
            .expect("metadata is checked where the object is made")
    }

    /// Sets a top-level field other than `apiVersion`, `kind` and `metadata`, such as `status`.
    ///
    /// # Panics
    /// When `key` is one of those three: they have checks of their own.
    pub fn set(&mut self, key: &str, value: Value) {
        assert!(
            !matches!(key, "apiVersion" | "kind" | "metadata"),
            "{key} is set through its own methods"
        );
        self.value
            .as_object_mut()
            .expect("an object is a JSON object")
            .insert(key.to_owned(), value);
    }

    /// Removes a top-level field other than `apiVersion`, `kind` and `metadata`, and returns it.
    ///
    /// # Panics
    /// As [`Object::set`].
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        assert!(
            !matches!(key, "apiVersion" | "kind" | "metadata"),
            "{key} is needed by every object"
        );
        self.value
            .as_object_mut()
            .expect("an object is a JSON object")
            .remove(key)
    }

    /// Sets a label.
    pub fn set_label(&mut self, key: &str, value: &str) {
        insert_text(self.metadata_mut(), "labels", key, value);
    }

    /// Sets an annotation.
    pub fn set_annotation(&mut self, key: &str, value: &str) {
        insert_text(self.metadata_mut(), "annotations", key, value);
    }

    /// Returns the document.
    pub fn as_value(&self) -> &Value {
        &self.value
    }

    /// Returns the document.
    pub fn into_value(self) -> Value {
        self.value
    }

    fn meta_text(&self, key: &str) -> Option<&str> {
        self.metadata().get(key)?.as_str().filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Object {
    /// Names the object; its content is not shown, it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({self} rv={:?})", self.resource_version())
    }
}

impl fmt::Display for Object {
    /// Prints kind, namespace and name: `Image demo/shop`, `ClusterStore base`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name()),
            None => write!(f, "{} {}", self.kind, self.name()),
        }
    }
}

/// An entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// API version of the owner, in any served version.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the dependent's namespace or of the whole cluster.
    pub name: String,
    /// The owner's uid: an object of the same name made later is another owner.
    pub uid: String,
    /// Whether the owner is the one that manages the dependent.
    pub controller: bool,
}

impl Owner {
    fn from_value(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        Some(Self {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            name: text("name")?,
            uid: text("uid")?,
            controller: value.get("controller").and_then(Value::as_bool).unwrap_or_default(),
        })
    }
}

/// The version of a state of the store: grows with each change of any object, also over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion(u64);

impl ResourceVersion {
    /// Makes a version from its number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl FromStr for ResourceVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a JSON document is no object of the API.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidObject {
    /// It is a list, a text or a number.
    #[error("the document is not a JSON object")]
    NotAnObject,
    /// A field that every object has is missing or empty.
    #[error("the document has no {0}")]
    Missing(&'static str),
    /// A metadata field has the wrong type.
    #[error("{field} is not {expected}")]
    Metadata {
        /// The field: `metadata` itself, or one below it, such as `metadata.labels`.
        field: String,
        /// What it should be, such as `a map of texts`.
        expected: &'static str,
    },
    /// Nothing of this kind is served.
    #[error("no matches for kind \"{kind}\" in version \"{api_version}\"")]
    UnknownKind {
        /// The document's `apiVersion`.
        api_version: String,
        /// The document's `kind`.
        kind: String,
    },
    /// A typed resource could not be made from the document.
    #[error("{kind} {name} has a field of an unexpected type: {source}")]
    Decode {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// What the decoder says.
        source: serde_json::Error,
    },
    /// A typed resource could not be written as a document.
    #[error("the resource cannot be written as JSON: {source}")]
    Encode {
        /// What the encoder says.
        source: serde_json::Error,
    },
}

/// How deep objects may be nested, so that everything that is stored can be read again: readers of JSON stop at 127.
pub(crate) const DEEPEST: usize = 100;

/// Returns how many lists and maps are within each other at most.
pub(crate) fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(list) => list.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or_default()
}

fn check_metadata(metadata: &Value) -> Result<(), InvalidObject> {
    let map = metadata.as_object().ok_or_else(|| InvalidObject::Metadata {
        field: "metadata".to_owned(),
        expected: "an object",
    })?;
    let wrong = |key: &str, expected| InvalidObject::Metadata {
        field: format!("metadata.{key}"),
        expected,
    };
    let is_text_or_null = |value: &Value| value.is_string() || value.is_null();
    for (key, value) in map {
        match key.as_str() {
            "name" | "generateName" | "namespace" | "uid" | "resourceVersion" | "creationTimestamp"
            | "deletionTimestamp" | "selfLink"
                if !is_text_or_null(value) =>
            {
                return Err(wrong(key, "a text"));
            }
            "labels" | "annotations"
                if !value.is_null() && !value.as_object().is_some_and(|map| map.values().all(is_text_or_null)) =>
            {
                return Err(wrong(key, "a map of texts"));
            }
            "finalizers"
                if !value.is_null() && !value.as_array().is_some_and(|list| list.iter().all(Value::is_string)) =>
            {
                return Err(wrong(key, "a list of texts"));
            }
            "ownerReferences" | "managedFields"
                if !value.is_null() && !value.as_array().is_some_and(|list| list.iter().all(Value::is_object)) =>
            {
                return Err(wrong(key, "a list of objects"));
            }
            "generation" if !(value.is_i64() || value.is_u64() || value.is_null()) => {
                return Err(wrong(key, "a whole number"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn text_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn insert_text(metadata: &mut Map<String, Value>, field: &str, key: &str, value: &str) {
    let map = metadata.entry(field).or_insert_with(|| json!({}));
    if !map.is_object() {
        *map = json!({});
    }
    map[key] = json!(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_metadata_gets_an_empty_one() {
        let object = Object::from_value(json!({"apiVersion": "v1", "kind": "Secret"})).expect("valid");
        assert_eq!(object.name(), "");
        assert!(object.labels().is_empty());
    }

    #[test]
    fn an_unknown_kind_is_refused_as_kubernetes_words_it() {
        let error = Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no matches for kind \"Deployment\" in version \"apps/v1\""
        );
    }

    #[test]
    fn the_old_version_must_be_converted_before() {
        assert!(Object::from_value(json!({"apiVersion": "kpack.io/v1alpha1", "kind": "Image"})).is_err());
    }

    #[test]
    fn metadata_of_the_wrong_type_is_refused_with_its_field() {
        let refused = |metadata: Value| {
            let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
            Object::from_value(document).unwrap_err().to_string()
        };
        assert_eq!(refused(json!([])), "metadata is not an object");
        assert_eq!(refused(json!({"name": 1})), "metadata.name is not a text");
        assert_eq!(
            refused(json!({"labels": {"a": 1}})),
            "metadata.labels is not a map of texts"
        );
        assert_eq!(
            refused(json!({"finalizers": "x"})),
            "metadata.finalizers is not a list of texts"
        );
    }

    #[test]
    fn debug_output_names_the_object_and_never_its_content() {
        let mut secret = Object::new(Kind::Secret, Some("demo"), "regcreds");
        secret.set("stringData", json!({"password": "hunter2"}));
        assert_eq!(format!("{secret:?}"), "Object(Secret demo/regcreds rv=None)");
    }
}

//! Between `kpack.io/v1alpha1` and `kpack.io/v1alpha2`.

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::decode::{DecodeError, decode};
use crate::go_fields::position;
use crate::resource::{API_VERSION, Build, Builder, Image, SourceResolver};

/// The API version from before; everything that can be said in it can be said in [`API_VERSION`] too.
pub const OLD_API_VERSION: &str = "kpack.io/v1alpha1";

/// Fields of an Image that the old version keeps in annotations: annotation, place, whether as JSON.
const ANNOTATED: [(&str, &[&str], Form); 12] = [
    ("kpack.io/services", &["build", "services"], Form::Json),
    ("kpack.io/tolerations", &["build", "tolerations"], Form::Json),
    ("kpack.io/nodeSelector", &["build", "nodeSelector"], Form::Map),
    ("kpack.io/affinity", &["build", "affinity"], Form::Json),
    ("kpack.io/runtimeClassName", &["build", "runtimeClassName"], Form::Text),
    ("kpack.io/schedulerName", &["build", "schedulerName"], Form::Text),
    ("kpack.io/buildTimeout", &["build", "buildTimeout"], Form::Number),
    (
        "kpack.io/cache.volume.storageClassName",
        &["cache", "volume", "storageClassName"],
        Form::Text,
    ),
    ("kpack.io/cache.registry.tag", &["cache", "registry", "tag"], Form::Text),
    ("kpack.io/projectDescriptorPath", &["projectDescriptorPath"], Form::Text),
    ("kpack.io/defaultProcess", &["defaultProcess"], Form::Text),
    ("kpack.io/cosignAnnotation", &["cosign", "annotations"], Form::Json),
];

#[derive(Clone, Copy)]
enum Form {
    /// Objects of known types.
    Json,
    /// An object with keys that users choose.
    Map,
    Text,
    Number,
}

/// Why an object cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The kind exists in one version only, or its versions cannot be converted.
    #[error("no conversion support for type [kind={kind} group=kpack.io]")]
    Kind {
        /// The kind.
        kind: String,
    },
    /// There is no such version.
    #[error("unknown version {version}: the versions of kpack.io are v1alpha1 and v1alpha2")]
    Version {
        /// The version.
        version: String,
    },
    /// A field has the wrong type.
    #[error("cannot convert the object: {source}")]
    Decode {
        /// Which and why.
        source: DecodeError,
    },
}

/// Converts an object of one version of `kpack.io` to another, and fills in what users may leave out.
///
/// What an Image can only say in the newer version travels in annotations of the older one, except for
/// `additionalTags` and `build.creationTime`, which are lost. Of the other kinds such fields are lost.
///
/// # Errors
/// When the kind cannot be converted, the version does not exist or a field has the wrong type.
pub fn convert(object: &Value, to: &str) -> Result<Value, ConvertError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    for version in [text("apiVersion"), to] {
        if ![API_VERSION, OLD_API_VERSION].contains(&version) {
            return Err(ConvertError::Version {
                version: version.to_owned(),
            });
        }
    }
    let is_old = text("apiVersion") == OLD_API_VERSION;
    let new = match text("kind") {
        "Image" => {
            let new = if is_old { image_to_new(object) } else { object.clone() };
            typed(&new, |image: &mut Image| image.spec.set_defaults(false))?
        }
        "Build" => {
            let new = if is_old { build_to_new(object) } else { object.clone() };
            typed(&new, |build: &mut Build| build.spec.set_defaults())?
        }
        "Builder" => {
            let new = if is_old { builder_to_new(object) } else { object.clone() };
            typed(&new, |builder: &mut Builder| builder.spec.set_defaults())?
        }
        "SourceResolver" => typed(object, |_: &mut SourceResolver| {})?,
        kind => return Err(ConvertError::Kind { kind: kind.to_owned() }),
    };
    let mut converted = match (to, text("kind")) {
        (OLD_API_VERSION, "Image") => image_to_old(new),
        (OLD_API_VERSION, "Build") => build_to_old(new),
        (OLD_API_VERSION, "Builder") => builder_to_old(new),
        _ => new,
    };
    converted["apiVersion"] = json!(to);
    Ok(converted)
}

fn typed<T: DeserializeOwned + Serialize>(object: &Value, complete: impl Fn(&mut T)) -> Result<Value, ConvertError> {
    let mut typed: T = decode(object).map_err(|source| ConvertError::Decode { source })?;
    complete(&mut typed);
    Ok(serde_json::to_value(typed).expect("resources hold text, numbers and maps with text keys, which all have JSON"))
}

/// Takes a field out of an object.
fn take(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field).filter(|value| !value.is_null())
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = take(object, from)
        && let Some(fields) = object.as_object_mut()
    {
        fields.insert(to.to_owned(), value);
    }
}

fn keep(object: &mut Value, fields: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|name, _| fields.contains(&name.as_str()));
    }
}

fn at<'a>(spec: &'a Value, place: &[&str]) -> Option<&'a Value> {
    place.iter().try_fold(spec, |value, field| value.get(field))
}

fn put(spec: &mut Value, place: &[&str], value: Value) {
    let mut target = spec;
    for field in place {
        if !target.is_object() {
            *target = Value::Object(Map::new());
        }
        target = &mut target[*field];
    }
    *target = value;
}

fn image_to_old(mut image: Value) -> Value {
    let spec = &mut image["spec"];
    let mut annotations = Map::new();
    for (annotation, place, form) in ANNOTATED {
        let Some(value) = at(spec, place) else { continue };
        let text = match (form, value) {
            (Form::Text, Value::String(text)) => text.clone(),
            (form, value) => {
                let is_map = matches!(form, Form::Map);
                cnb_order::go_json_of(&GoOrder { value, is_map }).expect("a JSON value has only string keys")
            }
        };
        annotations.insert(annotation.to_owned(), json!(text));
    }
    if let Some(size) = at(spec, &["cache", "volume", "size"]).cloned() {
        spec["cacheSize"] = size;
    }
    rename(spec, "serviceAccountName", "serviceAccount");
    for field in [
        "cache",
        "projectDescriptorPath",
        "defaultProcess",
        "cosign",
        "additionalTags",
    ] {
        take(spec, field);
    }
    if let Some(build) = spec.get_mut("build") {
        rename(build, "cnbBindings", "bindings");
        keep(build, &["bindings", "env", "resources"]);
    }
    if !annotations.is_empty() {
        let all = &mut image["metadata"]["annotations"];
        if !all.is_object() {
            *all = Value::Object(Map::new());
        }
        if let Some(all) = all.as_object_mut() {
            all.extend(annotations);
        }
    }
    image
}

fn image_to_new(image: &Value) -> Value {
    let mut image = image.clone();
    let mut annotations = image["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let spec = &mut image["spec"];
    rename(spec, "serviceAccount", "serviceAccountName");
    if let Some(size) = take(spec, "cacheSize") {
        put(spec, &["cache", "volume", "size"], size);
    }
    if let Some(build) = spec.get_mut("build") {
        rename(build, "bindings", "cnbBindings");
    }
    for (annotation, place, form) in ANNOTATED {
        let Some(text) = annotations.get(annotation).and_then(Value::as_str) else {
            continue;
        };
        let value = match form {
            Form::Text => Some(json!(text)),
            Form::Number => text.parse::<i64>().ok().map(|number| json!(number)),
            Form::Json | Form::Map => serde_json::from_str(text).ok(),
        };
        // One that cannot be read stays, so that nothing is lost.
        if let Some(value) = value {
            put(spec, place, value);
            annotations.remove(annotation);
        }
    }
    if let Some(metadata) = image["metadata"].as_object_mut() {
        if annotations.is_empty() {
            metadata.remove("annotations");
        } else {
            metadata.insert("annotations".to_owned(), Value::Object(annotations));
        }
    }
    image
}

fn build_to_old(mut build: Value) -> Value {
    let spec = &mut build["spec"];
    if let Some(claim) = at(spec, &["cache", "volume", "persistentVolumeClaimName"]).cloned() {
        spec["cacheName"] = claim;
    }
    rename(spec, "serviceAccountName", "serviceAccount");
    rename(spec, "cnbBindings", "bindings");
    let kept = [
        "tags",
        "builder",
        "serviceAccount",
        "source",
        "cacheName",
        "bindings",
        "env",
        "resources",
        "lastBuild",
        "notary",
    ];
    keep(spec, &kept);
    if let Some(last) = spec.get_mut("lastBuild") {
        keep(last, &["image", "stackId"]);
    }
    for field in ["lifecycleVersion", "latestCacheImage", "latestAttestationImage"] {
        take(&mut build["status"], field);
    }
    build
}

fn build_to_new(build: &Value) -> Value {
    let mut build = build.clone();
    let spec = &mut build["spec"];
    rename(spec, "serviceAccount", "serviceAccountName");
    rename(spec, "bindings", "cnbBindings");
    if let Some(claim) = take(spec, "cacheName") {
        put(spec, &["cache", "volume", "persistentVolumeClaimName"], claim);
    }
    build
}

fn builder_to_old(mut builder: Value) -> Value {
    let spec = &mut builder["spec"];
    rename(spec, "serviceAccountName", "serviceAccount");
    keep(spec, &["tag", "stack", "store", "order", "serviceAccount"]);
    for group in spec["order"].as_array_mut().into_iter().flatten() {
        let Some(Value::Array(mut entries)) = take(group, "group") else {
            continue;
        };
        entries.retain(|entry| entry["id"].as_str().is_some_and(|id| !id.is_empty()));
        for entry in &mut entries {
            keep(entry, &["id", "version", "optional"]);
        }
        if !entries.is_empty() {
            group["group"] = Value::Array(entries);
        }
    }
    if spec["order"].is_null() {
        take(spec, "order");
    }
    take(&mut builder["status"], "lifecycle");
    take(&mut builder["status"], "signaturePaths");
    builder
}

fn builder_to_new(builder: &Value) -> Value {
    let mut builder = builder.clone();
    rename(&mut builder["spec"], "serviceAccount", "serviceAccountName");
    builder
}

/// A value whose fields are written in the order of their Go type, maps by key.
struct GoOrder<'a> {
    value: &'a Value,
    is_map: bool,
}

impl Serialize for GoOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| (if self.is_map { 0 } else { position(name) }, *name));
                serializer.collect_map(fields.into_iter().map(|(name, value)| {
                    let is_map = !self.is_map && name == "matchLabels";
                    (name, GoOrder { value, is_map })
                }))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(|value| GoOrder { value, is_map: false })),
            other => other.serialize(serializer),
        }
    }
}

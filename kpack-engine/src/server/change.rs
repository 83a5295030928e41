//! Creating, replacing, patching and deleting objects.

use serde_json::{Value, json};

use super::answer::Answer;
use super::api::Api;
use super::apply::{self, Apply};
use super::call::{Call, yaml};
use super::list;
use super::patch::{PatchError, json_patch, merge_patch, strategic_merge_patch};
use super::route::Target;
use super::versions::Version;
use crate::store::{Caller, DeleteOptions, Deleted, Part, WriteOptions, Written};
use crate::{ApiError, Kind, Object, Resources};

/// The types of patches that custom kinds take.
const PATCH_TYPES: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

fn part(target: &Target) -> Part {
    if target.subresource.is_some() {
        Part::Status
    } else {
        Part::Main
    }
}

fn options(call: &Call, target: &Target, caller: &Caller) -> Result<WriteOptions, ApiError> {
    Ok(WriteOptions {
        dry_run: call.dry_run()?,
        intercepted: target.version == Version::Stored,
        ..WriteOptions::new(caller.clone(), &call.manager())
    })
}

/// Answers `POST`.
pub(super) fn create(api: &Api, call: &Call, target: &Target, caller: &Caller) -> Result<Answer, ApiError> {
    let object = read(call, target, None)?;
    let written = api.store.create_as(object, &options(call, target, caller)?)?;
    let answer = shown(api, call, target, written)?;
    Ok(Answer { status: 201, ..answer })
}

/// Answers `PUT`.
pub(super) fn replace(
    api: &Api,
    call: &Call,
    target: &Target,
    name: &str,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let object = read(call, target, Some(name))?;
    let written = api
        .store
        .replace_as(&object, part(target), &options(call, target, caller)?)?;
    shown(api, call, target, written)
}

/// Answers `PATCH`.
pub(super) fn patch(api: &Api, call: &Call, target: &Target, name: &str, caller: &Caller) -> Result<Answer, ApiError> {
    let mut options = options(call, target, caller)?;
    let content_type = call.content_type();
    let unreadable = |error: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {error}"));
    let body = || serde_json::from_slice::<Value>(&call.body).map_err(unreadable);
    let at = (target.kind, target.namespace.as_deref(), name);
    let written = match content_type.as_str() {
        "application/json-patch+json" => {
            let patch = body()?;
            let change = |document: &Value| json_patch(document, &patch).map_err(refused);
            api.store
                .modify_as(at, part(target), &options, &mut |old| changed(target, old, &change))?
        }
        "application/merge-patch+json" => {
            let patch = body()?;
            let change = |document: &Value| {
                let mut document = document.clone();
                merge_patch(&mut document, &patch);
                Ok(document)
            };
            api.store
                .modify_as(at, part(target), &options, &mut |old| changed(target, old, &change))?
        }
        "application/strategic-merge-patch+json" if !target.kind.is_kpack() => {
            let patch = body()?;
            let change = |document: &Value| strategic_merge_patch(target.kind, document, &patch).map_err(refused);
            api.store
                .modify_as(at, part(target), &options, &mut |old| changed(target, old, &change))?
        }
        "application/apply-patch+yaml" => {
            let manager = call.query.text("fieldManager");
            if manager.is_empty() {
                return Err(ApiError::bad_request(
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
                ));
            }
            let config = checked(target, Some(name), yaml(&call.body)?)?;
            let force = call.query.flag("force");
            options.applied = true;
            let now = (api.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let apply = Apply {
                manager,
                force,
                part: part(target),
                now: &now,
            };
            return applied(api, call, target, (config, apply), &options);
        }
        _ => {
            let strategic = if target.kind.is_kpack() {
                ""
            } else {
                ", application/strategic-merge-patch+json"
            };
            return Err(ApiError::UnsupportedMediaType {
                message: format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     {PATCH_TYPES}{strategic}"
                ),
            });
        }
    };
    shown(api, call, target, written)
}

/// Server-side apply: changes the object, or creates it when there is none.
fn applied(
    api: &Api,
    call: &Call,
    target: &Target,
    (config, apply): (Object, Apply<'_>),
    options: &WriteOptions,
) -> Result<Answer, ApiError> {
    let at = (target.kind, target.namespace.as_deref(), config.name());
    if api.store.get(at.0, at.1, at.2)?.is_none() {
        if target.subresource.is_some() {
            return Err(ApiError::NotFound {
                kind: target.kind,
                name: config.name().to_owned(),
            });
        }
        match api.store.create_as(apply::create(&config, &apply)?, options) {
            // Someone else was faster: then it is changed.
            Err(error) if error.is_already_exists() => {}
            written => {
                return Ok(Answer {
                    status: 201,
                    ..shown(api, call, target, written?)?
                });
            }
        }
    }
    let written = api
        .store
        .modify_as(at, apply.part, options, &mut |old| apply::change(old, &config, &apply))?;
    shown(api, call, target, written)
}

/// Applies a change to the document of an object as the client sees it.
fn changed(
    target: &Target,
    old: &Object,
    change: &dyn Fn(&Value) -> Result<Value, ApiError>,
) -> Result<Object, ApiError> {
    let before = target.version.show(old.clone())?;
    let after = change(&before)?;
    let mut object = checked(target, Some(old.name()), after)?;
    // A patch that does not name a version is about whatever is there.
    if before.pointer("/metadata/resourceVersion") == object.as_value().pointer("/metadata/resourceVersion") {
        object.metadata_mut().remove("resourceVersion");
    }
    Ok(object)
}

fn refused(error: PatchError) -> ApiError {
    match error {
        PatchError::Malformed { problem } => ApiError::bad_request(problem),
        PatchError::Unfit { problem } => ApiError::RejectedPatch { problem },
    }
}

/// Answers `DELETE` of one object.
pub(super) fn delete(api: &Api, call: &Call, target: &Target, name: &str) -> Result<Answer, ApiError> {
    if target.subresource.is_some() {
        return Err(ApiError::MethodNotAllowed);
    }
    let deleted = api
        .store
        .delete_with(target.kind, target.namespace.as_deref(), name, &delete_options(call)?)?;
    match deleted {
        Deleted::Waiting(object) => Ok(Answer::json(&target.version.show(object)?)),
        // Real servers answer with the Pod or the Namespace itself, and with a status for everything else.
        Deleted::Gone(object) if matches!(target.kind, Kind::Pod) => Ok(Answer::json(&target.version.show(object)?)),
        Deleted::Gone(object) => Ok(Answer::json(&success(target.kind, &object))),
    }
}

/// Answers `DELETE` of all objects that are selected.
pub(super) fn delete_all(api: &Api, call: &Call, target: &Target) -> Result<Answer, ApiError> {
    if target.kind == Kind::Namespace {
        return Err(ApiError::MethodNotAllowed);
    }
    let options = delete_options(call)?;
    let found = api
        .store
        .list(target.kind, target.namespace.as_deref(), &list::selector(call, target)?)?;
    let mut deleted = Vec::new();
    for object in found.items {
        match api
            .store
            .delete_with(target.kind, object.namespace(), object.name(), &options)
        {
            Ok(Deleted::Gone(object) | Deleted::Waiting(object)) => deleted.push(object),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let metadata = json!({"resourceVersion": found.resource_version.to_string()});
    Ok(Answer::json(&list::whole(target, deleted, metadata)?))
}

fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let mut document = call.document()?.unwrap_or_else(|| json!({}));
    // Old clients say it in the query.
    for key in ["propagationPolicy"] {
        if let Some(value) = call.query.get(key) {
            document[key] = json!(value);
        }
    }
    let mut options = DeleteOptions::from_value(&document);
    options.dry_run |= call.dry_run()?;
    Ok(options)
}

fn success(kind: Kind, object: &Object) -> Value {
    let mut details = json!({"name": object.name()});
    if !kind.group().is_empty() {
        details["group"] = json!(kind.group());
    }
    details["kind"] = json!(kind.plural());
    details["uid"] = json!(object.uid());
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn shown(api: &Api, call: &Call, target: &Target, written: Written) -> Result<Answer, ApiError> {
    Ok(api.show(call, target, written.object)?.with_warnings(written.warnings))
}

fn read(call: &Call, target: &Target, name: Option<&str>) -> Result<Object, ApiError> {
    let document = call
        .document()?
        .ok_or_else(|| ApiError::bad_request("the request has no body"))?;
    checked(target, name, document)
}

/// Checks that a document is about what the path says, and fills in what only the path says.
fn checked(target: &Target, name: Option<&str>, mut document: Value) -> Result<Object, ApiError> {
    let kind = target.kind;
    let map = document
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("the body is not a JSON object"))?;
    for (key, value) in [
        ("apiVersion", target.version.api_version(kind)),
        ("kind", kind.name().to_owned()),
    ] {
        let missing = map.get(key).is_none_or(|given| given.as_str() == Some(""));
        if missing {
            map.insert(key.to_owned(), json!(value));
        }
    }
    let given = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    if given != kind.name() {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({given}) does not match the expected kind ({kind})"
        )));
    }
    let mut object = target.version.read(kind, document)?;
    match (object.namespace().map(str::to_owned), &target.namespace) {
        (None, Some(namespace)) => {
            object.metadata_mut().insert("namespace".to_owned(), json!(namespace));
        }
        (Some(given), Some(namespace)) if given != *namespace => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        _ => {}
    }
    match name {
        Some(name) if object.name().is_empty() => {
            object.metadata_mut().insert("name".to_owned(), json!(name));
        }
        Some(name) if object.name() != name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                object.name()
            )));
        }
        _ => {}
    }
    Ok(object)
}

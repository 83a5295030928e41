//! Deleting objects, and all that follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::request::{DeleteOptions, Deleted, Propagation};
use super::shared::{Shared, Writer};
use super::write::time_text;
use crate::{ApiError, Kind, Object};

/// The finalizer of an object that waits for its dependents.
const FOREGROUND: &str = "foregroundDeletion";

/// Deletes an object, and what it owns as `options` say.
pub(super) fn delete(
    shared: &Shared,
    (kind, namespace, name): (Kind, Option<&str>, &str),
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let mut writer = shared.writer();
    let not_found = || ApiError::NotFound {
        kind,
        name: name.to_owned(),
    };
    let object = shared.find(kind, namespace, name).ok_or_else(not_found)?;
    check_preconditions(&object, options)?;
    if kind == Kind::Namespace && name == "default" {
        let message = "this namespace may not be deleted".to_owned();
        return Err(ApiError::Forbidden {
            kind,
            name: name.to_owned(),
            message,
        });
    }
    if options.dry_run {
        return Ok(Deleted::Gone((*object).clone()));
    }
    if options.propagation == Propagation::Orphan {
        orphan_dependents(shared, &mut writer, object.uid())?;
    }
    begin(shared, &mut writer, &object, options.propagation)?;
    settle(shared, &mut writer)?;
    Ok(
        match shared
            .find(kind, namespace, name)
            .filter(|found| found.uid() == object.uid())
        {
            Some(waiting) => Deleted::Waiting((*waiting).clone()),
            None => Deleted::Gone((*object).clone()),
        },
    )
}

/// Removes an object, or marks it when something holds it back.
fn begin(shared: &Shared, writer: &mut Writer, object: &Arc<Object>, propagation: Propagation) -> Result<(), ApiError> {
    if object.deletion_timestamp().is_some() {
        return Ok(());
    }
    let mut marked = (**object).clone();
    if propagation == Propagation::Foreground && dependents(shared, object.uid()).next().is_some() {
        let mut finalizers: Vec<Value> = object.finalizers().into_iter().map(|name| json!(name)).collect();
        finalizers.push(json!(FOREGROUND));
        marked
            .metadata_mut()
            .insert("finalizers".to_owned(), Value::Array(finalizers));
    }
    let is_namespace = object.kind() == Kind::Namespace;
    if marked.finalizers().is_empty() && !is_namespace {
        return shared.take(writer, object).map(drop);
    }
    if is_namespace {
        marked.set("status", json!({"phase": "Terminating"}));
    }
    let generation = marked.generation();
    let metadata = marked.metadata_mut();
    metadata.insert("deletionTimestamp".to_owned(), json!(time_text(shared)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
    if generation > 0 {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
    shared.put(writer, marked).map(drop)
}

/// Carries out everything that follows from what is stored, until nothing more follows.
///
/// Dependents whose owners are all gone go; namespaces that end lose their content, then end; objects that
/// waited for their dependents go after them. Also run when a store is opened: a crash in between only
/// delays it.
pub(super) fn settle(shared: &Shared, writer: &mut Writer) -> Result<(), ApiError> {
    while settle_once(shared, writer)? {}
    Ok(())
}

fn settle_once(shared: &Shared, writer: &mut Writer) -> Result<bool, ApiError> {
    let all = shared.all();
    let uids: BTreeSet<&str> = all.iter().map(|object| object.uid()).collect();
    let ending: BTreeSet<&str> = all
        .iter()
        .filter(|o| is_ending_namespace(o))
        .map(|o| o.name())
        .collect();
    let foreground: BTreeSet<&str> = all
        .iter()
        .filter(|object| waits_for_dependents(object))
        .map(|object| object.uid())
        .collect();
    let mut progress = false;
    for object in &all {
        let in_ending = object.namespace().is_some_and(|namespace| ending.contains(namespace));
        let owners = object.owners();
        let owned_by_ending = owners.iter().any(|owner| foreground.contains(owner.uid.as_str()));
        let orphaned = !owners.is_empty()
            && owners.iter().all(|owner| {
                Kind::of_object(&owner.api_version, &owner.kind).is_some() && !uids.contains(owner.uid.as_str())
            });
        if (in_ending || owned_by_ending || orphaned) && object.deletion_timestamp().is_none() {
            begin(shared, writer, object, Propagation::Background)?;
            progress = true;
        }
    }
    if progress {
        return Ok(true);
    }
    for object in &all {
        if is_ending_namespace(object) && !all.iter().any(|other| other.namespace() == Some(object.name())) {
            shared.take(writer, object)?;
            progress = true;
        } else if waits_for_dependents(object) && dependents(shared, object.uid()).next().is_none() {
            release(shared, writer, object)?;
            progress = true;
        }
    }
    Ok(progress)
}

/// Takes the foreground finalizer away, and the object with it when it was the last one.
fn release(shared: &Shared, writer: &mut Writer, object: &Arc<Object>) -> Result<(), ApiError> {
    let left: Vec<Value> = object
        .finalizers()
        .into_iter()
        .filter(|name| *name != FOREGROUND)
        .map(|name| json!(name))
        .collect();
    if left.is_empty() {
        return shared.take(writer, object).map(drop);
    }
    let mut object = (**object).clone();
    object
        .metadata_mut()
        .insert("finalizers".to_owned(), Value::Array(left));
    shared.put(writer, object).map(drop)
}

fn orphan_dependents(shared: &Shared, writer: &mut Writer, owner: &str) -> Result<(), ApiError> {
    for dependent in dependents(shared, owner).collect::<Vec<_>>() {
        let mut dependent = (*dependent).clone();
        let metadata = dependent.metadata_mut();
        if let Some(list) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
            list.retain(|reference| reference.get("uid").and_then(Value::as_str) != Some(owner));
            if list.is_empty() {
                metadata.remove("ownerReferences");
            }
        }
        shared.put(writer, dependent)?;
    }
    Ok(())
}

fn dependents<'a>(shared: &Shared, owner: &'a str) -> impl Iterator<Item = Arc<Object>> + use<'a> {
    shared
        .all()
        .into_iter()
        .filter(move |object| object.owners().iter().any(|reference| reference.uid == owner))
}

fn is_ending_namespace(object: &Object) -> bool {
    object.kind() == Kind::Namespace && object.deletion_timestamp().is_some() && object.finalizers().is_empty()
}

fn waits_for_dependents(object: &Object) -> bool {
    object.deletion_timestamp().is_some() && object.finalizers().contains(&FOREGROUND)
}

fn check_preconditions(object: &Object, options: &DeleteOptions) -> Result<(), ApiError> {
    let conflict = |message| {
        Err(ApiError::Conflict {
            kind: object.kind(),
            name: object.name().to_owned(),
            message,
        })
    };
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object.uid()) {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object.uid()
        ));
    }
    match options.resource_version {
        Some(version) if Some(version) != object.resource_version() => conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            object.resource_version().unwrap_or_default()
        )),
        _ => Ok(()),
    }
}

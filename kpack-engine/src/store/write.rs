//! Creating and changing objects: the steps between a request and the file.

use std::sync::Arc;

use rustls::crypto::SecureRandom;
use serde_json::{Value, json};

use super::request::{Part, WriteOptions, Written};
use super::shared::{Shared, Writer};
use super::{admission, cascade, managed_fields, rules};
use crate::{ApiError, Cause, Kind, Object, ResourceVersion};

/// Letters of generated names: no vowels, so no words.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// How long the part before the generated letters may be.
const LONGEST_BASE: usize = 58;

/// How often a generated name that is taken is tried anew.
const NAME_TRIES: usize = 8;

/// Creates an object.
pub(super) fn create(shared: &Shared, object: Object, options: &WriteOptions) -> Result<Written, ApiError> {
    let mut writer = shared.writer();
    let written = create_locked(shared, &mut writer, object, options)?;
    if !options.dry_run {
        if written.object.kind() == Kind::Namespace {
            add_default_account(shared, &mut writer, written.object.name())?;
        }
        // An owner that is gone already takes its new dependent with it.
        if !written.object.owners().is_empty() {
            cascade::settle(shared, &mut writer)?;
        }
    }
    Ok(written)
}

fn create_locked(
    shared: &Shared,
    writer: &mut Writer,
    mut object: Object,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    if object.resource_version().is_some() {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    choose_name(shared, &mut object)?;
    rules::check_names(&object)?;
    let kind = object.kind();
    check_namespace(shared, &object)?;
    if kind.has_status() {
        object.remove("status");
    }
    rules::set_defaults(&mut object)?;
    let now = time_text(shared);
    // Fields belong to who asked for them: what admission adds, nobody owns.
    if !options.applied {
        managed_fields::record(None, &mut object, &options.manager, Part::Main, &now);
    }
    let admitted = admission::admit(shared, object, None, options)?;
    let mut object = admitted.object;
    // Admission may have written the status in full.
    if kind.has_status() {
        object.remove("status");
    }
    if shared.find(kind, object.namespace(), object.name()).is_some() {
        return Err(ApiError::AlreadyExists {
            kind,
            name: object.name().to_owned(),
        });
    }
    if kind.has_status()
        && let Some(status) = rules::first_status(kind)
    {
        object.set("status", status);
    }
    rules::check(&object, None)?;
    rules::check_depth(&object)?;
    let uid = new_uid()?;
    let metadata = object.metadata_mut();
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".to_owned(), json!(uid));
    metadata.insert("creationTimestamp".to_owned(), json!(writer.creation_time(kind, &now)));
    if rules::has_generation(kind) {
        metadata.insert("generation".to_owned(), json!(1));
    }
    tidy(&mut object);
    let object = if options.dry_run {
        object
    } else {
        shared.put(writer, object)?
    };
    Ok(Written {
        object,
        warnings: admitted.warnings,
    })
}

/// Changes an object by a function of its current state, as one step.
pub(super) fn modify(
    shared: &Shared,
    (kind, namespace, name): (Kind, Option<&str>, &str),
    part: Part,
    options: &WriteOptions,
    change: &mut dyn FnMut(&Object) -> Result<Object, ApiError>,
) -> Result<Written, ApiError> {
    let mut writer = shared.writer();
    let not_found = || ApiError::NotFound {
        kind,
        name: name.to_owned(),
    };
    let old = shared.find(kind, namespace, name).ok_or_else(not_found)?;
    if part == Part::Status && !kind.has_status() {
        return Err(ApiError::NotServed);
    }
    let wanted = change(&old)?;
    check_identity(&old, &wanted)?;
    let mut new = compose(&old, wanted, part);
    let mut warnings = Vec::new();
    if kind == Kind::Secret {
        rules::set_defaults(&mut new)?;
    }
    if !options.applied {
        managed_fields::record(Some(&old), &mut new, &options.manager, part, &time_text(shared));
    }
    if part == Part::Main {
        let admitted = admission::admit(shared, new, Some(&old), options)?;
        new = admitted.object;
        warnings = admitted.warnings;
        if kind.has_status() {
            set_or_remove(&mut new, "status", old.as_value().get("status").cloned());
        }
        rules::check(&new, Some(&old))?;
        if rules::has_generation(kind) && spec_of(&new) != spec_of(&old) {
            new.metadata_mut()
                .insert("generation".to_owned(), json!(old.generation() + 1));
        }
    }
    if part == Part::Status {
        admission::check_status(shared, &new, &old, options)?;
    }
    rules::check_depth(&new)?;
    tidy(&mut new);
    let object = store(shared, &mut writer, &old, new, options.dry_run)?;
    Ok(Written { object, warnings })
}

/// Replaces an object; a resource version in it must be the current one.
pub(super) fn replace(
    shared: &Shared,
    object: &Object,
    part: Part,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    let at = (object.kind(), object.namespace(), object.name());
    modify(shared, at, part, options, &mut |_| Ok(object.clone()))
}

fn store(
    shared: &Shared,
    writer: &mut Writer,
    old: &Arc<Object>,
    new: Object,
    dry_run: bool,
) -> Result<Object, ApiError> {
    if dry_run || same_but_for_times(old, &new) {
        // Nothing changed: the stored state is the answer, times of managers included.
        return Ok(if dry_run && !same_but_for_times(old, &new) {
            new
        } else {
            (**old).clone()
        });
    }
    let ends = new.deletion_timestamp().is_some() && new.finalizers().is_empty();
    if ends && new.kind() != Kind::Namespace {
        let last = shared.take(writer, &new)?;
        cascade::settle(shared, writer)?;
        return Ok(last);
    }
    let owners_changed = old.owners() != new.owners();
    let stored = shared.put(writer, new)?;
    if owners_changed || ends {
        cascade::settle(shared, writer)?;
    }
    Ok(stored)
}

/// Takes from `wanted` what the caller may change, everything else from `old`.
fn compose(old: &Object, wanted: Object, part: Part) -> Object {
    match part {
        Part::Status => {
            let mut new = old.clone();
            let status = wanted.as_value().get("status").cloned();
            set_or_remove(&mut new, "status", status);
            if let Some(managed) = wanted.metadata().get("managedFields").cloned() {
                new.metadata_mut().insert("managedFields".to_owned(), managed);
            }
            new
        }
        Part::Main => {
            let mut new = wanted;
            let kept = [
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
                "resourceVersion",
                "namespace",
                "name",
                "generateName",
            ];
            for key in kept {
                match old.metadata().get(key) {
                    Some(value) => new.metadata_mut().insert(key.to_owned(), value.clone()),
                    None => new.metadata_mut().remove(key),
                };
            }
            new.metadata_mut().remove("selfLink");
            // Clients that do not know of managers leave the list out; an empty list resets it.
            if !new.metadata().contains_key("managedFields")
                && let Some(managed) = old.metadata().get("managedFields")
            {
                new.metadata_mut().insert("managedFields".to_owned(), managed.clone());
            }
            if old.kind().has_status() {
                set_or_remove(&mut new, "status", old.as_value().get("status").cloned());
            }
            new
        }
    }
}

fn check_identity(old: &Object, new: &Object) -> Result<(), ApiError> {
    let (kind, name) = (old.kind(), old.name().to_owned());
    if new.kind() != kind || new.name() != name || new.namespace() != old.namespace() {
        return Err(ApiError::bad_request(format!("{new} cannot take the place of {old}")));
    }
    if !new.uid().is_empty() && new.uid() != old.uid() {
        let message = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            new.uid(),
            old.uid()
        );
        return Err(ApiError::Conflict { kind, name, message });
    }
    let given = new
        .metadata()
        .get("resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let expected = match given {
        "" | "0" => None,
        text => Some(text.parse::<ResourceVersion>().map_err(|_| {
            let cause = Cause::invalid("metadata.resourceVersion", &json!(text), "must be a whole number");
            ApiError::invalid(kind, &name, cause)
        })?),
    };
    if expected.is_some() && expected != old.resource_version() {
        let message = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(ApiError::Conflict {
            kind,
            name,
            message: message.to_owned(),
        });
    }
    Ok(())
}

fn check_namespace(shared: &Shared, object: &Object) -> Result<(), ApiError> {
    let Some(name) = object.namespace() else { return Ok(()) };
    let found = shared.find(Kind::Namespace, None, name);
    let namespace = found.ok_or_else(|| ApiError::NotFound {
        kind: Kind::Namespace,
        name: name.to_owned(),
    })?;
    if namespace.deletion_timestamp().is_some() {
        return Err(ApiError::Forbidden {
            kind: object.kind(),
            name: object.name().to_owned(),
            message: format!("unable to create new content in namespace {name} because it is being terminated"),
        });
    }
    Ok(())
}

/// Makes sure that a namespace has the service account that pods without one run as.
pub(super) fn add_default_account(shared: &Shared, writer: &mut Writer, namespace: &str) -> Result<(), ApiError> {
    if shared.find(Kind::ServiceAccount, Some(namespace), "default").is_some() {
        return Ok(());
    }
    let account = Object::new(Kind::ServiceAccount, Some(namespace), "default");
    let options = WriteOptions::new(super::Caller::controller(), "controller");
    create_locked(shared, writer, account, &options).map(drop)
}

fn choose_name(shared: &Shared, object: &mut Object) -> Result<(), ApiError> {
    if !object.name().is_empty() {
        return Ok(());
    }
    let base = object
        .metadata()
        .get("generateName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if base.is_empty() {
        return Ok(());
    }
    let base: String = base.chars().take(LONGEST_BASE).collect();
    for _ in 0..NAME_TRIES {
        let letters: String = random::<5>()?
            .iter()
            .map(|byte| NAME_LETTERS[usize::from(*byte) % NAME_LETTERS.len()] as char)
            .collect();
        let name = format!("{base}{letters}");
        if shared.find(object.kind(), object.namespace(), &name).is_none() {
            object.metadata_mut().insert("name".to_owned(), json!(name));
            return Ok(());
        }
    }
    Err(ApiError::AlreadyExists {
        kind: object.kind(),
        name: base,
    })
}

/// Everything that a new generation is about: neither metadata nor status.
fn spec_of(object: &Object) -> Vec<(&String, &Value)> {
    let map = object.as_value().as_object();
    map.into_iter()
        .flatten()
        .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
        .collect()
}

fn same_but_for_times(old: &Object, new: &Object) -> bool {
    let plain = |object: &Object| {
        let mut object = object.clone();
        managed_fields::remove_times(&mut object);
        object
    };
    plain(old) == plain(new)
}

/// Removes nulls and empty containers from metadata, which mean absence.
fn tidy(object: &mut Object) {
    object.metadata_mut().retain(|_, value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
    for key in ["labels", "annotations"] {
        if let Some(map) = object.metadata_mut().get_mut(key).and_then(Value::as_object_mut) {
            map.values_mut()
                .filter(|value| value.is_null())
                .for_each(|value| *value = json!(""));
        }
    }
}

fn set_or_remove(object: &mut Object, key: &str, value: Option<Value>) {
    match value {
        Some(value) => object.set(key, value),
        None => {
            object.remove(key);
        }
    }
}

pub(super) fn time_text(shared: &Shared) -> String {
    (shared.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a new random (version 4) UUID.
fn new_uid() -> Result<String, ApiError> {
    let mut bytes = random::<16>()?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    source_of_randomness()
        .fill(&mut bytes)
        .map_err(|_| ApiError::Internal {
            message: "the system has no random numbers".to_owned(),
        })?;
    Ok(bytes)
}

fn source_of_randomness() -> &'static dyn SecureRandom {
    rustls::crypto::ring::default_provider().secure_random
}

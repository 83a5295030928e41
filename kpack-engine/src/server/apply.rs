//! Server-side apply: a configuration says what its manager wants, the object keeps what others want.
//!
//! Specification: Kubernetes, "Server-Side Apply".

use serde_json::Value;

use crate::store::Part;
use crate::store::fields::{FieldSet, ListStrategy, Manager, Operation, managers, ownable, set_managers};
use crate::{ApiError, Cause, Kind, Object};

/// How a configuration is applied.
pub(super) struct Apply<'a> {
    /// Who applies it.
    pub(super) manager: &'a str,
    /// Whether fields of others are taken over instead of refused.
    pub(super) force: bool,
    pub(super) part: Part,
    /// The time, as RFC 3339.
    pub(super) now: &'a str,
}

impl Apply<'_> {
    fn entry(&self, kind: Kind, config: &Value) -> Manager {
        let mut entry = Manager::new(self.manager, Operation::Apply, kind, self.part, self.now);
        entry.fields = ownable(kind, self.part, FieldSet::of(kind, config));
        entry
    }
}

/// Makes a new object of a configuration.
pub(super) fn create(config: &Object, apply: &Apply<'_>) -> Result<Object, ApiError> {
    let mut object = without_managers(config)?;
    let entry = apply.entry(object.kind(), object.as_value());
    set_managers(&mut object, &[entry]);
    Ok(object)
}

/// Makes the next state of an object.
///
/// # Errors
/// [`ApiError::ApplyConflict`] when the configuration gives another value to a field that someone else
/// owns, unless it is forced.
pub(super) fn change(old: &Object, config: &Object, apply: &Apply<'_>) -> Result<Object, ApiError> {
    let kind = old.kind();
    let config = without_managers(config)?;
    let entry = apply.entry(kind, config.as_value());
    let differing = ownable(
        kind,
        apply.part,
        FieldSet::changed(kind, old.as_value(), config.as_value()),
    );
    let mut all = managers(old);
    let before = all
        .iter()
        .position(|other| other.is(&entry))
        .map(|at| all.remove(at).fields);
    let conflicts: Vec<(Manager, FieldSet)> = all
        .iter()
        .map(|other| (other.clone(), other.fields.both(&differing)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !conflicts.is_empty() && !apply.force {
        return Err(conflict(&conflicts));
    }
    for other in &mut all {
        other.fields = other.fields.without(&differing);
    }
    let mut value = old.as_value().clone();
    merge(kind, "", &mut value, config.as_value());
    let others = all
        .iter()
        .fold(FieldSet::default(), |union, other| union.union(&other.fields));
    let dropped = before.unwrap_or_default().without(&entry.fields).without(&others);
    dropped.remove_from(kind, &mut value);
    let mut object = Object::from_value(value).map_err(|error| ApiError::bad_request(error.to_string()))?;
    all.push(entry);
    set_managers(&mut object, &all);
    if config.metadata().get("resourceVersion").is_none() {
        object.metadata_mut().remove("resourceVersion");
    }
    Ok(object)
}

fn without_managers(config: &Object) -> Result<Object, ApiError> {
    if config
        .metadata()
        .get("managedFields")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut config = config.clone();
    config.metadata_mut().remove("managedFields");
    Ok(config)
}

/// Puts the configuration's fields into the object, list elements by their keys.
fn merge(kind: Kind, field: &str, into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(kind, key, into.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if ListStrategy::of(kind, field) != ListStrategy::Replace => {
            let key = match ListStrategy::of(kind, field) {
                ListStrategy::ByKey(key) => Some(key),
                _ => None,
            };
            for element in from {
                let same = |other: &&mut Value| match key {
                    Some(key) => other.get(key).is_some() && other.get(key) == element.get(key),
                    None => **other == *element,
                };
                match into.iter_mut().find(same) {
                    Some(own) => merge(kind, "", own, element),
                    None => into.push(element.clone()),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn conflict(conflicts: &[(Manager, FieldSet)]) -> ApiError {
    let mut causes = Vec::new();
    let mut parts = Vec::new();
    let mut total = 0;
    for (manager, fields) in conflicts {
        let paths = fields.paths();
        total += paths.len();
        let who = format!("{:?} using {}", manager.name, manager.api_version);
        let who = if manager.subresource.is_empty() {
            who
        } else {
            format!(
                "{:?} with subresource {:?} using {}",
                manager.name, manager.subresource, manager.api_version
            )
        };
        parts.push(match paths.as_slice() {
            [one] => format!("conflict with {who}: {one}"),
            many => format!("conflicts with {who}:\n- {}", many.join("\n- ")),
        });
        causes.extend(paths.into_iter().map(|field| Cause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {who}"),
            field,
        }));
    }
    let word = if total == 1 { "conflict" } else { "conflicts" };
    ApiError::ApplyConflict {
        message: format!("Apply failed with {total} {word}: {}", parts.join("\n")),
        causes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(data: Value) -> Object {
        let mut object = Object::new(Kind::ConfigMap, Some("demo"), "c");
        object.set("data", data);
        object
    }

    fn apply(manager: &str, force: bool) -> Apply<'_> {
        Apply {
            manager,
            force,
            part: Part::Main,
            now: "2026-01-05T10:00:00Z",
        }
    }

    #[test]
    fn a_field_of_another_manager_is_taken_only_by_force() {
        let object = create(&map(json!({"a": "1"})), &apply("one", false)).unwrap();
        let wanted = map(json!({"a": "2"}));
        let error = change(&object, &wanted, &apply("two", false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Apply failed with 1 conflict: conflict with \"one\" using v1: .data.a"
        );
        let object = change(&object, &wanted, &apply("two", true)).unwrap();
        assert_eq!(object.text("/data/a"), Some("2"));
    }

    #[test]
    fn the_same_value_is_shared_and_stays_until_nobody_wants_it() {
        let object = create(&map(json!({"a": "1"})), &apply("one", false)).unwrap();
        let object = change(&object, &map(json!({"a": "1"})), &apply("two", false)).unwrap();
        let object = change(&object, &map(json!({})), &apply("one", false)).unwrap();
        assert_eq!(object.text("/data/a"), Some("1"));
        let object = change(&object, &map(json!({"b": "2"})), &apply("two", false)).unwrap();
        assert_eq!(object.pointer("/data"), Some(&json!({"b": "2"})));
    }

    #[test]
    fn elements_of_lists_with_keys_belong_to_those_who_applied_them() {
        let account = |secrets: Value| {
            let mut object = Object::new(Kind::ServiceAccount, Some("demo"), "sa");
            object.set("secrets", secrets);
            object
        };
        let object = create(&account(json!([{"name": "a"}])), &apply("one", false)).unwrap();
        let object = change(&object, &account(json!([{"name": "b"}])), &apply("two", false)).unwrap();
        assert_eq!(object.pointer("/secrets"), Some(&json!([{"name": "a"}, {"name": "b"}])));
        let object = change(&object, &account(json!([])), &apply("one", false)).unwrap();
        assert_eq!(object.pointer("/secrets"), Some(&json!([{"name": "b"}])));
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let config = map(json!({"a": "1"}));
        let object = create(&config, &apply("one", false)).unwrap();
        assert_eq!(change(&object, &config, &apply("one", false)).unwrap(), object);
    }
}

//! Who set which field: `metadata.managedFields`.
//!
//! Specification: Kubernetes, "Server-Side Apply", "Field management".

use serde_json::{Value, json};

use super::field_set::FieldSet;
use super::request::Part;
use crate::{Kind, Object};

/// Fields of metadata that the server sets, so that nobody owns them.
const SERVERS: [&str; 11] = [
    "f:name",
    "f:generateName",
    "f:namespace",
    "f:uid",
    "f:resourceVersion",
    "f:generation",
    "f:creationTimestamp",
    "f:deletionTimestamp",
    "f:deletionGracePeriodSeconds",
    "f:selfLink",
    "f:managedFields",
];

/// How a manager came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// It wants them so, and says so again each time.
    Apply,
    /// It changed them once.
    Update,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    /// Empty for the object itself, `status` for the status.
    pub(crate) subresource: String,
    time: Option<String>,
    pub(crate) fields: FieldSet,
}

impl Manager {
    /// Makes an entry for the fields of a part of an object.
    pub(crate) fn new(name: &str, operation: Operation, kind: Kind, part: Part, now: &str) -> Self {
        Self {
            name: name.to_owned(),
            operation,
            api_version: kind.api_version(),
            subresource: subresource(part).to_owned(),
            time: Some(now.to_owned()),
            fields: FieldSet::default(),
        }
    }

    /// Says whether two entries are of the same manager, acting in the same way.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.operation == other.operation && self.subresource == other.subresource
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self {
            name: text("manager"),
            operation: match text("operation").as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            },
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            fields: FieldSet::from_value(value.get("fieldsV1")?),
        })
    }

    fn write(&self) -> Value {
        let operation = if self.operation == Operation::Apply {
            "Apply"
        } else {
            "Update"
        };
        let mut value = json!({
            "manager": self.name,
            "operation": operation,
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_value(),
        });
        if let Some(time) = &self.time {
            value["time"] = json!(time);
        }
        if !self.subresource.is_empty() {
            value["subresource"] = json!(self.subresource);
        }
        value
    }
}

fn subresource(part: Part) -> &'static str {
    match part {
        Part::Main => "",
        Part::Status => "status",
    }
}

/// Reads the managers of an object; entries that make no sense are left out.
pub(crate) fn managers(object: &Object) -> Vec<Manager> {
    let list = object.metadata().get("managedFields").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Manager::read).collect()
}

/// Writes the managers into an object; those who own nothing are left out.
pub(crate) fn set_managers(object: &mut Object, managers: &[Manager]) {
    let mut managers: Vec<_> = managers.iter().filter(|manager| !manager.fields.is_empty()).collect();
    managers.sort_by_key(|manager| (manager.operation, &manager.time, &manager.name, &manager.subresource));
    let list: Vec<Value> = managers.into_iter().map(Manager::write).collect();
    if list.is_empty() {
        object.metadata_mut().remove("managedFields");
    } else {
        object
            .metadata_mut()
            .insert("managedFields".to_owned(), Value::Array(list));
    }
}

/// Returns the fields of a part that someone may own.
pub(crate) fn ownable(kind: Kind, part: Part, mut fields: FieldSet) -> FieldSet {
    let status = fields.take("f:status").filter(|_| kind.has_status());
    match part {
        Part::Status => status.map(|status| status.at("f:status")).unwrap_or_default(),
        Part::Main => {
            for name in ["f:apiVersion", "f:kind"] {
                fields.take(name);
            }
            if let Some(mut metadata) = fields.take("f:metadata") {
                for name in SERVERS {
                    metadata.take(name);
                }
                if !metadata.is_empty() {
                    fields = fields.union(&metadata.at("f:metadata"));
                }
            }
            fields
        }
    }
}

/// Records that `manager` made `new` of `old` by an ordinary change.
pub(super) fn record(old: Option<&Object>, new: &mut Object, manager: &str, part: Part, now: &str) {
    let kind = new.kind();
    // Who changes an object that nobody is known to have made is not recorded either.
    if old.is_some_and(|old| managers(old).is_empty()) {
        return;
    }
    let nothing = empty(kind);
    let before = old.map_or(&nothing, Object::as_value);
    let changed = ownable(kind, part, FieldSet::changed(kind, before, new.as_value()));
    let removed = ownable(
        kind,
        part,
        FieldSet::with_maps(kind, before).without(&FieldSet::with_maps(kind, new.as_value())),
    );
    if changed.is_empty() && removed.is_empty() {
        return;
    }
    let mut all = managers(new);
    for entry in &mut all {
        entry.fields = entry.fields.without(&changed).without(&removed);
    }
    let mut own = Manager::new(manager, Operation::Update, kind, part, now);
    if let Some(at) = all.iter().position(|entry| entry.is(&own)) {
        own.fields = all.remove(at).fields;
    }
    own.fields = own.fields.union(&changed);
    all.push(own);
    set_managers(new, &all);
}

/// An object of which nothing is set: these maps are there in any case, so that nobody has made them.
fn empty(kind: Kind) -> Value {
    if kind.is_kpack() {
        return json!({"metadata": {}});
    }
    json!({"metadata": {}, "spec": {}, "status": {}})
}

/// Removes the times of the entries, which say nothing about the object.
pub(super) fn remove_times(object: &mut Object) {
    let entries = object
        .metadata_mut()
        .get_mut("managedFields")
        .and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Some(map) = entry.as_object_mut() {
            map.remove("time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(data: Value) -> Object {
        let mut object = Object::new(Kind::ConfigMap, Some("demo"), "c");
        object.set("data", data);
        object
    }

    fn owners(object: &Object) -> Vec<(String, Vec<String>)> {
        managers(object)
            .into_iter()
            .map(|manager| (manager.name, manager.fields.paths()))
            .collect()
    }

    #[test]
    fn a_change_takes_the_changed_fields_from_their_owner() {
        let mut first = map(json!({"a": "1", "b": "1"}));
        record(None, &mut first, "one", Part::Main, "t");
        let mut second = first.clone();
        second.set("data", json!({"a": "2", "b": "1"}));
        record(Some(&first), &mut second, "two", Part::Main, "t");
        let expected = [
            ("one".to_owned(), vec![".data".to_owned(), ".data.b".to_owned()]),
            ("two".to_owned(), vec![".data.a".to_owned()]),
        ];
        assert_eq!(owners(&second), expected);
    }

    #[test]
    fn nobody_owns_what_is_gone() {
        let mut first = map(json!({"a": "1"}));
        record(None, &mut first, "one", Part::Main, "t");
        let mut second = first.clone();
        second.set("data", json!({}));
        record(Some(&first), &mut second, "two", Part::Main, "t");
        assert_eq!(owners(&second), [("one".to_owned(), vec![".data".to_owned()])]);
        let mut third = second.clone();
        third.set("data", Value::Null);
        record(Some(&second), &mut third, "two", Part::Main, "t");
        assert!(owners(&third).iter().all(|(name, _)| name == "two"));
    }

    #[test]
    fn changes_of_an_object_that_nobody_is_known_to_have_made_are_not_recorded() {
        let first = Object::new(Kind::ServiceAccount, Some("demo"), "bot");
        let mut second = first.clone();
        second.set("secrets", json!([{"name": "hub"}]));
        record(Some(&first), &mut second, "kp", Part::Main, "t");
        assert!(owners(&second).is_empty());
    }

    #[test]
    fn spec_and_status_have_entries_of_their_own() {
        let mut object = Object::new(Kind::Image, Some("demo"), "shop");
        object.set("spec", json!({"tag": "t"}));
        record(None, &mut object, "kp", Part::Main, "t");
        let mut with_status = object.clone();
        with_status.set("status", json!({"buildCounter": 1}));
        record(Some(&object), &mut with_status, "controller", Part::Status, "t");
        let expected = [
            (
                "controller".to_owned(),
                vec![".status".to_owned(), ".status.buildCounter".to_owned()],
            ),
            ("kp".to_owned(), vec![".spec".to_owned(), ".spec.tag".to_owned()]),
        ];
        assert_eq!(owners(&with_status), expected);
    }
}

//! [`FieldSet`]: a set of fields of an object, as `managedFields` record it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::list_strategy::ListStrategy;
use crate::Kind;

/// A set of fields, as a tree: names, keys of list elements, or values of sets.
///
/// # Specification
/// Kubernetes, "Server-Side Apply": `FieldsV1` (`f:name`, `k:{"key":…}`, `v:value`, `.` for the element
/// itself).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Whether the field at this place is itself in the set.
    member: bool,
    children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Returns all fields of `value`, down to what is not merged any further.
    pub(crate) fn of(kind: Kind, value: &Value) -> Self {
        Self::of_field(kind, "", value)
    }

    fn of_field(kind: Kind, field: &str, value: &Value) -> Self {
        match Parts::of(kind, field, value) {
            Parts::Leaf => Self {
                member: true,
                children: BTreeMap::new(),
            },
            Parts::Map(parts) => Self {
                member: parts.is_empty(),
                children: Self::each(kind, parts),
            },
            Parts::Elements(parts) => {
                let mut children = Self::each(kind, parts);
                // An element of a list is a field of its own, beside what is in it.
                for element in children.values_mut() {
                    element.member = true;
                }
                Self {
                    member: children.is_empty(),
                    children,
                }
            }
        }
    }

    fn each(kind: Kind, parts: BTreeMap<String, &Value>) -> BTreeMap<String, Self> {
        parts
            .into_iter()
            .map(|(name, value)| {
                let set = Self::of_field(kind, field_name(&name), value);
                (name, set)
            })
            .collect()
    }

    /// As [`FieldSet::of`], with each map that holds something as a field of its own, beside what is in it.
    pub(crate) fn with_maps(kind: Kind, value: &Value) -> Self {
        let mut set = Self::of(kind, value);
        set.member_maps(value);
        set
    }

    fn member_maps(&mut self, value: &Value) {
        let Value::Object(map) = value else { return };
        self.member = true;
        for (key, value) in map {
            if let Some(child) = self.children.get_mut(&format!("f:{key}")) {
                child.member_maps(value);
            }
        }
    }

    /// Returns the fields that `new` has and `old` has not, or has with another value; a map that is new is one itself.
    pub(crate) fn changed(kind: Kind, old: &Value, new: &Value) -> Self {
        Self::changed_field(kind, "", old, new)
    }

    fn changed_field(kind: Kind, field: &str, old: &Value, new: &Value) -> Self {
        if old == new {
            return Self::default();
        }
        match (Parts::of(kind, field, old), Parts::of(kind, field, new)) {
            (Parts::Map(before), Parts::Map(after)) | (Parts::Elements(before), Parts::Elements(after)) => {
                let children = after.into_iter().map(|(name, value)| {
                    let set = if let Some(old) = before.get(&name) {
                        Self::changed_field(kind, field_name(&name), old, value)
                    } else {
                        let mut set = Self::of_field(kind, field_name(&name), value);
                        set.member_maps(value);
                        set.member |= !name.starts_with("f:");
                        set
                    };
                    (name, set)
                });
                Self {
                    member: false,
                    children: children.filter(|(_, set)| !set.is_empty()).collect(),
                }
            }
            _ => Self::of_field(kind, field, new),
        }
    }

    /// Says whether no field is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// Returns the fields of either set.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.member |= other.member;
        for (name, set) in &other.children {
            let merged = union
                .children
                .get(name)
                .map_or_else(|| set.clone(), |own| own.union(set));
            union.children.insert(name.clone(), merged);
        }
        union
    }

    /// Returns the fields of this set that are not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let children = self.children.iter().map(|(name, set)| {
            let left = other
                .children
                .get(name)
                .map_or_else(|| set.clone(), |other| set.without(other));
            (name.clone(), left)
        });
        Self {
            member: self.member && !other.member,
            children: children.filter(|(_, set)| !set.is_empty()).collect(),
        }
    }

    /// Returns the fields that are in both sets.
    pub(crate) fn both(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(name, set)| {
            let both = set.both(other.children.get(name)?);
            (!both.is_empty()).then(|| (name.clone(), both))
        });
        Self {
            member: self.member && other.member,
            children: children.collect(),
        }
    }

    /// Takes the fields at one place, such as `f:status`, out of the set and returns them.
    pub(crate) fn take(&mut self, name: &str) -> Option<Self> {
        self.children.remove(name)
    }

    /// Returns a set that holds `self` at one place.
    pub(crate) fn at(self, name: &str) -> Self {
        Self {
            member: false,
            children: BTreeMap::from([(name.to_owned(), self)]),
        }
    }

    /// Returns the paths of all fields, such as `.data.a` or `.secrets[name="x"]`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, path: &str, into: &mut Vec<String>) {
        if self.member {
            into.push(path.to_owned());
        }
        for (name, set) in &self.children {
            let part = match name.split_at_checked(2) {
                Some(("f:", field)) => format!(".{field}"),
                Some(("k:", keys)) => format!("[{}]", keys_text(keys)),
                Some(("v:", value)) => format!("[={value}]"),
                _ => format!(".{name}"),
            };
            set.collect_paths(&format!("{path}{part}"), into);
        }
    }

    /// Removes the fields of this set from a value, and what is empty then.
    pub(crate) fn remove_from(&self, kind: Kind, value: &mut Value) {
        self.remove_from_field(kind, "", value);
    }

    fn remove_from_field(&self, kind: Kind, field: &str, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, set) in &self.children {
                    let Some(field) = name.strip_prefix("f:") else { continue };
                    // Of a map goes what is in the set; the map itself only when nothing else is left in it.
                    let holds_more = map
                        .get(field)
                        .and_then(Value::as_object)
                        .is_some_and(|map| !map.is_empty());
                    if set.member && set.children.is_empty() && !holds_more {
                        map.remove(field);
                    } else if let Some(inner) = map.get_mut(field) {
                        set.remove_from_field(kind, field, inner);
                        if inner.as_object().is_some_and(Map::is_empty) || inner.as_array().is_some_and(Vec::is_empty) {
                            map.remove(field);
                        }
                    }
                }
            }
            Value::Array(list) => {
                let strategy = ListStrategy::of(kind, field);
                list.retain_mut(|element| {
                    let set = element_name(strategy, element).and_then(|name| self.children.get(&name));
                    let Some(set) = set else { return true };
                    if set.member {
                        return false;
                    }
                    set.remove_from_field(kind, "", element);
                    true
                });
            }
            _ => {}
        }
    }

    /// Writes the set as `fieldsV1`.
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (name, set) in &self.children {
            map.insert(name.clone(), set.to_value());
        }
        Value::Object(map)
    }

    /// Reads `fieldsV1`; what is not understood is left out.
    pub(crate) fn from_value(value: &Value) -> Self {
        let mut set = Self {
            member: false,
            children: BTreeMap::new(),
        };
        for (name, inner) in value.as_object().into_iter().flatten() {
            if name == "." {
                set.member = true;
            } else {
                let mut child = Self::from_value(inner);
                child.member |= child.children.is_empty();
                set.children.insert(canonical(name), child);
            }
        }
        set
    }
}

/// The parts of a value that are merged one by one.
enum Parts<'a> {
    /// It is replaced as a whole.
    Leaf,
    Map(BTreeMap<String, &'a Value>),
    Elements(BTreeMap<String, &'a Value>),
}

impl<'a> Parts<'a> {
    fn of(kind: Kind, field: &str, value: &'a Value) -> Self {
        match value {
            Value::Object(map) => Self::Map(map.iter().map(|(key, value)| (format!("f:{key}"), value)).collect()),
            Value::Array(list) => {
                let strategy = ListStrategy::of(kind, field);
                let named = list
                    .iter()
                    .map(|element| Some((element_name(strategy, element)?, element)));
                named.collect::<Option<_>>().map_or(Self::Leaf, Self::Elements)
            }
            _ => Self::Leaf,
        }
    }
}

fn element_name(strategy: ListStrategy, element: &Value) -> Option<String> {
    match strategy {
        ListStrategy::Replace => None,
        ListStrategy::Set => Some(format!("v:{element}")),
        ListStrategy::ByKey(key) => Some(format!("k:{}", json!({ key: element.get(key)? }))),
    }
}

/// The field that a name stands for; elements of lists have none.
fn field_name(name: &str) -> &str {
    name.strip_prefix("f:").unwrap_or_default()
}

/// Keys are compared as text, so they must always be written alike.
fn canonical(name: &str) -> String {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    match name.split_at_checked(2) {
        Some((prefix @ ("k:" | "v:"), text)) => read(text).map_or(name.to_owned(), |value| format!("{prefix}{value}")),
        _ => name.to_owned(),
    }
}

fn keys_text(keys: &str) -> String {
    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
    keys.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_of_lists_with_keys_are_named_by_the_key() {
        let account = json!({"secrets": [{"name": "a"}], "x": [1, 2]});
        let set = FieldSet::of(Kind::ServiceAccount, &account);
        assert_eq!(
            set.to_value(),
            json!({"f:secrets": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}}, "f:x": {}})
        );
        assert_eq!(set.paths(), [".secrets[name=\"a\"]", ".secrets[name=\"a\"].name", ".x"]);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), "[a-b]".prop_map(Value::from)];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                proptest::collection::btree_map("[a-c]|secrets|finalizers|name", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_set_survives_being_written(value in any_value()) {
            let set = FieldSet::of(Kind::ServiceAccount, &json!({"top": value}));
            prop_assert_eq!(FieldSet::from_value(&set.to_value()), set);
        }

        #[test]
        fn sets_obey_the_laws_of_sets(one in any_value(), other in any_value()) {
            let set = |value: &Value| FieldSet::of(Kind::ServiceAccount, &json!({"top": value}));
            let (one, other) = (set(&one), set(&other));
            prop_assert_eq!(one.without(&other).union(&one.both(&other)), one.clone());
            prop_assert!(one.without(&other).both(&other).is_empty());
            prop_assert!(one.without(&one).is_empty());
        }

        #[test]
        fn nothing_changed_between_equal_values_and_all_of_nothing(value in any_value()) {
            let value = json!({"top": value});
            prop_assert!(FieldSet::changed(Kind::Secret, &value, &value).is_empty());
            // What is beneath nothing is there before and after.
            let top = || FieldSet { member: true, children: BTreeMap::new() };
            let all = FieldSet::changed(Kind::Secret, &json!({}), &value);
            prop_assert_eq!(all.at("f:x"), FieldSet::with_maps(Kind::Secret, &value).without(&top()).at("f:x"));
        }
    }
}

//! JSON as Go reads it, which most registries and clients are written in.

use serde_json::{Map, Value};

/// Finds a field, whatever the case of its name; the exact one goes before others.
pub(crate) fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| other().map(|(_, value)| value))
}

//! Finds the fields of a document that its type does not have.

use serde_json::Value;

/// Lists the fields with a value that are in `given` but not in `kept`.
///
/// A field with an empty value may be known and left out, so it is not reported.
pub(super) fn fields(given: &Value, kept: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(given, kept, "", &mut found);
    found
}

fn compare(given: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (name, value) in given {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match kept.get(name) {
                    Some(kept) => compare(value, kept, &path, found),
                    None if is_empty(value) => {}
                    None => found.push(format!("unknown field \"{path}\"")),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                compare(given, kept, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

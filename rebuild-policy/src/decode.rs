//! JSON to typed resources, the way Go reads it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::strict::Strict;

/// A document that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {problem}", at = if self.path.is_empty() { "the object" } else { &self.path })]
pub struct DecodeError {
    /// The field at fault, such as `spec.builder`; empty when it could not be found out.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads a typed resource from JSON.
///
/// As in Go, `null` is the same as an absent field and unknown fields are skipped.
///
/// # Errors
/// When a field has the wrong type.
pub fn decode<T: DeserializeOwned>(document: &Value) -> Result<T, DecodeError> {
    let document = without_nulls(document);
    T::deserialize(Strict(&document)).map_err(|error| {
        let (path, problem) = culprit::<T>(&document).unwrap_or_else(|| (String::new(), error.to_string()));
        DecodeError { path, problem }
    })
}

/// Copies a document without the fields that are `null`.
pub(crate) fn without_nulls(document: &Value) -> Value {
    match document {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Copies a document with the names of `keys` where a key is the same but for the case of its letters, as Go reads it,
/// unless its object has the exact one too.
pub(crate) fn with_exact_keys(document: &Value, keys: &[&str]) -> Value {
    let exact = |fields: &serde_json::Map<String, Value>, name: &String| {
        let found = keys.iter().find(|key| key.eq_ignore_ascii_case(name));
        found
            .filter(|key| !fields.contains_key(**key))
            .map_or_else(|| name.clone(), |key| (*key).to_owned())
    };
    match document {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (exact(fields, name), with_exact_keys(value, keys)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| with_exact_keys(item, keys)).collect(),
        other => other.clone(),
    }
}

/// Finds the field without which the rest can be read, deepest first, and what is wrong with it.
///
/// Only reached when reading has failed; each level tries each of its fields once.
fn culprit<T: DeserializeOwned>(document: &Value) -> Option<(String, String)> {
    let mut path: Vec<Step> = Vec::new();
    let mut problem = None;
    loop {
        let found = steps(at(document, &path)?).into_iter().find(|step| {
            let mut candidate = path.clone();
            candidate.push(step.clone());
            T::deserialize(Strict(&without(document, &candidate))).is_ok()
        });
        let Some(step) = found else { break };
        path.push(step);
        problem = T::deserialize(Strict(document)).err().map(|error| error.to_string());
    }
    Some((render(&path), problem?))
}

#[derive(Clone)]
enum Step {
    Field(String),
    Item(usize),
}

/// More fields than this are not searched for the one at fault.
const SEARCHED: usize = 64;

fn steps(value: &Value) -> Vec<Step> {
    match value {
        Value::Object(fields) => fields.keys().take(SEARCHED).cloned().map(Step::Field).collect(),
        Value::Array(items) => (0..items.len().min(SEARCHED)).map(Step::Item).collect(),
        _ => Vec::new(),
    }
}

fn at<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Item(index) => value.get(index),
    })
}

fn without(document: &Value, path: &[Step]) -> Value {
    let mut document = document.clone();
    let Some((last, parents)) = path.split_last() else {
        return document;
    };
    let parent = parents.iter().try_fold(&mut document, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Item(index) => value.get_mut(index),
    });
    match (parent, last) {
        (Some(Value::Object(fields)), Step::Field(name)) => drop(fields.remove(name)),
        (Some(Value::Array(items)), Step::Item(index)) => drop(items.remove(*index)),
        _ => {}
    }
    document
}

fn render(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Item(index) => {
                text.push('[');
                text.push_str(&index.to_string());
                text.push(']');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::decode;
    use crate::Image;

    #[test]
    fn null_is_absent() {
        let image: Image = decode(&json!({"spec": {"tag": null, "source": {"git": null}}})).unwrap();
        assert_eq!(image, Image::default());
    }

    #[test]
    fn the_field_of_a_wrong_type_is_named() {
        let error = decode::<Image>(&json!({"spec": {"tag": "a", "additionalTags": ["b", 3]}})).unwrap_err();
        assert_eq!(error.path, "spec.additionalTags[1]");
        let error = decode::<Image>(&json!({"spec": {"builder": "text"}})).unwrap_err();
        assert_eq!(error.path, "spec.builder");
        let error = decode::<Image>(&json!({"spec": {"builder": ["ClusterBuilder"]}})).unwrap_err();
        assert_eq!(error.path, "spec.builder");
    }
}

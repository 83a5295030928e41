//! JSON to typed resources, the way Go reads it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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

/// Finds the first field that cannot be read even when it is alone, deepest first, and what is wrong with it.
///
/// Only reached when reading has failed; each level tries each of its fields once.
fn culprit<T: DeserializeOwned>(document: &Value) -> Option<(String, String)> {
    let problem = |document: &Value| T::deserialize(Strict(document)).err().map(|error| error.to_string());
    let mut alone = document.clone();
    let mut found = (Vec::new(), problem(&alone)?);
    let mut pointer = String::new();
    // Where something is of the wrong type itself, nothing in it is to blame.
    while problem(&replaced(&alone, &pointer, emptied)?).is_none() {
        let next = steps(alone.pointer(&pointer)?).into_iter().find_map(|step| {
            let candidate = replaced(&alone, &pointer, |value| only(value, &step))?;
            problem(&candidate).map(|problem| (step, candidate, problem))
        });
        let Some((step, candidate, problem)) = next else { break };
        pointer.push_str(&step.alone());
        found.0.push(step);
        found.1 = problem;
        alone = candidate;
    }
    Some((render(&found.0), found.1))
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

impl Step {
    /// The JSON pointer to it when there is nothing beside it.
    fn alone(&self) -> String {
        match self {
            Self::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            Self::Item(_) => "/0".to_owned(),
        }
    }
}

/// A copy of the document in which something has become another.
fn replaced(document: &Value, pointer: &str, change: impl Fn(&Value) -> Value) -> Option<Value> {
    let mut document = document.clone();
    let value = document.pointer_mut(pointer)?;
    *value = change(value);
    Some(document)
}

/// A list or map of which only one part is left.
fn only(value: &Value, step: &Step) -> Value {
    match step {
        Step::Field(name) => Value::Object([(name.clone(), value[name].clone())].into_iter().collect()),
        Step::Item(index) => Value::Array(vec![value[index].clone()]),
    }
}

fn emptied(value: &Value) -> Value {
    match value {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        other => other.clone(),
    }
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

    #[test]
    fn of_several_fields_of_a_wrong_type_the_first_is_named() {
        let build = json!({"nodeSelector": {"a/b": 1, "c": "d"}, "tolerations": {"key": "k"}});
        let error = decode::<Image>(&json!({"spec": {"tag": "a", "build": build}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.build.nodeSelector.a/b: invalid type: integer `1`, expected a string"
        );
        let error = decode::<Image>(&json!({"spec": {"tag": 1, "build": {"env": [{"name": "A"}, 3, 4]}}})).unwrap_err();
        assert_eq!(error.path, "spec.build.env[1]");
    }
}

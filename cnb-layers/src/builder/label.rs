use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Image;
use crate::go_json::with_whole_characters;

/// Why a label cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The image does not have it.
    #[error("could not find label {label}")]
    Missing {
        /// The label's name.
        label: String,
    },
    /// Its text is not JSON of the form it must have.
    #[error("label {label} cannot be read: {problem}")]
    Invalid {
        /// The label's name.
        label: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Returns a label's text.
pub(super) fn text<'a>(image: &'a Image, label: &str) -> Result<&'a str, LabelError> {
    image.label(label).ok_or_else(|| LabelError::Missing {
        label: label.to_owned(),
    })
}

/// Reads a label's JSON; `None` when the image does not have it.
///
/// As Go reads it: `fields` match without regard to case, and `null` counts as absent.
pub(super) fn json<T: DeserializeOwned + Default>(
    image: &Image,
    label: &str,
    fields: &[&str],
) -> Result<Option<T>, LabelError> {
    let Some(text) = image.label(label) else {
        return Ok(None);
    };
    let invalid = |error: serde_json::Error| LabelError::Invalid {
        label: label.to_owned(),
        problem: error.to_string(),
    };
    let mut value: Value = serde_json::from_str(&with_whole_characters(text)).map_err(invalid)?;
    if normalize(&mut value, fields) {
        serde_json::from_value(value).map(Some).map_err(invalid)
    } else {
        Ok(Some(T::default()))
    }
}

/// Removes nulls and gives fields their proper case; `false` when the whole is null.
fn normalize(value: &mut Value, fields: &[&str]) -> bool {
    match value {
        Value::Null => return false,
        Value::Array(items) => {
            // In a list, null is an element with nothing in it; only objects occur where it matters.
            for item in items {
                if !normalize(item, fields) {
                    *item = Value::Object(serde_json::Map::new());
                }
            }
        }
        Value::Object(map) => {
            for (key, mut value) in std::mem::take(map) {
                let present = normalize(&mut value, fields);
                let Some(name) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) else {
                    // A map's value that is null has nothing in it.
                    let value = if present {
                        value
                    } else {
                        Value::Object(serde_json::Map::new())
                    };
                    map.insert(key, value);
                    continue;
                };
                if present && (*name == key || !map.contains_key(*name)) {
                    map.insert((*name).to_owned(), value);
                }
            }
        }
        _ => {}
    }
    true
}

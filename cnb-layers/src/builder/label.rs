use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Image;

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

/// Replaces escapes of half characters (`\ud800` without its other half), of which Go makes U+FFFD.
fn with_whole_characters(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let (taken, written) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, &escape[..12]),
            (Some(0xd800..=0xdfff), _) => (6, "\u{fffd}"),
            // An escaped backslash is no beginning of an escape; what follows any other one needs no look.
            _ => {
                let end = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
                (end, &escape[..end])
            }
        };
        whole.push_str(written);
        rest = &escape[taken..];
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// The UTF-16 unit of an escape `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
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

#[cfg(test)]
mod tests {
    use super::with_whole_characters;

    #[test]
    fn half_characters_are_replaced_and_whole_ones_are_kept() {
        let check = |text: &str, expected: &str| assert_eq!(with_whole_characters(text), expected);
        check(r#"{"a":"\ud800x"}"#, "{\"a\":\"\u{fffd}x\"}");
        check(r#""\udc00\uD83D\uDE00""#, "\"\u{fffd}\\uD83D\\uDE00\"");
        check(r#""\\ud800 \u00e9 \n""#, r#""\\ud800 \u00e9 \n""#);
        check(r#""\ud8"#, r#""\ud8"#);
        check("\"\\é\\ud800é\"", "\"\\é\u{fffd}é\"");
    }
}

//! JSON text exactly as Go's `encoding/json` writes it.

use serde::Serialize;
use serde_json::Value;

/// Writes `value` as Go does: no spaces, keys of maps in byte order, `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// Labels of images and status fields hold such text, and digests depend on each byte of it.
///
/// ```
/// let value = serde_json::json!({"b": "x<y", "a": [1, null]});
/// assert_eq!(cnb_order::go_json(&value), r#"{"a":[1,null],"b":"x\u003cy"}"#);
/// ```
pub fn go_json(value: &Value) -> String {
    escape(&serde_json::to_string(value).expect("a JSON value has only string keys"))
}

/// Writes any serialisable value as [`go_json`] does, with the fields of structs in the order of their declaration.
///
/// # Errors
/// When the value cannot be written as JSON, such as a map with keys that are no strings.
pub fn go_json_of<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|text| escape(&text))
}

/// The characters concerned can only occur within strings, so no parsing is needed.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_reads_back_as_the_same_value(text in "\\PC*|[\\x00-\\x7f]*") {
            let value = Value::String(text);
            let back: Value = serde_json::from_str(&go_json(&value)).expect("it is JSON");
            prop_assert_eq!(back, value);
        }
    }
}

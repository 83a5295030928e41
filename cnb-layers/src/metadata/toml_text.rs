//! TOML text as the reference's encoder writes it: files that buildpacks and other lifecycles read keep
//! the very form they know.

use std::fmt::Write as _;

/// A TOML value whose tables keep the order in which they will be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Toml {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Array(Vec<Toml>),
    Table(Vec<(String, Toml)>),
}

impl Toml {
    /// Returns the value for free-form data; `null` vanishes.
    pub(crate) fn from_json(value: &serde_json::Value) -> Option<Self> {
        use serde_json::Value;
        Some(match value {
            Value::Null => return None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Integer(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::Array(items.iter().filter_map(Self::from_json).collect()),
            Value::Object(map) => {
                let pairs = map
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), Self::from_json(value)?)));
                let mut pairs: Vec<_> = pairs.collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Table(pairs)
            }
        })
    }

    fn is_tables(&self) -> bool {
        match self {
            Self::Table(_) => true,
            Self::Array(items) => !items.is_empty() && items.iter().all(|item| matches!(item, Self::Table(_))),
            _ => false,
        }
    }
}

/// Writes a document: in each table first the plain keys, then everything that is made of tables.
pub(crate) fn document(pairs: &[(String, Toml)]) -> String {
    let mut text = String::new();
    table(&mut text, &mut Vec::new(), pairs);
    text
}

fn table(text: &mut String, path: &mut Vec<String>, pairs: &[(String, Toml)]) {
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_tables()) {
        indent(text, path.len());
        text.push_str(&quoted_key(key));
        text.push_str(" = ");
        inline(text, value);
        text.push('\n');
    }
    for (key, value) in pairs.iter().filter(|(_, value)| value.is_tables()) {
        path.push(quoted_key(key));
        match value {
            Toml::Table(inner) => {
                if path.len() == 1 && !text.is_empty() {
                    text.push('\n');
                }
                header(text, path, "[", "]");
                table(text, path, inner);
            }
            Toml::Array(items) => {
                for item in items {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    header(text, path, "[[", "]]");
                    if let Toml::Table(inner) = item {
                        table(text, path, inner);
                    }
                }
            }
            _ => {}
        }
        path.pop();
    }
}

fn header(text: &mut String, path: &[String], open: &str, close: &str) {
    indent(text, path.len() - 1);
    text.push_str(open);
    text.push_str(&path.join("."));
    text.push_str(close);
    text.push('\n');
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

fn inline(text: &mut String, value: &Toml) {
    match value {
        Toml::Text(value) => quote(text, value),
        Toml::Integer(value) => {
            let _ = write!(text, "{value}");
        }
        Toml::Float(value) => text.push_str(&float(*value)),
        Toml::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Toml::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                inline(text, item);
            }
            text.push(']');
        }
        Toml::Table(pairs) => {
            text.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                text.push_str(&quoted_key(key));
                text.push_str(" = ");
                inline(text, value);
            }
            text.push('}');
        }
    }
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare {
        return key.to_owned();
    }
    let mut text = String::new();
    quote(&mut text, key);
    text
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}

/// Writes a float with a point or an exponent: the latter below 1e-4 and from 1e6 on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: &serde_json::Value) -> String {
        match Toml::from_json(value) {
            Some(Toml::Table(pairs)) => document(&pairs),
            other => panic!("expected a table, got {other:?}"),
        }
    }

    #[test]
    fn plain_keys_come_first_then_tables_and_arrays_of_tables_sorted_by_name() {
        let value = json!({"metadata": {
            "sub": {"deep": {"key with space": 1.0}}, "aot": [{"q": 1.0}, {"q": 2.0}], "it": {"a": 2.0},
            "s": "a", "i": 1, "b": true, "arr": [1.0, "x", [2.5]], "none": null,
        }});
        assert_eq!(
            written(&value),
            "[metadata]\n  arr = [1.0, \"x\", [2.5]]\n  b = true\n  i = 1\n  s = \"a\"\n\n  [[metadata.aot]]\n    q = 1.0\n\n  \
             [[metadata.aot]]\n    q = 2.0\n  [metadata.it]\n    a = 2.0\n  [metadata.sub]\n    [metadata.sub.deep]\n      \
             \"key with space\" = 1.0\n"
        );
    }

    #[test]
    fn floats_have_a_point_or_an_exponent_of_two_digits() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-3.5, "-3.5"),
            (123_456.0, "123456.0"),
            (1_234_567.0, "1.234567e+06"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15"),
            (1e21, "1e+21"),
            (1e-4, "0.0001"),
            (1e-9, "1e-09"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn top_level_tables_are_set_apart_by_an_empty_line() {
        assert_eq!(written(&json!({"a": {"x": "1"}, "b": {}})), "[a]\n  x = \"1\"\n\n[b]\n");
    }

    #[test]
    fn strings_are_quoted_and_control_characters_escaped() {
        assert_eq!(
            written(&json!({"k": "q\"b\\\t\u{1}<é"})),
            "k = \"q\\\"b\\\\\\t\\u0001<é\"\n"
        );
    }
}

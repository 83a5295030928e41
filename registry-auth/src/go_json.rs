//! JSON as Go writes and reads it.

use serde_json::{Map, Value};

/// Reads an object, or `null` as nothing, with what Go takes and `serde_json` refuses: see [`tolerable`].
///
/// Errors quote nothing of what was read: it may be a secret.
pub(crate) fn object(json: &[u8]) -> Result<Option<Map<String, Value>>, serde_json::Error> {
    match serde_json::from_slice(&tolerable(json))? {
        Value::Object(map) => Ok(Some(map)),
        Value::Null => Ok(None),
        _ => Err(<serde_json::Error as serde::de::Error>::custom(
            "it is another kind of value",
        )),
    }
}

/// Rewrites what Go's decoder takes and `serde_json` refuses.
///
/// Half of a surrogate pair becomes U+FFFD. Numbers, which no reader of credentials uses, lose the digits that may
/// put them out of range.
pub(crate) fn tolerable(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut rest, mut in_text) = (json, false);
    while let [first, ..] = rest {
        let (taken, written) = match first {
            b'\\' if in_text => escape(rest),
            b'0'..=b'9' if !in_text => digits(rest, &out),
            _ => {
                in_text ^= *first == b'"';
                (1, &rest[..1])
            }
        };
        out.extend_from_slice(written);
        rest = &rest[taken..];
    }
    out
}

/// Returns how long the escape in front is, and what is written for it.
fn escape(rest: &[u8]) -> (usize, &[u8]) {
    let pair =
        matches!(unit(rest), Some(0xD800..=0xDBFF)) && matches!(rest.get(6..).and_then(unit), Some(0xDC00..=0xDFFF));
    match unit(rest) {
        Some(_) if pair => (12, &rest[..12]),
        Some(0xD800..=0xDFFF) => (6, b"\\ufffd"),
        _ => {
            let taken = rest.len().min(2);
            (taken, &rest[..taken])
        }
    }
}

/// Reads `\uXXXX`.
fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

/// Returns how many digits are in front, and those that are kept: two of an exponent, fifteen else.
fn digits<'a>(rest: &'a [u8], before: &[u8]) -> (usize, &'a [u8]) {
    let taken = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let exponent = matches!(before, [.., b'e' | b'E'] | [.., b'e' | b'E', b'+' | b'-']);
    (taken, &rest[..taken.min(if exponent { 2 } else { 15 })])
}

/// Writes a text as Go's JSON encoder does.
pub(crate) fn go_text(text: &str) -> String {
    let mut json = serde_json::to_string(text).expect("a text is JSON");
    for (plain, escaped) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        json = json.replace(plain, escaped);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_a_whole_one_kept() {
        for (json, text) in [
            (r#""\ud800""#, "\u{FFFD}"),
            (r#""a\uDC00\ud83d\ude00b""#, "a\u{FFFD}\u{1F600}b"),
            (r#""\ud800\ud83d\ude00""#, "\u{FFFD}\u{1F600}"),
            (r#""\ud800\n""#, "\u{FFFD}\n"),
            (r#""\\ud800""#, "\\ud800"),
            (r#""\"1e999\"""#, "\"1e999\""),
        ] {
            let read: String = serde_json::from_slice(&tolerable(json.as_bytes())).expect(json);
            assert_eq!(read, text, "{json}");
        }
        for json in [r#""\u+800""#, r#""\ud80""#, r#""\"#, r#""\ud800\u""#] {
            serde_json::from_slice::<String>(&tolerable(json.as_bytes())).expect_err(json);
        }
    }

    #[test]
    fn numbers_out_of_range_are_numbers_and_malformed_ones_are_not() {
        let long = "9".repeat(500);
        for json in ["1e999", "-1E+999", "1e-999", "1.5e999", long.as_str()] {
            let read: Value = serde_json::from_slice(&tolerable(json.as_bytes())).expect(json);
            assert!(read.is_number(), "{json}");
        }
        for json in ["1e", "01e999", "1.e999", "e999", "1e999e1"] {
            serde_json::from_slice::<Value>(&tolerable(json.as_bytes())).expect_err(json);
        }
    }
}

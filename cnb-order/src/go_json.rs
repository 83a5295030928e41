//! JSON text exactly as Go's `encoding/json` writes it.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

use crate::go_toml::{plain, shortest};

/// Writes `value` as Go does: no spaces, keys of maps in byte order, `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// Labels of images and status fields hold such text, and digests depend on each byte of it.
///
/// ```
/// let value = serde_json::json!({"b": "x<y", "a": [1, null]});
/// assert_eq!(cnb_order::go_json(&value), r#"{"a":[1,null],"b":"x\u003cy"}"#);
/// ```
pub fn go_json(value: &Value) -> String {
    go_json_of(value).expect("a JSON value has only string keys")
}

/// Writes any serialisable value as [`go_json`] does, with the fields of structs in the order of their declaration.
///
/// # Errors
/// When the value cannot be written as JSON, such as a map with keys that are no strings.
pub fn go_json_of<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut text = Vec::with_capacity(256);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, GoFormatter))?;
    Ok(String::from_utf8(text).expect("the formatter writes whole characters only"))
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut written = 0;
        for (at, found) in fragment.match_indices(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            write!(writer, "\\u{:04x}", found.chars().next().map_or(0, u32::from))?;
            written = at + found.len();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }

    /// Writes `1` for 1.0, and an exponent only below 1e-6 and from 1e21 on.
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size == 0.0 || (1e-6..1e21).contains(&size) {
            return writer.write_all(plain(value).as_bytes());
        }
        let (digits, exponent) = shortest(value);
        write!(writer, "{digits}e{exponent:+}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_have_no_needless_fraction_and_an_exponent_only_when_very_small_or_very_big() {
        for (value, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (-3.0, "-3"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            // Half way between ...4.2 and ...4.3.
            (6_670_904_578_286_857.0 / 4.0, "1667726144571714.2"),
            (-6_670_904_578_286_857.0 / 4.0, "-1667726144571714.2"),
        ] {
            assert_eq!(go_json(&Value::from(value)), text);
        }
    }

    proptest! {
        #[test]
        fn it_reads_back_as_the_same_value(text in "\\PC*|[\\x00-\\x7f]*") {
            let value = Value::String(text);
            let back: Value = serde_json::from_str(&go_json(&value)).expect("it is JSON");
            prop_assert_eq!(back, value);
        }
    }
}

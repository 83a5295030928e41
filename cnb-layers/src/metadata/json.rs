//! JSON text as the reference's encoder writes it, so that labels are equal byte for byte.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

/// Writes a value compactly: fields in the order of the type, maps sorted, `<`, `>`, `&`, U+2028 and
/// U+2029 escaped, floats without a needless `.0`.
pub(crate) fn to_string<T: Serialize>(value: &T) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Reference);
    value
        .serialize(&mut serializer)
        .expect("values of these types have text keys and a Vec takes all bytes");
    String::from_utf8(bytes).expect("the formatter writes only whole characters")
}

struct Reference;

impl Formatter for Reference {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut start = 0;
        for (at, found) in fragment.match_indices(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&fragment.as_bytes()[start..at])?;
            write!(writer, "\\u{:04x}", found.chars().next().map_or(0, u32::from))?;
            start = at + found.len();
        }
        writer.write_all(&fragment.as_bytes()[start..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let text: &[u8] = match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"/",
            CharEscape::Backspace => b"\\b",
            CharEscape::FormFeed => b"\\f",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text)
    }
}

/// Writes a float: the shortest text that reads back as the same number, with an exponent only for
/// numbers below 1e-6 and from 1e21 on.
fn float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
            _ => text,
        }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn html_characters_and_line_separators_are_escaped_and_other_text_is_raw() {
        assert_eq!(
            to_string(&json!("a<b>&\u{2028}\u{2029}\"\\\n\u{1}\u{7f}é/'")),
            "\"a\\u003cb\\u003e\\u0026\\u2028\\u2029\\\"\\\\\\n\\u0001\u{7f}é/'\""
        );
    }

    #[test]
    fn floats_have_an_exponent_only_when_very_small_or_very_big() {
        for (value, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e30, "-1.25e+30"),
            (0.0, "0"),
        ] {
            assert_eq!(to_string(&json!(value)), text);
        }
    }
}

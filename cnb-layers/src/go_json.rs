//! JSON text as Go's `encoding/json` prints it.

use std::io;

use serde::Serialize;

/// Returns compact JSON text with Go's escapes: `<`, `>`, `&`, U+2028 and U+2029 as `\u003c` and so on.
///
/// Keys come in the order in which `value` serialises them. Floating-point numbers are written as Go
/// writes them (`1` for 1.0, `1e+21`).
///
/// # Errors
/// When `value` refuses to be serialised, or holds a map whose keys are not text.
pub fn to_go_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::with_capacity(1024);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, GoFormatter))?;
    Ok(text)
}

struct GoFormatter;

impl serde_json::ser::Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices() {
            let escape = match character {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            writer.write_all(escape.as_bytes())?;
            plain = at + character.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) {
            let text = format!("{value:e}");
            // Go writes the sign of an exponent that is not negative.
            return match text.split_once('e') {
                Some((digits, exponent)) if !exponent.starts_with('-') => write!(writer, "{digits}e+{exponent}"),
                _ => writer.write_all(text.as_bytes()),
            };
        }
        write!(writer, "{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_go_escapes_it() {
        let text = "a<b>&\u{2028}\u{2029}\u{8}\u{c}\u{1f}\u{7f}é\"\\/'";
        let json = String::from_utf8(to_go_json(text).expect("text")).expect("UTF-8");
        assert_eq!(
            json,
            "\"a\\u003cb\\u003e\\u0026\\u2028\\u2029\\b\\f\\u001f\u{7f}é\\\"\\\\/'\""
        );
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let numbers = [1.0, 0.5, 1e-6, 1e-7, 1e20, 1e21, 1e30, -1.5e-9, 0.0];
        let json = String::from_utf8(to_go_json(&numbers).expect("numbers")).expect("UTF-8");
        assert_eq!(
            json,
            "[1,0.5,0.000001,1e-7,100000000000000000000,1e+21,1e+30,-1.5e-9,0]"
        );
    }
}

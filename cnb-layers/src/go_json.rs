//! JSON text as Go's `encoding/json` prints and reads it.

use std::borrow::Cow;
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

/// Reads bytes as text: each byte that is no part of a character becomes U+FFFD, as in Go's strings of JSON.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(
        |_| {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            Cow::Owned(text)
        },
        Cow::Borrowed,
    )
}

/// Replaces escapes of half characters (`\ud800` without its other half) by U+FFFD, as which Go reads them.
pub(crate) fn with_whole_characters(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let second = escape.get(6..).and_then(escaped);
        let (replaced, length) = match escaped(escape) {
            Some(0xd800..=0xdbff) if second.is_some_and(|half| (0xdc00..=0xdfff).contains(&half)) => (None, 12),
            Some(0xd800..=0xdfff) => (Some("\\ufffd"), 6),
            // The character behind the backslash, which may be another one.
            _ => (None, 1 + escape.chars().nth(1).map_or(0, char::len_utf8)),
        };
        let (escape, behind) = escape.split_at(length);
        whole.push_str(replaced.unwrap_or(escape));
        rest = behind;
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// Returns the number of the escape `\uXXXX` that a text starts with.
fn escaped(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_number)
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

    #[test]
    fn escapes_of_half_characters_are_read_as_unknown_characters() {
        for (text, expected) in [
            (r#""\ud800""#, "\u{fffd}"),
            (r#""a\uDBFFb""#, "a\u{fffd}b"),
            (r#""\udc00\ud800""#, "\u{fffd}\u{fffd}"),
            (r#""\ud800\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud800\u0041é""#, "\u{fffd}Aé"),
            (r#""\\ud800 \\\ud800""#, "\\ud800 \\\u{fffd}"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
        ] {
            let read: String = serde_json::from_str(&with_whole_characters(text)).expect(text);
            assert_eq!(read, expected, "{text}");
        }
        for text in [
            r#""\ud8""#,
            r#""\ud80é""#,
            "\"\\",
            r#""\ud800"#,
            r#""\u+d80""#,
            r"\ud800",
        ] {
            serde_json::from_str::<String>(&with_whole_characters(text)).expect_err(text);
        }
    }

    #[test]
    fn each_byte_that_is_no_text_is_an_unknown_character() {
        assert_eq!(text_of(b"a\xe6\x97b\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(text_of("é".as_bytes()), "é");
    }
}

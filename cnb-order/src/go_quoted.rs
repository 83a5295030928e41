//! Text in double quotes, as Go's `%q` writes it.

use std::fmt::Write as _;

/// Quotes text as Go's `strconv.Quote` does: what cannot be seen is escaped, `\x1b` for example.
///
/// What counts as seen is what the Unicode of the standard library says, which may be newer than that of a Go program.
///
/// ```
/// assert_eq!(cnb_order::go_quoted("a \"b\"\u{1b}"), r#""a \"b\"\x1b""#);
/// ```
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            seen if is_seen(seen) => quoted.push(seen),
            other => {
                let number = u32::from(other);
                let _ = match number {
                    0..=0x7f => write!(quoted, "\\x{number:02x}"),
                    0x80..=0xffff => write!(quoted, "\\u{number:04x}"),
                    _ => write!(quoted, "\\U{number:08x}"),
                };
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a character is a letter, mark, number, sign, symbol or the blank.
fn is_seen(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    // Behind another character, marks are not escaped.
    let text = ['a', character].iter().collect::<String>();
    text.escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use super::go_quoted;

    #[test]
    fn what_cannot_be_seen_is_escaped_as_go_escapes_it() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a'b`c", r#""a'b`c""#),
            ("\u{7}\u{8}\u{b}\u{c}\n\r\t", r#""\a\b\v\f\n\r\t""#),
            ("\0\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
            ("\u{85}\u{a0}\u{200b}\u{feff}", r#""\u0085\u00a0\u200b\ufeff""#),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
            ("e\u{301}\u{1f600}日\u{fffd}", "\"e\u{301}\u{1f600}日\u{fffd}\""),
        ] {
            assert_eq!(go_quoted(text), quoted);
        }
    }
}

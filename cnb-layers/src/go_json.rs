//! JSON text as Go's `encoding/json` reads it.

use std::borrow::Cow;

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

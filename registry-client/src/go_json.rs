//! JSON as Go reads it, which most registries and clients are written in.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Finds a field, whatever the case of its name; the exact one goes before others.
pub(crate) fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| other().map(|(_, value)| value))
}

/// Rewrites what Go takes and `serde_json` refuses: what is no text, and half of a surrogate pair, become U+FFFD.
pub(crate) fn tolerable(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    let (mut out, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(at) = rest.find('\\') {
        out += &rest[..at];
        let (taken, written) = escape(&rest[at..]);
        out += &written;
        rest = &rest[at + taken..];
    }
    out += rest;
    out.into_bytes()
}

/// Returns how long the escape in front is, and what is written for it.
fn escape(rest: &str) -> (usize, Cow<'_, str>) {
    let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
        (Some(0xD800..=0xDFFF), _) => return (6, "\\ufffd".into()),
        // What is escaped is none itself.
        _ => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
    };
    (taken, rest[..taken].into())
}

/// Reads `\uXXXX`.
fn unit(rest: &str) -> Option<u16> {
    let digits = rest.strip_prefix("\\u")?.get(..4)?;
    let digits = Some(digits).filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_a_whole_one_kept() {
        for (json, text) in [
            (&br#""\ud800""#[..], "\u{FFFD}"),
            (br#""a\uDC00\ud83d\ude00b""#, "a\u{FFFD}\u{1F600}b"),
            (br#""\ud800\ud83d\ude00""#, "\u{FFFD}\u{1F600}"),
            (br#""\ud800\n""#, "\u{FFFD}\n"),
            (br#""\\ud800""#, "\\ud800"),
            (b"\"a\xFFb\"", "a\u{FFFD}b"),
        ] {
            let read: String = serde_json::from_slice(&tolerable(json)).expect(text);
            assert_eq!(read, text);
        }
        for json in [r#""\u+800""#, r#""\ud80""#, r#""\"#, r#""\ud800\u""#] {
            serde_json::from_slice::<String>(&tolerable(json.as_bytes())).expect_err(json);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_serde_takes_stays_as_it_is(text in ".{0,20}") {
            let json = serde_json::to_vec(&text).expect("a text is JSON");
            proptest::prop_assert_eq!(tolerable(&json), json);
        }

        #[test]
        fn no_text_makes_it_panic(text in r"(\\|u|ud8|d800|dc00|é|n|\x22){0,20}") {
            tolerable(text.as_bytes());
        }
    }
}

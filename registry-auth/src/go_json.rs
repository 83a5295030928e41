//! JSON as Go writes and reads it.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A value as Go's decoder meets it: of an object every key, in the order of the text.
#[derive(Clone, PartialEq)]
pub(crate) enum GoValue {
    Null,
    Text(String),
    /// A whole number that is not negative.
    Number(u64),
    Object(GoObject),
    Other,
}

/// An object, which may have a key several times and in several cases of letters.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct GoObject(Vec<(String, GoValue)>);

impl GoObject {
    /// Returns the values that Go stores in the field `name`, one after the other.
    fn values(&self, name: &str) -> impl Iterator<Item = &GoValue> {
        let is_name = move |(key, _): &&(String, GoValue)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(is_name).map(|(_, value)| value)
    }

    /// Returns the text of a field, empty when it is missing; `None` when one of its values is something else. `null`
    /// changes nothing.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values(name).try_fold("", |before, value| match value {
            GoValue::Null => Some(before),
            GoValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns the last number of a field.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.values(name).last() {
            Some(GoValue::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Returns the entries of a field that is a map: those of all its values, of which `null` forgets the ones before. `None`
    /// when one of them is something else.
    pub(crate) fn map(&self, name: &str) -> Option<BTreeMap<&str, &GoValue>> {
        self.values(name)
            .try_fold(BTreeMap::new(), |mut all, value| match value {
                GoValue::Null => Some(BTreeMap::new()),
                GoValue::Object(object) => {
                    all.extend(object.as_map());
                    Some(all)
                }
                _ => None,
            })
    }

    /// Returns the entries of an object that is a map: of a key that is there twice the last counts.
    pub(crate) fn as_map(&self) -> BTreeMap<&str, &GoValue> {
        self.0.iter().map(|(key, value)| (key.as_str(), value)).collect()
    }

    /// Returns whether it has no keys but those called `name`.
    pub(crate) fn has_only(&self, name: &str) -> bool {
        self.0.iter().all(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}

/// No reader of credentials looks deeper than this; what is there is passed over, however deep it is.
const DEPTH: usize = 4;

/// Reads a value as deep as this many levels.
struct Levels(usize);

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = GoValue;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<GoValue, D::Error> {
        if self.0 == 0 {
            return IgnoredAny::deserialize(from).map(|_| GoValue::Other);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = GoValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<GoValue, E> {
        Ok(GoValue::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<GoValue, E> {
        Ok(GoValue::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<GoValue, E> {
        Ok(GoValue::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<GoValue, E> {
        Ok(GoValue::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<GoValue, E> {
        Ok(GoValue::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<GoValue, E> {
        Ok(GoValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<GoValue, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(GoValue::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GoValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value_seed(Levels(self.0 - 1))?));
        }
        Ok(GoValue::Object(GoObject(entries)))
    }
}

impl<'de> Deserialize<'de> for GoValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Levels(DEPTH).deserialize(from)
    }
}

/// Reads an object, or `null` as nothing, with what Go takes and `serde_json` refuses: see [`tolerable`].
///
/// Errors quote nothing of what was read: it may be a secret.
pub(crate) fn object(json: &[u8]) -> Result<Option<GoObject>, serde_json::Error> {
    match serde_json::from_slice(&tolerable(json))? {
        GoValue::Object(object) => Ok(Some(object)),
        GoValue::Null => Ok(None),
        _ => Err(<serde_json::Error as serde::de::Error>::custom(
            "it is another kind of value",
        )),
    }
}

/// Rewrites what Go's decoder takes and `serde_json` refuses.
///
/// Half of a surrogate pair becomes U+FFFD, and so does each byte that is no UTF-8. Numbers, which no reader of credentials uses, lose the digits that may
/// put them out of range.
///
/// # Examples
/// ```
/// let json = registry_auth::tolerable_json(b"{\"message\": \"\\ud800\"}");
/// assert_eq!(json, b"{\"message\": \"\\ufffd\"}");
/// ```
pub fn tolerable(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut rest, mut in_text) = (json, false);
    while let [first, ..] = rest {
        let (taken, written) = match first {
            b'\\' if in_text => escape(rest),
            b'0'..=b'9' if !in_text => digits(rest, &out),
            0x80.. => character(rest),
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

/// Returns how long the character in front is, and what is written for it.
fn character(rest: &[u8]) -> (usize, &[u8]) {
    let is_whole = |length: &usize| {
        rest.get(..*length)
            .is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
    };
    match (2..=4).find(is_whole) {
        Some(length) => (length, &rest[..length]),
        None => (1, "\u{fffd}".as_bytes()),
    }
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
    fn bytes_that_are_no_utf_8_are_replaced_one_by_one() {
        let read: String = serde_json::from_slice(&tolerable(b"\"a\xff\xe2\x82z\xe2\x82\xac\"")).expect("a text");
        assert_eq!(read, "a\u{fffd}\u{fffd}\u{fffd}z\u{20ac}");
    }

    fn read(json: &str) -> GoObject {
        object(json.as_bytes()).expect(json).expect(json)
    }

    #[test]
    fn a_field_has_the_last_of_its_texts_and_null_changes_nothing() {
        for (json, text) in [
            (r#"{"auth":"a","AUTH":"b"}"#, Some("b")),
            (r#"{"AUTH":"b","auth":"a"}"#, Some("a")),
            (r#"{"auth":"a","AUTH":""}"#, Some("")),
            (r#"{"auth":"a","auth":null}"#, Some("a")),
            (r#"{"auth":null}"#, Some("")),
            ("{}", Some("")),
            (r#"{"auth":"a","Auth":1}"#, None),
            (r#"{"auth":["a"]}"#, None),
        ] {
            assert_eq!(read(json).text("auth"), text, "{json}");
        }
    }

    #[test]
    fn a_field_that_is_a_map_has_the_entries_of_all_its_values() {
        let keys = |json: &str| {
            let object = read(json);
            let map = object.map("auths")?;
            Some(map.into_keys().map(str::to_owned).collect::<Vec<_>>())
        };
        for (json, expected) in [
            (r#"{"auths":{"a":1},"Auths":{"b":1,"A":1}}"#, Some(vec!["A", "a", "b"])),
            (r#"{"auths":{"a":1},"auths":null,"AUTHS":{"b":1}}"#, Some(vec!["b"])),
            ("{}", Some(vec![])),
            (r#"{"auths":{"a":1},"AUTHS":1}"#, None),
        ] {
            assert_eq!(
                keys(json),
                expected.map(|keys| keys.into_iter().map(str::to_owned).collect()),
                "{json}"
            );
        }
    }

    #[test]
    fn what_nobody_looks_at_may_be_as_deep_as_it_likes() {
        let deep = format!("{{\"x\":{}1{},\"auth\":\"a\"}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(&deep).text("auth"), Some("a"));
        let objects = format!(
            "{{\"x\":{}1{},\"auth\":\"a\"}}",
            "{\"y\":".repeat(5000),
            "}".repeat(5000)
        );
        assert_eq!(read(&objects).text("auth"), Some("a"));
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

    #[test]
    fn numbers_out_of_range_are_numbers_and_malformed_ones_are_not() {
        let long = "9".repeat(500);
        for json in ["1e999", "-1E+999", "1e-999", "1.5e999", long.as_str()] {
            let read: serde_json::Value = serde_json::from_slice(&tolerable(json.as_bytes())).expect(json);
            assert!(read.is_number(), "{json}");
        }
        for json in ["1e", "01e999", "1.e999", "e999", "1e999e1"] {
            serde_json::from_slice::<serde_json::Value>(&tolerable(json.as_bytes())).expect_err(json);
        }
    }
}

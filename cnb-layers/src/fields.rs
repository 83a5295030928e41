//! Reading JSON as leniently as Go reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::go_json::{text_of, with_whole_characters};
use crate::{DiffId, Timestamp};

/// Why a JSON document is not the manifest, index or config it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct InvalidJson {
    /// Where in the document, such as `config.Env[2]`; `document` for the whole.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

/// A JSON object that is taken apart field by field. What is left is unknown to us.
///
/// As Go does: names match without regard to case (an exact match first), `null` counts as absent, and what is
/// no character in a text is U+FFFD. A value is looked at when it is asked for: how deep the others are, and how
/// big the numbers in them, does not matter.
pub(crate) struct Fields {
    place: String,
    map: BTreeMap<String, Raw>,
}

/// The text of one JSON value, with nothing around it.
///
/// Not serde_json's own: the feature for that makes each of its values read texts within texts without a limit.
struct Raw(Box<str>);

impl Raw {
    /// Reads the first value of a text, and returns it with its text and what follows.
    fn first<T: for<'de> Deserialize<'de>>(text: &str) -> Option<(T, Self, &str)> {
        let text = text.trim_start();
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        let value = values.next()?.ok()?;
        let (of_value, rest) = text.split_at(values.byte_offset());
        Some((value, Self(of_value.into()), rest))
    }

    fn object(&self) -> Option<BTreeMap<String, Self>> {
        let mut rest = self.0.strip_prefix('{')?;
        let mut map = BTreeMap::new();
        while let Some((key, _, after)) = Self::first(rest) {
            let (IgnoredAny, value, after) = Self::first(after.trim_start().strip_prefix(':')?)?;
            map.insert(key, value);
            rest = after.trim_start().strip_prefix(',').unwrap_or_default();
        }
        Some(map)
    }

    fn list(&self) -> Option<Vec<Self>> {
        let mut rest = self.0.strip_prefix('[')?;
        let mut list = Vec::new();
        while let Some((IgnoredAny, value, after)) = Self::first(rest) {
            list.push(value);
            rest = after.trim_start().strip_prefix(',').unwrap_or_default();
        }
        Some(list)
    }

    fn kind(&self) -> &'static str {
        match self.0.as_bytes().first() {
            Some(b'n') => "null",
            Some(b't' | b'f') => "true or false",
            Some(b'"') => "text",
            Some(b'[') => "a list",
            Some(b'{') => "an object",
            _ => "a number",
        }
    }

    fn is_null(&self) -> bool {
        self.kind() == "null"
    }
}

impl Fields {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, InvalidJson> {
        let text = text_of(bytes);
        let text = with_whole_characters(&text);
        serde_json::from_str::<IgnoredAny>(&text).map_err(|error| InvalidJson {
            place: "document".to_owned(),
            problem: format!("it is not JSON: {error}"),
        })?;
        Self::of(String::new(), &Raw(text.trim().into()))
    }

    fn of(place: String, value: &Raw) -> Result<Self, InvalidJson> {
        let name = if place.is_empty() { "document" } else { &place };
        let map = value.object().ok_or_else(|| mismatch(name, "an object", value))?;
        Ok(Self { place, map })
    }

    fn at(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    fn take(&mut self, name: &str) -> Option<Raw> {
        let mut found = self.map.remove(name);
        let others: Vec<String> = self
            .map
            .keys()
            .filter(|key| key.eq_ignore_ascii_case(name))
            .cloned()
            .collect();
        for other in others {
            let value = self.map.remove(&other);
            found = found.or(value);
        }
        found.filter(|value| !value.is_null())
    }

    /// Returns the value of a field, if it is there, as what is `expected`.
    fn value<T: for<'de> Deserialize<'de>>(&mut self, name: &str, expected: &str) -> Result<Option<T>, InvalidJson> {
        let value = self.take(name);
        value.map(|value| read(&self.at(name), expected, &value)).transpose()
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, InvalidJson> {
        Ok(self.value(name, "text")?.unwrap_or_default())
    }

    /// Returns text that must be there and have a form.
    pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<T, InvalidJson> {
        let place = self.at(name);
        self.text(name)?.parse().map_err(|problem: T::Err| InvalidJson {
            place,
            problem: problem.to_string(),
        })
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, InvalidJson> {
        let place = self.at(name);
        let of = |(at, value): (usize, Raw)| text(&format!("{place}[{at}]"), &value);
        self.list(name)?.into_iter().enumerate().map(of).collect()
    }

    pub(crate) fn diff_ids(&mut self, name: &str) -> Result<Vec<DiffId>, InvalidJson> {
        let place = self.at(name);
        let parse = |(at, text): (usize, String)| {
            text.parse().map_err(|problem: crate::InvalidDiffId| InvalidJson {
                place: format!("{place}[{at}]"),
                problem: problem.to_string(),
            })
        };
        self.texts(name)?.into_iter().enumerate().map(parse).collect()
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, InvalidJson> {
        Ok(self.value(name, "true or false")?.unwrap_or_default())
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<i64, InvalidJson> {
        Ok(self.value(name, "a whole number")?.unwrap_or_default())
    }

    pub(crate) fn timestamp(&mut self, name: &str) -> Result<Timestamp, InvalidJson> {
        let place = self.at(name);
        match self.value::<String>(name, "text")? {
            None => Ok(Timestamp::zero()),
            Some(text) => text.parse().map_err(|problem: crate::InvalidTimestamp| InvalidJson {
                place,
                problem: problem.to_string(),
            }),
        }
    }

    pub(crate) fn map_of_text(&mut self, name: &str) -> Result<BTreeMap<String, String>, InvalidJson> {
        let Some(fields) = self.object(name)? else {
            return Ok(BTreeMap::new());
        };
        let place = fields.place;
        fields
            .map
            .into_iter()
            .map(|(key, value)| {
                let value = text(&format!("{place}[{key:?}]"), &value)?;
                Ok((key, value))
            })
            .collect()
    }

    /// Returns the keys of an object of empty objects.
    pub(crate) fn set(&mut self, name: &str) -> Result<BTreeSet<String>, InvalidJson> {
        let Some(fields) = self.object(name)? else {
            return Ok(BTreeSet::new());
        };
        let place = fields.place;
        let key = |(key, value): (String, Raw)| match value.kind() {
            "null" | "an object" => Ok(key),
            _ => Err(mismatch(&format!("{place}.{key}"), "an object", &value)),
        };
        fields.map.into_iter().map(key).collect()
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, InvalidJson> {
        let place = self.at(name);
        self.take(name).map(|value| Self::of(place, &value)).transpose()
    }

    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, InvalidJson> {
        let place = self.at(name);
        let object = |(at, value): (usize, Raw)| {
            let place = format!("{place}[{at}]");
            if value.is_null() {
                return Ok(Self {
                    place,
                    map: BTreeMap::new(),
                });
            }
            Self::of(place, &value)
        };
        self.list(name)?.into_iter().enumerate().map(object).collect()
    }

    fn list(&mut self, name: &str) -> Result<Vec<Raw>, InvalidJson> {
        let Some(value) = self.take(name) else {
            return Ok(Vec::new());
        };
        value.list().ok_or_else(|| mismatch(&self.at(name), "a list", &value))
    }

    /// Returns the fields nobody asked for, without those that no [`Value`] can hold: nested 128 levels deep or
    /// more, or with a number beyond the range of `f64`.
    pub(crate) fn rest(self) -> BTreeMap<String, Value> {
        let value = |value: &Raw| serde_json::from_str(&value.0).ok();
        self.map
            .into_iter()
            .filter_map(|(name, raw)| Some((name, value(&raw)?)))
            .collect()
    }
}

/// Reads a text, or `null` as an empty one.
fn text(place: &str, value: &Raw) -> Result<String, InvalidJson> {
    Ok(read::<Option<String>>(place, "text", value)?.unwrap_or_default())
}

fn read<T: for<'de> Deserialize<'de>>(place: &str, expected: &str, value: &Raw) -> Result<T, InvalidJson> {
    serde_json::from_str(&value.0).map_err(|_| mismatch(place, expected, value))
}

fn mismatch(place: &str, expected: &str, found: &Raw) -> InvalidJson {
    InvalidJson {
        place: place.to_owned(),
        problem: format!("there must be {expected}, but there is {}", found.kind()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    #[test]
    fn names_match_without_regard_to_case_and_null_is_absent() {
        let mut fields = Fields::parse(br#"{"OS":"linux","Variant":null,"other":1}"#).expect("object");
        assert_eq!(fields.text("os").expect("text"), "linux");
        assert_eq!(fields.text("variant").expect("text"), "");
        assert_eq!(fields.rest().into_keys().collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn null_in_a_list_of_texts_is_an_empty_one() {
        let mut fields = Fields::parse(br#"{"Env":["A=1",null],"Cmd":[1]}"#).expect("object");
        assert_eq!(fields.texts("Env").expect("texts"), ["A=1", ""]);
        assert_eq!(fields.texts("Cmd").expect_err("a number").place, "Cmd[0]");
    }

    #[test]
    fn a_set_has_objects_or_null_for_its_members() {
        let mut fields = Fields::parse(br#"{"Volumes":{"/a":{},"/b":null},"ExposedPorts":{"80":5}}"#).expect("object");
        let volumes = fields.set("Volumes").expect("objects");
        assert_eq!(volumes.into_iter().collect::<Vec<_>>(), ["/a", "/b"]);
        assert_eq!(
            fields.set("ExposedPorts").expect_err("a number").place,
            "ExposedPorts.80"
        );
    }

    #[test]
    fn what_nobody_asks_for_may_be_deep_and_have_big_numbers_and_is_left_out_where_no_value_can_hold_it() {
        let deep = format!("{}{}", "[".repeat(9_999), "]".repeat(9_999));
        let json = format!(r#"{{"deep":{deep},"object":{{"big":[1e999],"os":"linux"}},"small":[1e9]}}"#);
        let mut fields = Fields::parse(json.as_bytes()).expect("object");
        let mut object = fields.object("object").expect("object").expect("it is there");
        assert_eq!(object.text("os").expect("text"), "linux");
        assert_eq!(object.integer("big").expect_err("a list").place, "object.big");
        assert_eq!(fields.rest().into_keys().collect::<Vec<_>>(), ["small"]);
        Fields::parse(br#"{"a":[1e999}"#).err().expect("it is not JSON");
    }

    #[test]
    fn a_key_that_serde_json_uses_for_texts_of_values_is_a_key_like_any_other() {
        let json = br#" { "unknown" : {"$serde_json::private::RawValue": "[1]"} , "list" : [ 1 , {} ,"," ] } "#;
        let mut fields = Fields::parse(json).expect("object");
        assert_eq!(fields.list("list").expect("a list").len(), 3);
        let rest = fields.rest();
        assert_eq!(rest["unknown"]["$serde_json::private::RawValue"], "[1]");
    }

    proptest! {
        #[test]
        fn the_parts_of_a_value_are_those_that_serde_json_finds(value in any_value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let fields = Fields::parse(text.expect("it can be written").as_bytes());
            let list = Fields::parse(format!("{{\"list\": {value}}}").as_bytes()).expect("an object").list("list");
            match value {
                Value::Object(map) => {
                    let rest = fields.expect("an object").rest();
                    prop_assert_eq!(rest, map.into_iter().collect::<BTreeMap<_, _>>());
                }
                Value::Array(values) => {
                    let list = list.expect("a list").into_iter().map(|raw| serde_json::from_str::<Value>(&raw.0));
                    prop_assert_eq!(list.collect::<Result<Vec<_>, _>>().expect("values"), values);
                }
                Value::Null => prop_assert_eq!(list.expect("nothing").len(), 0),
                _ => prop_assert!(fields.is_err() && list.is_err()),
            }
        }
    }
}

//! Reading JSON as leniently as Go reads it.

use std::collections::{BTreeMap, BTreeSet};

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
/// no character in a text is U+FFFD.
pub(crate) struct Fields {
    place: String,
    map: BTreeMap<String, Value>,
}

impl Fields {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, InvalidJson> {
        let text = text_of(bytes);
        let value = serde_json::from_str(&with_whole_characters(&text)).map_err(|error| InvalidJson {
            place: "document".to_owned(),
            problem: format!("it is not JSON: {error}"),
        })?;
        Self::of(String::new(), value)
    }

    fn of(place: String, value: Value) -> Result<Self, InvalidJson> {
        match value {
            Value::Object(map) => Ok(Self {
                place,
                map: map.into_iter().collect(),
            }),
            other => Err(mismatch(
                if place.is_empty() { "document" } else { &place },
                "an object",
                &other,
            )),
        }
    }

    fn at(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
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

    pub(crate) fn text(&mut self, name: &str) -> Result<String, InvalidJson> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(value) => text(&self.at(name), value),
        }
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
        let of = |(at, value)| match value {
            Value::Null => Ok(String::new()),
            value => text(&format!("{place}[{at}]"), value),
        };
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
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(mismatch(&self.at(name), "true or false", &other)),
        }
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<i64, InvalidJson> {
        match self.take(name) {
            None => Ok(0),
            Some(value) => value
                .as_i64()
                .ok_or_else(|| mismatch(&self.at(name), "a whole number", &value)),
        }
    }

    pub(crate) fn timestamp(&mut self, name: &str) -> Result<Timestamp, InvalidJson> {
        let place = self.at(name);
        match self.take(name) {
            None => Ok(Timestamp::zero()),
            Some(value) => text(&place, value)?
                .parse()
                .map_err(|problem: crate::InvalidTimestamp| InvalidJson {
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
                // Go decodes null into the empty text.
                let value = if value.is_null() {
                    String::new()
                } else {
                    text(&format!("{place}[{key:?}]"), value)?
                };
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
        let key = |(key, value)| match value {
            Value::Null | Value::Object(_) => Ok(key),
            other => Err(mismatch(&format!("{place}.{key}"), "an object", &other)),
        };
        fields.map.into_iter().map(key).collect()
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, InvalidJson> {
        let place = self.at(name);
        self.take(name).map(|value| Self::of(place, value)).transpose()
    }

    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, InvalidJson> {
        let place = self.at(name);
        let object = |(at, value): (usize, Value)| match value {
            Value::Null => Ok(Self {
                place: format!("{place}[{at}]"),
                map: BTreeMap::new(),
            }),
            value => Self::of(format!("{place}[{at}]"), value),
        };
        self.list(name)?.into_iter().enumerate().map(object).collect()
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, InvalidJson> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(mismatch(&self.at(name), "a list", &other)),
        }
    }

    /// Returns the fields nobody asked for.
    pub(crate) fn rest(self) -> BTreeMap<String, Value> {
        self.map
    }
}

fn text(place: &str, value: Value) -> Result<String, InvalidJson> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(mismatch(place, "text", &other)),
    }
}

fn mismatch(place: &str, expected: &str, found: &Value) -> InvalidJson {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    InvalidJson {
        place: place.to_owned(),
        problem: format!("there must be {expected}, but there is {found}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_no_character_is_an_unknown_one() {
        let mut fields = Fields::parse(b"{\"a\":\"x\xff\",\"b\":\"\\ud800\"}").expect("object");
        assert_eq!(fields.text("a").expect("text"), "x\u{fffd}");
        assert_eq!(fields.text("b").expect("text"), "\u{fffd}");
    }
}

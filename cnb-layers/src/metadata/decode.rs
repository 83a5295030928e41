//! Reading documents leniently where the reference is lenient (case of keys, absent values) and strictly
//! where it is strict (the type of a value): TOML by `cnb_order`, JSON here.

use std::collections::BTreeMap;

use cnb_order::{Fields, go_json_problem};
use serde_json::{Map, Value};

use super::Data;
use crate::go_json::with_whole_characters;

/// Why a document could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The text is not JSON.
    #[error("{0}")]
    NotJson(String),
    /// The text is not TOML, or a value in it has another type than the document's format says.
    #[error(transparent)]
    Toml(#[from] cnb_order::DecodeError),
    /// A value in JSON has another type than the document's format says.
    #[error("{key} should be {expected}")]
    WrongType {
        /// The name of the key.
        key: String,
        /// What should be there, such as "a string".
        expected: &'static str,
    },
    /// A flag of a layer stands outside of the `types` table.
    #[error("the launch, cache and build flags should be in the types table")]
    FlagsOutsideTypes,
}

/// Why a document cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// JSON has no place for a value, such as an infinite number.
    #[error("{0}")]
    NotJson(String),
    /// TOML has no place for a `null` in a list.
    #[error("toml: cannot encode array with nil element")]
    NullInList,
}

/// A table of a document that is written in TOML as well as in JSON; keys are found whatever their case.
pub(crate) trait Source: Sized {
    /// Why something could not be read.
    type Error;

    fn text(&self, key: &str) -> Result<String, Self::Error>;

    fn flag(&self, key: &str) -> Result<bool, Self::Error>;

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Self::Error>;

    fn table(&self, key: &str) -> Result<Option<Self>, Self::Error>;

    /// Reads a list of tables, each by `read`.
    fn tables<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, Self::Error>,
    ) -> Result<Option<Vec<T>>, Self::Error>;

    /// Reads a table of tables, each by `read`.
    fn map<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, Self::Error>,
    ) -> Result<Option<BTreeMap<String, T>>, Self::Error>;

    /// Reads free-form data of any type; absent is `null`.
    fn data(&self, key: &str) -> Data;

    /// Reads free-form data that has to be a table; absent is `null`.
    fn free_table(&self, key: &str) -> Result<Data, Self::Error>;
}

impl Source for Fields<'_> {
    type Error = cnb_order::DecodeError;

    fn text(&self, key: &str) -> Result<String, Self::Error> {
        Fields::text(self, key)
    }

    fn flag(&self, key: &str) -> Result<bool, Self::Error> {
        Fields::flag(self, key)
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Self::Error> {
        Fields::texts(self, key)
    }

    fn table(&self, key: &str) -> Result<Option<Self>, Self::Error> {
        Fields::table(self, key)
    }

    fn tables<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, Self::Error>,
    ) -> Result<Option<Vec<T>>, Self::Error> {
        self.list(key, read)
    }

    /// What is no table is dropped, as free-form data is.
    fn map<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, Self::Error>,
    ) -> Result<Option<BTreeMap<String, T>>, Self::Error> {
        if !self.value(key).is_some_and(cnb_order::toml::Value::is_table) {
            return Ok(None);
        }
        let Some(table) = Fields::table(self, key)? else {
            return Ok(None);
        };
        let mut all = BTreeMap::new();
        for name in table.as_table().keys() {
            if let Some(fields) = Fields::table(&table, name)? {
                all.insert(name.clone(), read(&fields)?);
            }
        }
        Ok(Some(all))
    }

    fn data(&self, key: &str) -> Data {
        self.value(key).map_or(Data::Null, Data::from)
    }

    /// What is no table is dropped.
    fn free_table(&self, key: &str) -> Result<Data, Self::Error> {
        Ok(match self.value(key).and_then(cnb_order::toml::Value::as_table) {
            Some(table) => Data::from(table),
            None => Data::Null,
        })
    }
}

/// A JSON object; `null` counts as absent.
pub(crate) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    /// Reads `value` as an object; `null` is an empty one.
    pub(crate) fn of(value: &'a Value, key: &str) -> Result<Self, DecodeError> {
        match value {
            Value::Null => Ok(Self(empty())),
            Value::Object(map) => Ok(Self(map)),
            _ => Err(wrong(key, "a table")),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        let found = self.0.get(key).or_else(|| {
            self.0
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value)
        })?;
        (!found.is_null()).then_some(found)
    }

    fn list(&self, key: &str) -> Result<Option<&'a [Value]>, DecodeError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(wrong(key, "a list")),
        }
    }
}

impl Source for Object<'_> {
    type Error = DecodeError;

    fn text(&self, key: &str) -> Result<String, DecodeError> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong(key, "a string")),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, DecodeError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, DecodeError> {
        let Some(items) = self.list(key)? else { return Ok(None) };
        let texts = items.iter().map(|item| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            _ => Err(wrong(key, "a list of strings")),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn table(&self, key: &str) -> Result<Option<Self>, DecodeError> {
        self.get(key).map(|value| Object::of(value, key)).transpose()
    }

    fn tables<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(items) = self.list(key)? else { return Ok(None) };
        let all = items.iter().map(|item| read(&Object::of(item, key)?));
        all.collect::<Result<_, _>>().map(Some)
    }

    fn map<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, DecodeError>,
    ) -> Result<Option<BTreeMap<String, T>>, DecodeError> {
        let Some(table) = self.table(key)? else { return Ok(None) };
        let all = table.0.iter();
        all.map(|(name, value)| Ok((name.clone(), read(&Object::of(value, name)?)?)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn data(&self, key: &str) -> Data {
        self.get(key).map_or(Data::Null, Data::from)
    }

    fn free_table(&self, key: &str) -> Result<Data, DecodeError> {
        match self.get(key) {
            None => Ok(Data::Null),
            Some(value @ Value::Object(_)) => Ok(Data::from(value)),
            Some(_) => Err(wrong(key, "a table")),
        }
    }
}

fn empty() -> &'static Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    EMPTY.get_or_init(Map::new)
}

fn wrong(key: &str, expected: &'static str) -> DecodeError {
    DecodeError::WrongType {
        key: key.to_owned(),
        expected,
    }
}

/// Reads JSON text.
pub(crate) fn json(text: &str) -> Result<Value, DecodeError> {
    serde_json::from_str(&with_whole_characters(text))
        .map_err(|error| DecodeError::NotJson(go_json_problem(text).unwrap_or_else(|| error.to_string())))
}

/// Reads the JSON value that a text starts with; what follows it does not matter.
pub(crate) fn first_json(text: &str) -> Option<Value> {
    let text = with_whole_characters(text);
    serde_json::Deserializer::from_str(&text).into_iter().next()?.ok()
}

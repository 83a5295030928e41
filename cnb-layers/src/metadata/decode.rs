//! Reading documents leniently where the reference is lenient (case of keys, absent values) and strictly
//! where it is strict (the type of a value).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Why a document could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The text is not JSON.
    #[error("{0}")]
    NotJson(String),
    /// The text is not TOML.
    #[error("toml: {0}")]
    NotToml(String),
    /// A value has another type than the document's format says.
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
    /// A number that JSON cannot hold.
    #[error("json: unsupported value: {0}")]
    NotANumber(&'static str),
}

/// A table of a document; keys are found whatever their case.
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Reads `value` as a table; `null` is an empty one.
    pub(crate) fn of(value: &'a Value, key: &str) -> Result<Option<Self>, DecodeError> {
        match value {
            Value::Null => Ok(None),
            Value::Object(map) => Ok(Some(Self(map))),
            _ => Err(wrong(key, "a table")),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        let found = self.0.get(key).or_else(|| {
            self.0
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value)
        })?;
        (!found.is_null()).then_some(found)
    }

    pub(crate) fn text(&self, key: &str) -> Result<String, DecodeError> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong(key, "a string")),
        }
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<bool, DecodeError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }

    pub(crate) fn table(&self, key: &str) -> Result<Option<Fields<'a>>, DecodeError> {
        self.get(key).map_or(Ok(None), |value| Fields::of(value, key))
    }

    pub(crate) fn list(&self, key: &str) -> Result<Option<&'a [Value]>, DecodeError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(wrong(key, "a list")),
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, DecodeError> {
        let Some(items) = self.list(key)? else { return Ok(None) };
        let texts = items.iter().map(|item| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            _ => Err(wrong(key, "a list of strings")),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    /// Reads a list of tables, each by `read`.
    pub(crate) fn tables<T>(
        &self,
        key: &str,
        read: impl Fn(&Fields<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(items) = self.list(key)? else { return Ok(None) };
        let empty = empty();
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            all.push(match Fields::of(item, key)? {
                Some(fields) => read(&fields)?,
                None => read(&Fields(empty))?,
            });
        }
        Ok(Some(all))
    }

    /// Reads a table of tables, each by `read`.
    pub(crate) fn map<T>(
        &self,
        key: &str,
        read: impl Fn(&Fields<'a>) -> Result<T, DecodeError>,
    ) -> Result<BTreeMap<String, T>, DecodeError> {
        let Some(table) = self.table(key)? else {
            return Ok(BTreeMap::new());
        };
        let mut all = BTreeMap::new();
        for (name, value) in table.0 {
            let fields = Fields::of(value, name)?.unwrap_or(Fields(empty()));
            all.insert(name.clone(), read(&fields)?);
        }
        Ok(all)
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
    serde_json::from_str(text).map_err(|error| {
        DecodeError::NotJson(if error.is_eof() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        })
    })
}

/// Reads TOML text into the values that JSON has; dates and times become full timestamps.
pub(crate) fn toml(text: &str) -> Result<Value, DecodeError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| DecodeError::NotToml(error.message().to_owned()))?;
    toml_value(&toml::Value::Table(table))
}

fn toml_value(value: &toml::Value) -> Result<Value, DecodeError> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None if number.is_nan() => return Err(DecodeError::NotANumber("NaN")),
            None if *number > 0.0 => return Err(DecodeError::NotANumber("+Inf")),
            None => return Err(DecodeError::NotANumber("-Inf")),
        },
        toml::Value::Boolean(value) => Value::Bool(*value),
        toml::Value::Datetime(time) => Value::String(timestamp(time)),
        toml::Value::Array(items) => Value::Array(items.iter().map(toml_value).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| Ok((key.clone(), toml_value(value)?)))
                .collect::<Result<_, DecodeError>>()?,
        ),
    })
}

/// Writes a date, a time or both as RFC 3339; what is missing counts as the start of the year 0, as
/// midnight, as UTC.
fn timestamp(time: &toml::value::Datetime) -> String {
    let date = time
        .date
        .map_or_else(|| "0000-01-01".to_owned(), |date| date.to_string());
    let mut clock = time.time.map_or_else(|| "00:00:00".to_owned(), |time| time.to_string());
    if clock.contains('.') {
        clock = clock.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if clock.matches(':').count() == 1 {
        clock.push_str(":00");
    }
    let offset = match time.offset {
        None | Some(toml::value::Offset::Z | toml::value::Offset::Custom { minutes: 0 }) => "Z".to_owned(),
        Some(offset) => offset.to_string(),
    };
    format!("{date}T{clock}{offset}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_become_full_timestamps() {
        let value = toml(
            "a = 1979-05-27T07:32:00Z\nb = 1979-05-27\nc = 07:32:00\nd = 1979-05-27T07:32:00\ne = 1979-05-27T00:32:00.990-07:00",
        )
        .expect("it is TOML");
        assert_eq!(
            value,
            serde_json::json!({
                "a": "1979-05-27T07:32:00Z", "b": "1979-05-27T00:00:00Z", "c": "0000-01-01T07:32:00Z",
                "d": "1979-05-27T07:32:00Z", "e": "1979-05-27T00:32:00.99-07:00",
            })
        );
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_refused() {
        assert_eq!(
            toml("x = inf").unwrap_err().to_string(),
            "json: unsupported value: +Inf"
        );
        assert_eq!(toml("x = nan").unwrap_err().to_string(), "json: unsupported value: NaN");
    }
}

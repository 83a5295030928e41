//! Free-form data: what a buildpack wants to remember, in TOML files and in JSON labels.

use std::collections::BTreeMap;

use cnb_order::toml;
use cnb_order::toml::value::{Datetime, Offset};
use cnb_order::{TomlTable, TomlValue, go_float};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::EncodeError;

/// A value that a buildpack chose: all that TOML and JSON can hold.
///
/// Between the two, dates and times become text (full timestamps), and JSON has no whole numbers. JSON cannot hold
/// infinities, TOML no `null`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data {
    /// Nothing.
    #[default]
    Null,
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A date, a time or both.
    Time(Datetime),
    /// A list.
    List(Vec<Data>),
    /// A table; its keys are in byte order.
    Table(BTreeMap<String, Data>),
}

impl From<&toml::Value> for Data {
    fn from(value: &toml::Value) -> Self {
        use toml::Value;
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Integer(number) => Self::Integer(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Boolean(flag) => Self::Flag(*flag),
            Value::Datetime(time) => Self::Time(*time),
            Value::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            Value::Table(table) => Self::from(table),
        }
    }
}

impl From<&toml::Table> for Data {
    fn from(table: &toml::Table) -> Self {
        let fields = table.iter().map(|(key, value)| (key.clone(), Self::from(value)));
        Self::Table(fields.collect())
    }
}

impl From<&serde_json::Value> for Data {
    /// Takes a value of a JSON document; all its numbers are floats, as for the reference.
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => number.as_f64().map_or(Self::Null, Self::Float),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            Value::Object(map) => {
                let fields = map.iter().map(|(key, value)| (key.clone(), Self::from(value)));
                Self::Table(fields.collect())
            }
        }
    }
}

impl Data {
    /// Returns the value to be written into a TOML file; in tables, `null` vanishes.
    ///
    /// # Errors
    /// When there is a `null` in a list.
    pub(crate) fn to_toml(&self) -> Result<Option<TomlValue>, EncodeError> {
        Ok(Some(match self {
            Self::Null => return Ok(None),
            Self::Flag(flag) => TomlValue::Flag(*flag),
            Self::Integer(number) => TomlValue::Integer(*number),
            Self::Float(number) => TomlValue::Float(*number),
            Self::Text(text) => TomlValue::Text(text.clone()),
            Self::Time(time) => TomlValue::Datetime(*time),
            Self::List(list) => {
                let item = |item: &Self| item.to_toml()?.ok_or(EncodeError::NullInList);
                TomlValue::List(list.iter().map(item).collect::<Result<_, _>>()?)
            }
            Self::Table(fields) => {
                let table = fields
                    .iter()
                    .try_fold(TomlTable::new(), |table, (key, value)| value.add_to(table, key));
                TomlValue::Table(table?)
            }
        }))
    }

    /// Adds the value to a table of a TOML file, unless it is `null`.
    pub(crate) fn add_to(&self, table: TomlTable, key: &str) -> Result<TomlTable, EncodeError> {
        Ok(match self.to_toml()? {
            Some(value) => table.with(key, value),
            None => table,
        })
    }
}

impl Serialize for Data {
    /// Writes the value into JSON; fails for infinities and for what is not a number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            Self::Float(number) => {
                let number = go_float(*number);
                Err(S::Error::custom(format_args!("json: unsupported value: {number}")))
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(time) => serializer.serialize_str(&timestamp(time)),
            Self::List(list) => serializer.collect_seq(list),
            Self::Table(fields) => serializer.collect_map(fields),
        }
    }
}

/// Writes a date, a time or both as RFC 3339; what is missing counts as the start of the year 0, as
/// midnight, as UTC.
fn timestamp(time: &Datetime) -> String {
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
        None | Some(Offset::Z | Offset::Custom { minutes: 0 }) => "Z".to_owned(),
        Some(offset) => offset.to_string(),
    };
    format!("{date}T{clock}{offset}")
}

#[cfg(test)]
mod tests {
    use cnb_order::{go_toml, parse_toml};
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Data {
        Data::from(&parse_toml(text).expect("it is TOML"))
    }

    fn json_of(data: &Data) -> Result<String, String> {
        cnb_order::go_json_of(data).map_err(|error| error.to_string())
    }

    fn toml_of(data: &Data) -> Result<String, EncodeError> {
        data.add_to(TomlTable::new(), "metadata").map(|table| go_toml(&table))
    }

    #[test]
    fn in_json_dates_and_times_become_full_timestamps() {
        let data = read(
            "a = 1979-05-27T07:32:00Z\nb = 1979-05-27\nc = 07:32:00\nd = 1979-05-27T07:32:00\ne = 1979-05-27T00:32:00.990-07:00",
        );
        let text = "{\"a\":\"1979-05-27T07:32:00Z\",\"b\":\"1979-05-27T00:00:00Z\",\"c\":\"0000-01-01T07:32:00Z\",\
            \"d\":\"1979-05-27T07:32:00Z\",\"e\":\"1979-05-27T00:32:00.99-07:00\"}";
        assert_eq!(json_of(&data), Ok(text.to_owned()));
    }

    #[test]
    fn in_toml_dates_and_times_stay_what_they_are() {
        let text = "[metadata]\n  a = 1979-05-27T07:32:00Z\n  b = 1979-05-27\n  c = 07:32:00\n  d = inf\n  e = nan\n";
        let table = parse_toml(text).expect("it is TOML");
        let data = Data::from(table.get("metadata").expect("it is there"));
        assert_eq!(toml_of(&data), Ok(text.to_owned()));
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_refused_by_it() {
        for (text, problem) in [("x = inf", "+Inf"), ("x = [{y = -inf}]", "-Inf"), ("x = nan", "NaN")] {
            assert_eq!(json_of(&read(text)), Err(format!("json: unsupported value: {problem}")));
        }
    }

    #[test]
    fn a_null_vanishes_from_toml_tables_and_is_refused_in_lists() {
        let data = Data::from(&json!({"a": null, "b": {"c": null, "d": 1}}));
        assert_eq!(
            toml_of(&data).as_deref(),
            Ok("[metadata]\n  [metadata.b]\n    d = 1.0\n")
        );
        assert_eq!(toml_of(&Data::Null).as_deref(), Ok(""));
        let refused = toml_of(&Data::from(&json!({"a": [[1, null]]}))).unwrap_err();
        assert_eq!(refused.to_string(), "toml: cannot encode array with nil element");
    }

    #[test]
    fn within_lists_plain_keys_come_before_tables() {
        let data = read("a = [1, {b = {x = 1}, c = 2}]");
        assert_eq!(
            toml_of(&data).as_deref(),
            Ok("[metadata]\n  a = [1, {c = 2, b = {x = 1}}]\n")
        );
    }
}

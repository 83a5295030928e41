//! The deprecated bill of materials.

use cnb_order::{BuildpackId, BuildpackVersion, DecodeError, Fields, TomlTable, TomlValue, go_float, go_json};
use serde_json::{Map, Value, json};
use toml::Table;

use crate::BuildError;

/// An entry of a deprecated `[[bom]]` table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BomEntry {
    /// Name of the dependency.
    pub name: String,
    /// Version at the top level, which is refused.
    pub version: String,
    /// Free-form data.
    pub metadata: Option<Table>,
    /// The buildpack that wrote it.
    pub buildpack: (BuildpackId, BuildpackVersion),
}

impl BomEntry {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        let buildpack = match fields.table("buildpack")? {
            Some(buildpack) => (buildpack.text("id")?.into(), buildpack.text("version")?.into()),
            None => Default::default(),
        };
        Ok(Self {
            name: fields.text("name")?,
            version: fields.text("version")?,
            metadata: fields.free("metadata"),
            buildpack,
        })
    }

    pub(crate) fn write(&self) -> TomlTable {
        TomlTable::new()
            .text("name", &self.name)
            .text_if("version", &self.version)
            .free("metadata", self.metadata.as_ref())
            .with(
                "buildpack",
                TomlValue::Table(
                    TomlTable::new()
                        .text("id", self.buildpack.0.as_str())
                        .text("version", self.buildpack.1.as_str()),
                ),
            )
    }

    /// Returns the JSON text used in labels and legacy files, with the keys in the reference's order.
    pub fn to_json(&self) -> String {
        let metadata = match &self.metadata {
            Some(table) => toml_to_json(&toml::Value::Table(table.clone())),
            None => Value::Null,
        };
        format!(
            "{{\"name\":{},\"metadata\":{},\"buildpack\":{{\"id\":{},\"version\":{}}}}}",
            go_json(&json!(self.name)),
            go_json(&metadata),
            go_json(&json!(self.buildpack.0)),
            go_json(&json!(self.buildpack.1))
        )
    }

    /// Returns the JSON text of a list; `null` when it is empty.
    pub fn list_to_json(entries: &[Self]) -> String {
        if entries.is_empty() {
            return "null".to_owned();
        }
        format!("[{}]", entries.iter().map(Self::to_json).collect::<Vec<_>>().join(","))
    }
}

/// Returns the JSON value of a TOML value; dates are their texts.
fn toml_to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::Datetime(time) => Value::String(instant(time)),
        toml::Value::Array(list) => Value::Array(list.iter().map(toml_to_json).collect()),
        toml::Value::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.clone(), toml_to_json(value)))
                .collect::<Map<_, _>>(),
        ),
    }
}

/// Writes a date or time as Go does, which has no local ones: what is missing is filled in.
fn instant(time: &toml::value::Datetime) -> String {
    let date = time
        .date
        .map_or_else(|| "0000-01-01".to_owned(), |date| date.to_string());
    let clock = time
        .time
        .map_or_else(|| "00:00:00".to_owned(), |clock| clock.to_string());
    let offset = time.offset.map_or_else(|| "Z".to_owned(), |offset| offset.to_string());
    format!("{date}T{clock}{offset}")
}

pub(crate) fn check(entries: &[BomEntry]) -> Result<(), BuildError> {
    match entries.iter().find(|entry| !entry.version.is_empty()) {
        Some(entry) => Err(BuildError::rule(format!(
            "bom entry '{}' has a top level version which is not allowed. The buildpack should instead set metadata.version",
            entry.name
        ))),
        None => Ok(()),
    }
}

/// Checks that JSON can say all of it.
pub(crate) fn check_numbers(entries: &[BomEntry]) -> Result<(), BuildError> {
    let mut tables = entries.iter().filter_map(|entry| entry.metadata.as_ref());
    match tables.find_map(|table| table.values().find_map(no_number)) {
        Some(number) => Err(BuildError::rule(format!(
            "json: unsupported value: {}",
            go_float(number)
        ))),
        None => Ok(()),
    }
}

/// Finds a float that is no number, or infinite.
fn no_number(value: &toml::Value) -> Option<f64> {
    match value {
        toml::Value::Float(number) => (!number.is_finite()).then_some(*number),
        toml::Value::Array(list) => list.iter().find_map(no_number),
        toml::Value::Table(table) => table.values().find_map(no_number),
        _ => None,
    }
}

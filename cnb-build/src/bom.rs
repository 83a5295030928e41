//! The deprecated bill of materials.

use cnb_order::{BuildpackId, BuildpackVersion, DecodeError, Fields, TomlTable, TomlValue};
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

    /// Returns the JSON form used in labels and legacy files.
    pub fn to_json(&self) -> Value {
        let metadata = match &self.metadata {
            Some(table) => toml_to_json(&toml::Value::Table(table.clone())),
            None => Value::Null,
        };
        json!({
            "name": self.name,
            "metadata": metadata,
            "buildpack": { "id": self.buildpack.0, "version": self.buildpack.1 },
        })
    }
}

/// Returns the JSON value of a TOML value; dates are their texts.
fn toml_to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => {
            // Go writes whole floats without a fraction.
            #[allow(clippy::cast_possible_truncation)]
            if number.fract() == 0.0 && number.abs() < 9e15 {
                Value::from(*number as i64)
            } else {
                Value::from(*number)
            }
        }
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => Value::Array(list.iter().map(toml_to_json).collect()),
        toml::Value::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.clone(), toml_to_json(value)))
                .collect::<Map<_, _>>(),
        ),
    }
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

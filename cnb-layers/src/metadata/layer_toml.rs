//! `<layer>.toml`: what a buildpack says about one of its layers.

use serde_json::Value;

use super::decode::{self, DecodeError, Fields};
use super::toml_text::{self, Toml};

/// The content of `<layer>.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerToml {
    /// What the layer is for.
    pub types: LayerTypes,
    /// What the buildpack wants to remember about the layer.
    pub metadata: Value,
}

/// What a layer is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerTypes {
    /// Later buildpacks may use it.
    pub build: bool,
    /// It is part of the image.
    pub launch: bool,
    /// It is kept for the next build.
    pub cache: bool,
}

impl LayerToml {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not TOML, when a flag is not a boolean, or when a flag stands outside of the `types`
    /// table (as very old buildpacks write it).
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let value = decode::toml(text)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(Self::default());
        };
        if ["launch", "build", "cache"]
            .iter()
            .any(|flag| fields.get(flag).is_some())
        {
            return Err(DecodeError::FlagsOutsideTypes);
        }
        let types = match fields.table("types")? {
            None => LayerTypes::default(),
            Some(types) => LayerTypes {
                build: types.boolean("build")?,
                launch: types.boolean("launch")?,
                cache: types.boolean("cache")?,
            },
        };
        Ok(Self {
            types,
            metadata: fields.get("metadata").cloned().unwrap_or(Value::Null),
        })
    }
}

/// Returns the text of a `<layer>.toml` that holds metadata only; empty without metadata.
pub(crate) fn data_document(data: &Value) -> String {
    let pairs: Vec<_> = Toml::from_json(data)
        .map(|data| ("metadata".to_owned(), data))
        .into_iter()
        .collect();
    toml_text::document(&pairs)
}

/// Returns the text of a store.toml.
pub(crate) fn store_document(store: &Value) -> String {
    data_document(store)
}

/// Returns the metadata that a store.toml holds.
pub(crate) fn read_store(text: &str) -> Result<Value, DecodeError> {
    let value = decode::toml(text)?;
    let Some(fields) = Fields::of(&value, "the file")? else {
        return Ok(Value::Null);
    };
    // What is no table is dropped, as the reference does.
    Ok(match fields.get("metadata") {
        Some(value @ Value::Object(_)) => value.clone(),
        _ => Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flags_belong_into_the_types_table() {
        let layer = LayerToml::from_toml("[types]\nlaunch = true\n[metadata]\nk = 1").expect("it is well formed");
        assert_eq!(
            layer.types,
            LayerTypes {
                launch: true,
                ..LayerTypes::default()
            }
        );
        assert_eq!(layer.metadata, json!({"k": 1}));
        assert_eq!(
            LayerToml::from_toml("launch = true"),
            Err(DecodeError::FlagsOutsideTypes)
        );
        assert!(LayerToml::from_toml("[types]\nlaunch = \"true\"").is_err());
    }

    #[test]
    fn what_a_store_holds_is_a_table_or_dropped() {
        for (text, data) in [
            ("[metadata]\na = 1\n", json!({"a": 1})),
            ("[metadata]\n", json!({})),
            ("", Value::Null),
            ("metadata = \"x\"\n", Value::Null),
            ("metadata = [1]\n", Value::Null),
            ("[other]\nx = 1\n", Value::Null),
        ] {
            assert_eq!(read_store(text), Ok(data), "{text}");
        }
    }

    #[test]
    fn restored_metadata_has_no_types() {
        assert_eq!(data_document(&json!({"k": "v"})), "[metadata]\n  k = \"v\"\n");
        assert_eq!(data_document(&Value::Null), "");
        assert_eq!(data_document(&json!({})), "[metadata]\n");
    }
}

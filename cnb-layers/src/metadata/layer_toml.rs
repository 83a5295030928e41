//! `<layer>.toml`: what a buildpack says about one of its layers.

use cnb_order::{Fields, TomlTable, go_toml, parse_toml};

use super::Data;
use super::decode::{DecodeError, EncodeError, Source as _};

/// The content of `<layer>.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerToml {
    /// What the layer is for.
    pub types: LayerTypes,
    /// What the buildpack wants to remember about the layer.
    pub metadata: Data,
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
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        // Very old buildpacks wrote them in lower case; other spellings are keys that nobody knows.
        if ["launch", "build", "cache"]
            .iter()
            .any(|flag| table.contains_key(*flag))
        {
            return Err(DecodeError::FlagsOutsideTypes);
        }
        let types = match fields.table("types")? {
            None => LayerTypes::default(),
            Some(types) => LayerTypes {
                build: types.flag("build")?,
                launch: types.flag("launch")?,
                cache: types.flag("cache")?,
            },
        };
        Ok(Self {
            types,
            metadata: fields.data("metadata"),
        })
    }
}

/// Returns the text of a `<layer>.toml` or store.toml that holds metadata only; empty without metadata.
pub(crate) fn data_document(data: &Data) -> Result<String, EncodeError> {
    data.add_to(TomlTable::new(), "metadata").map(|table| go_toml(&table))
}

/// Returns the metadata that a store.toml holds; what is no table is dropped, as the reference does.
pub(crate) fn read_store(text: &str) -> Result<Data, DecodeError> {
    let table = parse_toml(text)?;
    Ok(Fields::of(&table, text).free_table("metadata")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(fields: &[(&str, i64)]) -> Data {
        let fields = fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Data::Integer(*value)));
        Data::Table(fields.collect())
    }

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
        assert_eq!(layer.metadata, numbers(&[("k", 1)]));
        assert_eq!(
            LayerToml::from_toml("launch = true"),
            Err(DecodeError::FlagsOutsideTypes)
        );
        assert!(LayerToml::from_toml("[types]\nlaunch = \"true\"").is_err());
        // Of the old flags, only the exact names are known.
        assert_eq!(LayerToml::from_toml("Launch = true"), Ok(LayerToml::default()));
    }

    #[test]
    fn what_a_store_holds_is_a_table_or_dropped() {
        for (text, data) in [
            ("[metadata]\na = 1\n", numbers(&[("a", 1)])),
            ("[metadata]\n", numbers(&[])),
            ("", Data::Null),
            ("metadata = \"x\"\n", Data::Null),
            ("metadata = [1]\n", Data::Null),
            ("[other]\nx = 1\n", Data::Null),
        ] {
            assert_eq!(read_store(text), Ok(data), "{text}");
        }
    }

    #[test]
    fn restored_metadata_has_no_types() {
        assert_eq!(
            data_document(&numbers(&[("k", 1)])).as_deref(),
            Ok("[metadata]\n  k = 1\n")
        );
        assert_eq!(data_document(&Data::Null).as_deref(), Ok(""));
        assert_eq!(data_document(&numbers(&[])).as_deref(), Ok("[metadata]\n"));
    }
}

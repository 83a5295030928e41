//! `<layer>.toml`: what a layer is for.

use cnb_order::{DecodeError, Fields, TomlTable, TomlValue, go_toml, parse_toml};
use toml::Value;

/// The content of `<layer>.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerMetadata {
    /// What the layer is for.
    pub types: LayerTypes,
    /// Data of the buildpack for its next build; of any type.
    pub data: Option<Value>,
}

/// What a layer is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerTypes {
    /// For buildpacks that run later in the same build.
    pub build: bool,
    /// For the image.
    pub launch: bool,
    /// For the next build.
    pub cache: bool,
}

impl LayerMetadata {
    /// Reads the text; `path` is named in messages.
    ///
    /// # Errors
    /// When it is not TOML, a value has the wrong type, or types stand at the top level as old Buildpack APIs had them.
    pub fn from_toml(text: &str, path: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        if ["build", "launch", "cache"].iter().any(|key| table.contains_key(*key)) {
            return Err(DecodeError::Invalid {
                message: format!("the launch, cache and build flags should be in the types table of {path}"),
            });
        }
        let types = match fields.table("types")? {
            Some(types) => LayerTypes {
                build: types.flag("build")?,
                launch: types.flag("launch")?,
                cache: types.flag("cache")?,
            },
            None => LayerTypes::default(),
        };
        Ok(Self {
            types,
            data: fields.value("metadata").cloned(),
        })
    }

    /// Writes the text that the restorer leaves for the buildpack: the data alone, without types.
    pub fn to_toml_without_types(&self) -> String {
        match &self.data {
            Some(data) => go_toml(&TomlTable::new().with("metadata", TomlValue::from(data))),
            None => String::new(),
        }
    }
}

//! run.toml: the run images that a builder offers.

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::{TomlTable, go_toml};

/// The content of run.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunInfo {
    /// The run images; the first is the default.
    pub images: Vec<RunImage>,
}

/// A run image and the places where copies of it are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunImage {
    /// Reference of the image.
    pub image: String,
    /// References of the copies.
    pub mirrors: Vec<String>,
}

impl RunImage {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            image: fields.text("image")?,
            mirrors: fields.texts("mirrors")?.unwrap_or_default(),
        })
    }
}

impl RunInfo {
    /// Reads the text of run.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        Ok(Self {
            images: Fields::of(&table, text)
                .list("images", RunImage::read)?
                .unwrap_or_default(),
        })
    }

    /// Reads the text of stack.toml, the older form with one image.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_stack_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let image = Fields::of(&table, text)
            .table("run-image")?
            .map(|fields| RunImage::read(&fields))
            .transpose()?;
        Ok(Self {
            images: image.into_iter().collect(),
        })
    }

    /// Writes the text of run.toml.
    pub fn to_toml(&self) -> String {
        go_toml(&TomlTable::new().tables(
            "images",
            self.images.iter().map(|image| {
                let table = TomlTable::new().text("image", &image.image);
                if image.mirrors.is_empty() {
                    table
                } else {
                    table.texts("mirrors", &image.mirrors)
                }
            }),
        ))
    }
}

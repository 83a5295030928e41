//! group.toml: the modules that detection selected.

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::{Entry, ModuleKind, TomlTable, go_toml};

/// The content of group.toml, the result of detection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectedGroup {
    /// The buildpacks, in build order, each with the API of its descriptor.
    pub buildpacks: Vec<Entry>,
    /// The image extensions, in order.
    pub extensions: Vec<Entry>,
}

impl DetectedGroup {
    /// Reads the text of group.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let extensions = fields.list("group-extensions", Entry::read)?.unwrap_or_default();
        Ok(Self {
            buildpacks: fields.list("group", Entry::read)?.unwrap_or_default(),
            extensions: extensions.into_iter().map(Entry::extension).collect(),
        })
    }

    /// Writes the text of group.toml with the reference's bytes; of a detected group no entry is optional.
    pub fn to_toml(&self) -> String {
        let element = |entry: &Entry| {
            TomlTable::new()
                .text("id", entry.id.as_str())
                .text("version", entry.version.as_str())
                .text_if("api", &entry.api)
                .text_if("homepage", &entry.homepage)
                .flag_if("optional", entry.optional && entry.kind == ModuleKind::Buildpack)
        };
        let mut document = TomlTable::new();
        if !self.buildpacks.is_empty() {
            document = document.tables("group", self.buildpacks.iter().map(element));
        }
        if !self.extensions.is_empty() {
            document = document.tables("group-extensions", self.extensions.iter().map(element));
        }
        go_toml(&document)
    }
}

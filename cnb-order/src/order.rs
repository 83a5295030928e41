//! Orders: the groups of buildpacks that detection tries, first to last.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::{BuildpackId, BuildpackVersion, ModuleKind, TomlTable, go_toml};

/// The content of order.toml: groups of buildpacks, and groups of image extensions tried in front of each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The groups, first tried first.
    pub groups: Vec<Group>,
    /// The groups of `order-extensions`; their entries are optional extensions.
    pub extensions: Vec<Group>,
}

/// Entries of which each must pass detection unless it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The entries, first to last.
    #[serde(
        rename = "group",
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entries: Vec<Entry>,
}

/// One module of a group, by name; also an element of group.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Which module.
    #[serde(default)]
    pub id: BuildpackId,
    /// Its version, empty where the highest or only one is meant.
    #[serde(default, skip_serializing_if = "BuildpackVersion::is_empty")]
    pub version: BuildpackVersion,
    /// Whether the group may pass without it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Buildpack or extension.
    #[serde(skip)]
    pub kind: ModuleKind,
    /// The Buildpack API of the module as its descriptor has it; known after detection.
    #[serde(skip)]
    pub api: String,
    /// The home page of the module; known after detection.
    #[serde(skip)]
    pub homepage: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Lists written by Go may be `null`.
pub(crate) fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl Entry {
    /// Makes a required buildpack entry.
    pub fn new(id: impl Into<BuildpackId>, version: impl Into<BuildpackVersion>) -> Self {
        Self {
            id: id.into(),
            version: version.into(),
            ..Self::default()
        }
    }

    /// Makes the entry optional.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Makes the entry one of an extension, which is always optional.
    #[must_use]
    pub fn extension(mut self) -> Self {
        self.kind = ModuleKind::Extension;
        self.optional = true;
        self
    }

    /// Returns `id@version`, the name of the module in messages.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// Returns the name with the kind in front, `Buildpack id@version`: the key of a detect run.
    pub fn titled_name(&self) -> String {
        format!("{} {}@{}", self.kind.title(), self.id, self.version)
    }

    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: fields.text("id")?.into(),
            version: fields.text("version")?.into(),
            optional: fields.flag("optional")?,
            kind: if fields.flag("extension")? {
                ModuleKind::Extension
            } else {
                ModuleKind::Buildpack
            },
            api: fields.text("api")?,
            homepage: fields.text("homepage")?,
        })
    }
}

impl fmt::Display for Entry {
    /// Writes `id@version`, with `?` behind it if it is optional.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{}{}",
            self.id,
            self.version,
            if self.optional { "?" } else { "" }
        )
    }
}

impl Group {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            entries: fields.list("group", Entry::read)?.unwrap_or_default(),
        })
    }

    pub(crate) fn write(&self) -> TomlTable {
        TomlTable::new().tables(
            "group",
            self.entries.iter().map(|entry| {
                TomlTable::new()
                    .text("id", entry.id.as_str())
                    .text_if("version", entry.version.as_str())
                    .flag_if("optional", entry.optional)
            }),
        )
    }
}

impl Order {
    /// Reads the text of order.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let mut extensions = fields.list("order-extensions", Group::read)?.unwrap_or_default();
        for group in &mut extensions {
            group.entries = std::mem::take(&mut group.entries)
                .into_iter()
                .map(Entry::extension)
                .collect();
        }
        Ok(Self {
            groups: fields.list("order", Group::read)?.unwrap_or_default(),
            extensions,
        })
    }

    /// Writes the text of order.toml as kpack puts it into builder images.
    pub fn to_toml(&self) -> String {
        let document = TomlTable::new().tables("order", self.groups.iter().map(Group::write));
        let document = if self.extensions.is_empty() {
            document
        } else {
            document.tables("order-extensions", self.extensions.iter().map(Group::write))
        };
        go_toml(&document)
    }
}

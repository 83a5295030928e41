//! Build plans: what modules provide and require, and what was agreed.

use toml::Table;

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::{BuildpackId, BuildpackVersion, ModuleKind, TomlTable, go_toml};

/// What `bin/detect` writes: one alternative after the other, the first is the top level of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildPlan {
    /// Dependencies offered.
    pub provides: Vec<Provide>,
    /// Dependencies asked for.
    pub requires: Vec<Require>,
    /// Further alternatives, the content of `[[or]]`; theirs are empty.
    pub or: Vec<BuildPlan>,
}

/// A dependency that a module can provide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provide {
    /// Name of the dependency.
    pub name: String,
}

/// A dependency that a module requires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Require {
    /// Name of the dependency.
    pub name: String,
    /// Version; not produced any more, but kept if a file has it.
    pub version: String,
    /// Free-form data for the provider.
    pub metadata: Option<Table>,
}

impl Require {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: fields.text("name")?,
            version: fields.text("version")?,
            metadata: fields.free("metadata"),
        })
    }

    fn write(&self) -> TomlTable {
        TomlTable::new()
            .text("name", &self.name)
            .text_if("version", &self.version)
            .free("metadata", self.metadata.as_ref())
    }
}

impl BuildPlan {
    /// Reads what `bin/detect` wrote.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let mut plan = Self::read(&fields)?;
        plan.or = fields.list("or", Self::read)?.unwrap_or_default();
        Ok(plan)
    }

    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        let provide = |fields: &Fields<'_>| {
            Ok(Provide {
                name: fields.text("name")?,
            })
        };
        Ok(Self {
            provides: fields.list("provides", provide)?.unwrap_or_default(),
            requires: fields.list("requires", Require::read)?.unwrap_or_default(),
            or: Vec::new(),
        })
    }

    /// Returns the alternatives in the order they are tried, at least one.
    pub fn alternatives(&self) -> impl Iterator<Item = &BuildPlan> {
        std::iter::once(self).chain(&self.or)
    }
}

/// The content of plan.toml: each dependency with who provides it and who asked for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// One entry for each dependency that is required and provided.
    pub entries: Vec<PlanEntry>,
}

/// One dependency of a [`Plan`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanEntry {
    /// The modules that provide it, in group order.
    pub providers: Vec<Provider>,
    /// The requirements, all of the same name, in group order.
    pub requires: Vec<Require>,
}

/// A module that provides a dependency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// Which module.
    pub id: BuildpackId,
    /// Its version.
    pub version: BuildpackVersion,
    /// Buildpack or extension.
    pub kind: ModuleKind,
}

impl Plan {
    /// Reads the text of plan.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let provider = |fields: &Fields<'_>| {
            Ok(Provider {
                id: fields.text("id")?.into(),
                version: fields.text("version")?.into(),
                kind: if fields.flag("extension")? {
                    ModuleKind::Extension
                } else {
                    ModuleKind::Buildpack
                },
            })
        };
        let entry = |fields: &Fields<'_>| {
            Ok(PlanEntry {
                providers: fields.list("providers", provider)?.unwrap_or_default(),
                requires: fields.list("requires", Require::read)?.unwrap_or_default(),
            })
        };
        Ok(Self {
            entries: Fields::of(&table, text).list("entries", entry)?.unwrap_or_default(),
        })
    }

    /// Writes the text of plan.toml with the reference's bytes: nothing at all for a plan without entries.
    pub fn to_toml(&self) -> String {
        if self.entries.is_empty() {
            return String::new();
        }
        let provider = |provider: &Provider| {
            TomlTable::new()
                .text("id", provider.id.as_str())
                .text("version", provider.version.as_str())
                .flag_if("extension", provider.kind == ModuleKind::Extension)
        };
        let entry = |entry: &PlanEntry| {
            let mut table = TomlTable::new();
            if !entry.providers.is_empty() {
                table = table.tables("providers", entry.providers.iter().map(provider));
            }
            if !entry.requires.is_empty() {
                table = table.tables("requires", entry.requires.iter().map(Require::write));
            }
            table
        };
        go_toml(&TomlTable::new().tables("entries", self.entries.iter().map(entry)))
    }

    /// Returns what the module asked for is to provide: all requirements of the entries that list it.
    pub fn for_module(&self, kind: ModuleKind, id: &BuildpackId) -> BuildpackPlan {
        let provided = |entry: &&PlanEntry| {
            entry
                .providers
                .iter()
                .any(|provider| provider.kind == kind && provider.id == *id)
        };
        BuildpackPlan {
            entries: self
                .entries
                .iter()
                .filter(provided)
                .flat_map(|entry| entry.requires.clone())
                .collect(),
        }
    }

    /// Returns the plan without the entries that have a requirement of one of these names.
    #[must_use]
    pub fn without(&self, met: &[String]) -> Self {
        let unmet = |entry: &&PlanEntry| !entry.requires.iter().any(|require| met.contains(&require.name));
        Self {
            entries: self.entries.iter().filter(unmet).cloned().collect(),
        }
    }
}

/// The plan that is handed to one `bin/build` or `bin/generate`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildpackPlan {
    /// What the module is to provide.
    pub entries: Vec<Require>,
}

impl BuildpackPlan {
    /// Writes the text of the file; nothing at all without entries.
    pub fn to_toml(&self) -> String {
        if self.entries.is_empty() {
            return String::new();
        }
        go_toml(&TomlTable::new().tables("entries", self.entries.iter().map(Require::write)))
    }
}

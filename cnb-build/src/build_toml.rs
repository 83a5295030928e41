//! build.toml: what a buildpack did with its plan.

use cnb_order::{BuildpackPlan, DecodeError, Fields, parse_toml};

use crate::{BomEntry, BuildError};

/// The content of build.toml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildToml {
    /// The deprecated bill of materials of the build.
    pub bom: Vec<BomEntry>,
    /// Names of the plan that the buildpack did not provide after all.
    pub unmet: Vec<String>,
}

impl BuildToml {
    /// Reads the text.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        Ok(Self {
            bom: fields.list("bom", BomEntry::read)?.unwrap_or_default(),
            unmet: fields.list("unmet", |fields| fields.text("name"))?.unwrap_or_default(),
        })
    }

    /// Returns the names of the plan that were met.
    ///
    /// # Errors
    /// When an unmet name is empty or not in the plan.
    pub fn met(&self, plan: &BuildpackPlan) -> Result<Vec<String>, BuildError> {
        for name in &self.unmet {
            if name.is_empty() {
                return Err(BuildError::rule("unmet.name is required"));
            }
            if !plan.entries.iter().any(|entry| entry.name == *name) {
                return Err(BuildError::rule(format!(
                    "unmet.name '{name}' must match a requested dependency"
                )));
            }
        }
        let names = plan.entries.iter().map(|entry| &entry.name);
        Ok(names.filter(|name| !self.unmet.contains(name)).cloned().collect())
    }
}

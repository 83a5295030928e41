//! system.toml: buildpacks that a builder puts around every group.

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::{Entry, Group};

/// The content of system.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemBuildpacks {
    /// Put in front of every group.
    pub pre: Vec<Entry>,
    /// Put behind every group.
    pub post: Vec<Entry>,
}

impl SystemBuildpacks {
    /// Reads the text of system.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let Some(system) = Fields::of(&table, text).table("system")? else {
            return Ok(Self::default());
        };
        let entry = |fields: &Fields<'_>| Ok(Entry::new(fields.text("id")?, fields.text("version")?));
        let side = |name: &str| -> Result<Vec<Entry>, DecodeError> {
            match system.table(name)? {
                Some(fields) => Ok(fields.list("buildpacks", entry)?.unwrap_or_default()),
                None => Ok(Vec::new()),
            }
        };
        Ok(Self {
            pre: side("pre")?,
            post: side("post")?,
        })
    }

    /// Returns `group` with the system buildpacks around it, without those whose id it already has, and how many were
    /// put in front and behind.
    pub fn around(&self, group: &Group) -> (Group, usize, usize) {
        let new = |side: &[Entry]| -> Vec<Entry> {
            side.iter()
                .filter(|system| !group.entries.iter().any(|entry| entry.id == system.id))
                .cloned()
                .collect()
        };
        let (pre, post) = (new(&self.pre), new(&self.post));
        let (before, behind) = (pre.len(), post.len());
        (
            Group {
                entries: [pre, group.entries.clone(), post].concat(),
            },
            before,
            behind,
        )
    }
}

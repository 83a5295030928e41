//! The part of metadata.toml that launching needs.

use cnb_order::{ApiVersion, DecodeError, Fields, parse_toml};

use crate::Process;
use crate::metadata::read_process;

/// Processes and buildpacks of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaunchMetadata {
    /// The processes; there may be several of one type for different execution environments.
    pub processes: Vec<Process>,
    /// Id and Buildpack API (as written) of each buildpack, in build order.
    pub buildpacks: Vec<(String, String)>,
}

impl LaunchMetadata {
    /// Reads the text of metadata.toml; everything that launching does not need is ignored.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let buildpack = |fields: &Fields<'_>| Ok((fields.text("id")?, fields.text("api")?));
        Ok(Self {
            processes: fields.list("processes", read_process)?.unwrap_or_default(),
            buildpacks: fields.list("buildpacks", buildpack)?.unwrap_or_default(),
        })
    }

    /// Returns the Buildpack API of a buildpack.
    pub(crate) fn api_of(&self, id: &str) -> Option<ApiVersion> {
        self.buildpacks
            .iter()
            .find(|(have, _)| have == id)
            .and_then(|(_, api)| api.parse().ok())
    }
}

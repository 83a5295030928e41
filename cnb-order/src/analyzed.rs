//! analyzed.toml: what the analyze phase found out.

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::lifecycle_metadata;
use crate::{Distro, TargetData, TomlTable, TomlValue, go_toml};

/// The content of analyzed.toml as far as detect, build and generate use it; the rest is carried along.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analyzed {
    /// The previous image.
    pub image: Option<AnalyzedImage>,
    /// The build image, when it was extended.
    pub build_image: Option<AnalyzedImage>,
    /// The run image.
    pub run_image: Option<AnalyzedRunImage>,
    /// The lifecycle metadata of the previous image, as it is written: what no phase knows is left out.
    pub metadata: Option<TomlTable>,
}

/// An image by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnalyzedImage {
    /// Reference, usually with a digest.
    pub reference: String,
}

/// The run image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnalyzedRunImage {
    /// Reference with a digest.
    pub reference: String,
    /// The name that the platform or an extension gave it.
    pub image: String,
    /// Whether extensions will extend it.
    pub extend: bool,
    /// What it is.
    pub target: Option<TargetData>,
}

impl TargetData {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        let distro = match fields.table("distro")? {
            Some(distro) => Some(Distro {
                name: distro.text("name")?,
                version: distro.text("version")?,
            }),
            None => None,
        };
        Ok(Self {
            id: fields.text("id")?,
            os: fields.text("os")?,
            arch: fields.text("arch")?,
            arch_variant: fields.text("arch-variant")?,
            distro,
        })
    }

    pub(crate) fn write(&self) -> TomlTable {
        let table = TomlTable::new()
            .text_if("id", &self.id)
            .text("os", &self.os)
            .text("arch", &self.arch)
            .text_if("arch-variant", &self.arch_variant);
        match &self.distro {
            Some(distro) => table.with(
                "distro",
                TomlValue::Table(
                    TomlTable::new()
                        .text("name", &distro.name)
                        .text("version", &distro.version),
                ),
            ),
            None => table,
        }
    }
}

impl Analyzed {
    /// Reads the text of analyzed.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let image = |key: &str| -> Result<Option<AnalyzedImage>, DecodeError> {
            match fields.table(key)? {
                Some(image) => Ok(Some(AnalyzedImage {
                    reference: image.text("reference")?,
                })),
                None => Ok(None),
            }
        };
        let run_image = match fields.table("run-image")? {
            Some(run) => Some(AnalyzedRunImage {
                reference: run.text("reference")?,
                image: run.text("image")?,
                extend: run.flag("extend")?,
                target: run
                    .table("target")?
                    .map(|target| TargetData::read(&target))
                    .transpose()?,
            }),
            None => None,
        };
        let metadata = fields.table("metadata")?;
        Ok(Self {
            image: image("image")?,
            build_image: image("build-image")?,
            run_image,
            metadata: metadata.as_ref().map(lifecycle_metadata::read).transpose()?,
        })
    }

    /// Returns what the run image is, or nothing known.
    pub fn target(&self) -> TargetData {
        self.run_image
            .as_ref()
            .and_then(|run| run.target.clone())
            .unwrap_or_default()
    }

    /// Writes the text of analyzed.toml.
    pub fn to_toml(&self) -> String {
        let image = |image: &AnalyzedImage| TomlValue::Table(TomlTable::new().text("reference", &image.reference));
        let mut document = TomlTable::new();
        if let Some(previous) = &self.image {
            document = document.with("image", image(previous));
        }
        if let Some(build) = &self.build_image {
            document = document.with("build-image", image(build));
        }
        document = document.with(
            "metadata",
            TomlValue::Table(self.metadata.clone().unwrap_or_else(lifecycle_metadata::none)),
        );
        if let Some(run) = &self.run_image {
            let mut table = TomlTable::new()
                .text("reference", &run.reference)
                .text_if("image", &run.image)
                .flag_if("extend", run.extend);
            if let Some(target) = &run.target {
                table = table.with("target", TomlValue::Table(target.write()));
            }
            document = document.with("run-image", TomlValue::Table(table));
        }
        go_toml(&document)
    }
}

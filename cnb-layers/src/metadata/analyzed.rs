//! analyzed.toml: what the analyzer found out, for all phases that follow.

use cnb_order::{Fields, TomlTable, TomlValue, go_toml, parse_toml};
use serde::Serialize;

use super::decode::{DecodeError, EncodeError};
use super::label::{LifecycleMetadata, TOML};

/// The content of analyzed.toml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analyzed {
    /// The previous image by digest; empty when there is none. `None`: the file does not say.
    pub previous_image: Option<String>,
    /// The image that the build runs in, by digest.
    pub build_image: Option<String>,
    /// The metadata of the previous image.
    pub metadata: LifecycleMetadata,
    /// The run image.
    pub run_image: Option<AnalyzedRunImage>,
}

/// The run image of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnalyzedRunImage {
    /// The image by digest.
    pub reference: String,
    /// The name that the platform gave.
    pub image: String,
    /// Whether extensions add to it.
    pub extend: bool,
    /// The machine that it is for.
    pub target: Option<TargetMetadata>,
}

/// The machine that an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetMetadata {
    /// The id of the base image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The operating system.
    pub os: String,
    /// The processor.
    pub arch: String,
    /// The variant of the processor.
    #[serde(rename = "arch-variant", skip_serializing_if = "String::is_empty")]
    pub arch_variant: String,
    /// The distribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distro: Option<Distro>,
}

/// A distribution of an operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Distro {
    /// Its name, such as `ubuntu`.
    pub name: String,
    /// Its version, such as `22.04`.
    pub version: String,
}

impl Analyzed {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let reference = |key| fields.table(key)?.map(|table| table.text("reference")).transpose();
        Ok(Self {
            previous_image: reference("image")?,
            build_image: reference("build-image")?,
            metadata: match fields.table("metadata")? {
                None => LifecycleMetadata::default(),
                Some(table) => LifecycleMetadata::read(&table, TOML)?,
            },
            run_image: fields
                .table("run-image")?
                .map(|table| AnalyzedRunImage::read(&table))
                .transpose()?,
        })
    }

    /// Returns the text of the file.
    ///
    /// # Errors
    /// When the label of the previous image holds what TOML has no place for: a `null` in a list.
    pub fn to_toml(&self) -> Result<String, EncodeError> {
        let reference = |text: &str| TomlValue::Table(TomlTable::new().text("reference", text));
        let mut document = TomlTable::new();
        if let Some(image) = &self.previous_image {
            document = document.with("image", reference(image));
        }
        if let Some(image) = &self.build_image {
            document = document.with("build-image", reference(image));
        }
        document = document.with("metadata", TomlValue::Table(self.metadata.to_toml()?));
        if let Some(run_image) = &self.run_image {
            document = document.with("run-image", TomlValue::Table(run_image.to_toml()));
        }
        Ok(go_toml(&document))
    }
}

impl AnalyzedRunImage {
    fn read(fields: &Fields<'_>) -> Result<Self, cnb_order::DecodeError> {
        Ok(Self {
            reference: fields.text("reference")?,
            image: fields.text("image")?,
            extend: fields.flag("extend")?,
            target: fields
                .table("target")?
                .map(|table| TargetMetadata::read(&table))
                .transpose()?,
        })
    }

    fn to_toml(&self) -> TomlTable {
        let table = TomlTable::new()
            .text("reference", &self.reference)
            .text_if("image", &self.image)
            .flag_if("extend", self.extend);
        match &self.target {
            Some(target) => table.with("target", TomlValue::Table(target.to_toml())),
            None => table,
        }
    }
}

impl TargetMetadata {
    fn read(fields: &Fields<'_>) -> Result<Self, cnb_order::DecodeError> {
        Ok(Self {
            id: fields.text("id")?,
            os: fields.text("os")?,
            arch: fields.text("arch")?,
            arch_variant: fields.text("arch-variant")?,
            distro: match fields.table("distro")? {
                None => None,
                Some(table) => Some(Distro {
                    name: table.text("name")?,
                    version: table.text("version")?,
                }),
            },
        })
    }

    fn to_toml(&self) -> TomlTable {
        let table = TomlTable::new()
            .text_if("id", &self.id)
            .text("os", &self.os)
            .text("arch", &self.arch)
            .text_if("arch-variant", &self.arch_variant);
        let Some(distro) = &self.distro else { return table };
        let distro = TomlTable::new()
            .text("name", &distro.name)
            .text("version", &distro.version);
        table.with("distro", TomlValue::Table(distro))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_first_build_says_that_there_is_no_previous_image() {
        let analyzed = Analyzed {
            previous_image: Some(String::new()),
            run_image: Some(AnalyzedRunImage {
                reference: "r/run@sha256:3c".into(),
                image: "r/run:1".into(),
                extend: false,
                target: Some(TargetMetadata {
                    os: "linux".into(),
                    arch: "amd64".into(),
                    distro: Some(Distro {
                        name: "ubuntu".into(),
                        version: "22.04".into(),
                    }),
                    ..TargetMetadata::default()
                }),
            }),
            ..Analyzed::default()
        };
        let text = "[image]\n  reference = \"\"\n\n[metadata]\n  [metadata.config]\n    sha = \"\"\n  [metadata.launcher]\n    sha = \"\"\n  \
            [metadata.process-types]\n    sha = \"\"\n  [metadata.run-image]\n    top-layer = \"\"\n    reference = \"\"\n\n[run-image]\n  \
            reference = \"r/run@sha256:3c\"\n  image = \"r/run:1\"\n  [run-image.target]\n    os = \"linux\"\n    arch = \"amd64\"\n    \
            [run-image.target.distro]\n      name = \"ubuntu\"\n      version = \"22.04\"\n";
        assert_eq!(analyzed.to_toml().as_deref(), Ok(text));
        assert_eq!(Analyzed::from_toml(text).expect("it is what we wrote"), analyzed);
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(Analyzed::from_toml("").expect("it is TOML"), Analyzed::default());
    }
}

//! analyzed.toml: what the analyzer found out, for all phases that follow.

use serde::Serialize;

use super::decode::{self, DecodeError, Fields};
use super::label::{LifecycleMetadata, TOML};
use super::toml_text::{self, Toml};

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
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let value = decode::toml(text)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(Self::default());
        };
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
    pub fn to_toml(&self) -> String {
        let reference = |text: &str| Toml::Table(vec![("reference".into(), Toml::Text(text.into()))]);
        let mut pairs = Vec::new();
        if let Some(image) = &self.previous_image {
            pairs.push(("image".into(), reference(image)));
        }
        if let Some(image) = &self.build_image {
            pairs.push(("build-image".into(), reference(image)));
        }
        pairs.push(("metadata".into(), self.metadata.to_toml()));
        if let Some(run_image) = &self.run_image {
            pairs.push(("run-image".into(), run_image.to_toml()));
        }
        toml_text::document(&pairs)
    }
}

impl AnalyzedRunImage {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            reference: fields.text("reference")?,
            image: fields.text("image")?,
            extend: fields.boolean("extend")?,
            target: fields
                .table("target")?
                .map(|table| TargetMetadata::read(&table))
                .transpose()?,
        })
    }

    fn to_toml(&self) -> Toml {
        let mut pairs = vec![("reference".into(), Toml::Text(self.reference.clone()))];
        if !self.image.is_empty() {
            pairs.push(("image".into(), Toml::Text(self.image.clone())));
        }
        if self.extend {
            pairs.push(("extend".into(), Toml::Bool(true)));
        }
        if let Some(target) = &self.target {
            pairs.push(("target".into(), target.to_toml()));
        }
        Toml::Table(pairs)
    }
}

impl TargetMetadata {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
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

    fn to_toml(&self) -> Toml {
        let text = |text: &str| Toml::Text(text.to_owned());
        let mut pairs = Vec::new();
        if !self.id.is_empty() {
            pairs.push(("id".into(), text(&self.id)));
        }
        pairs.push(("os".into(), text(&self.os)));
        pairs.push(("arch".into(), text(&self.arch)));
        if !self.arch_variant.is_empty() {
            pairs.push(("arch-variant".into(), text(&self.arch_variant)));
        }
        if let Some(distro) = &self.distro {
            let distro = vec![
                ("name".into(), text(&distro.name)),
                ("version".into(), text(&distro.version)),
            ];
            pairs.push(("distro".into(), Toml::Table(distro)));
        }
        Toml::Table(pairs)
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
        assert_eq!(analyzed.to_toml(), text);
        assert_eq!(Analyzed::from_toml(text).expect("it is what we wrote"), analyzed);
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(Analyzed::from_toml("").expect("it is TOML"), Analyzed::default());
    }
}

//! analyzed.toml: what the analyze phase found out.

use toml::{Table, Value};

use crate::decode::{DecodeError, Fields, parse_toml};
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
    /// The lifecycle metadata of the previous image, as in the file.
    pub metadata: Option<Table>,
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
        fields.table("metadata")?;
        Ok(Self {
            image: image("image")?,
            build_image: image("build-image")?,
            run_image,
            metadata: fields.value("metadata").and_then(Value::as_table).cloned(),
        })
    }

    /// Returns what the run image is, or nothing known.
    pub fn target(&self) -> TargetData {
        self.run_image
            .as_ref()
            .and_then(|run| run.target.clone())
            .unwrap_or_default()
    }

    /// Returns the lifecycle metadata with the parts that are always written.
    fn full_metadata(&self) -> Table {
        let mut metadata = self.metadata.clone().unwrap_or_default();
        for (part, keys) in [
            ("config", ["sha"].as_slice()),
            ("launcher", &["sha"]),
            ("process-types", &["sha"]),
            ("run-image", &["top-layer", "reference"]),
        ] {
            let part = metadata.entry(part).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(part) = part {
                for key in keys {
                    part.entry(*key).or_insert_with(|| Value::String(String::new()));
                }
            }
        }
        metadata
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
        document = document.with("metadata", ordered(&Value::Table(self.full_metadata())));
        if let Some(run) = &self.run_image {
            let mut table = TomlTable::new()
                .text("reference", &run.reference)
                .text_if("image", &run.image);
            if run.extend {
                table = table.flag("extend", true);
            }
            if let Some(target) = &run.target {
                table = table.with("target", TomlValue::Table(target.write()));
            }
            document = document.with("run-image", TomlValue::Table(table));
        }
        go_toml(&document)
    }
}

/// The keys of the lifecycle metadata in the order in which they are written; all others follow in byte order.
const ORDER: [&str; 12] = [
    "key",
    "version",
    "sha",
    "metadata",
    "build",
    "launch",
    "cache",
    "top-layer",
    "reference",
    "image",
    "app",
    "sbom",
];

/// Puts the keys of all tables in the reference's order; free-form data and the names of layers stay in byte order.
fn ordered(value: &Value) -> TomlValue {
    match value {
        Value::Table(table) => {
            let rank = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
            let mut fields: Vec<_> = table.iter().collect();
            fields.sort_by_key(|(key, _)| (rank(key), key.as_str()));
            let add = |table: TomlTable, (key, value): (&String, &Value)| {
                let value = match (key.as_str(), value) {
                    ("metadata", value) => TomlValue::from(value),
                    ("layers", Value::Table(layers)) => TomlValue::Table(layers_of(layers)),
                    (_, value) => ordered(value),
                };
                table.with(key, value)
            };
            TomlValue::Table(fields.into_iter().fold(TomlTable::new(), add))
        }
        Value::Array(list) => TomlValue::List(list.iter().map(ordered).collect()),
        value => TomlValue::from(value),
    }
}

/// The layers of one buildpack, each with all of its flags.
fn layers_of(layers: &Table) -> TomlTable {
    layers.iter().fold(TomlTable::new(), |all, (name, layer)| {
        let mut layer = layer.clone();
        if let Value::Table(layer) = &mut layer {
            for flag in ["build", "launch", "cache"] {
                layer.entry(flag).or_insert(Value::Boolean(false));
            }
        }
        all.with(name, ordered(&layer))
    })
}

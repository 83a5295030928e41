//! launch.toml: what a buildpack says about the image.

use cnb_order::{ApiVersion, DecodeError, Fields, TomlTable, parse_toml};
use toml::Value;

use crate::{BomEntry, BuildError, Process};

/// The content of launch.toml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaunchToml {
    /// The deprecated bill of materials.
    pub bom: Vec<BomEntry>,
    /// Labels for the image.
    pub labels: Vec<Label>,
    /// Processes.
    pub processes: Vec<Process>,
    /// Parts of the application that get layers of their own.
    pub slices: Vec<Slice>,
}

/// A label for the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Label {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: fields.text("key")?,
            value: fields.text("value")?,
        })
    }

    pub(crate) fn write(&self) -> TomlTable {
        TomlTable::new().text("key", &self.key).text("value", &self.value)
    }
}

/// Files of the application that get a layer of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Patterns as Go's `filepath.Glob` reads them; `None` when the file has no such key.
    pub paths: Option<Vec<String>>,
}

impl Slice {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            paths: fields.texts("paths")?,
        })
    }

    pub(crate) fn write(&self) -> TomlTable {
        match &self.paths {
            Some(paths) => TomlTable::new().texts("paths", paths),
            None => TomlTable::new(),
        }
    }
}

impl LaunchToml {
    /// Reads the text as Buildpack API `api` has it; `buildpack_id` is noted in the processes.
    ///
    /// # Errors
    /// When it is not TOML, a value has the wrong type for this API, or a process says `direct` where that is no longer
    /// allowed.
    pub fn from_toml(text: &str, api: ApiVersion, buildpack_id: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let process = |fields: &Fields<'_>| read_process(fields, api, buildpack_id);
        Ok(Self {
            bom: fields.list("bom", BomEntry::read)?.unwrap_or_default(),
            labels: fields.list("labels", Label::read)?.unwrap_or_default(),
            slices: fields.list("slices", Slice::read)?.unwrap_or_default(),
            processes: fields.list("processes", process)?.unwrap_or_default(),
        })
    }

    /// Checks that at most one process is the default.
    ///
    /// # Errors
    /// When there are more.
    pub fn check(&self) -> Result<(), BuildError> {
        let mut default = "";
        for process in self.processes.iter().filter(|process| process.default) {
            // A type without a name does not count.
            if !default.is_empty() {
                return Err(BuildError::rule("multiple default process types aren't allowed"));
            }
            default = &process.kind;
        }
        Ok(())
    }
}

fn read_process(fields: &Fields<'_>, api: ApiVersion, buildpack_id: &str) -> Result<Process, DecodeError> {
    let modern = api.at_least(9);
    if modern && fields.value("direct").is_some() {
        return Err(DecodeError::Invalid {
            message: "process.direct is not supported on this buildpack version".to_owned(),
        });
    }
    let command = if modern {
        fields.texts("command")?.unwrap_or_default()
    } else {
        match fields.value("command") {
            None => {
                return Err(DecodeError::Invalid {
                    message: "toml: incompatible types: TOML value has type <nil>; destination has type string"
                        .to_owned(),
                });
            }
            Some(Value::String(command)) => vec![command.clone()],
            Some(_) => vec![fields.text("command")?],
        }
    };
    Ok(Process {
        kind: fields.text("type")?,
        command,
        args: fields.texts("args")?,
        direct: modern || fields.flag("direct")?,
        default: fields.flag("default")?,
        buildpack_id: buildpack_id.to_owned(),
        working_dir: fields.text("working-dir")?,
        exec_env: fields.texts("exec-env")?.unwrap_or_default(),
    })
}

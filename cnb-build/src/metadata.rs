//! metadata.toml: the result of the build phase.

use cnb_order::{ApiVersion, DecodeError, Entry, Fields, ModuleKind, TomlTable, go_toml, parse_toml};
use serde_json::{Map, Value, json};

use crate::{BomEntry, Label, Process, Slice};

/// The content of `<layers>/config/metadata.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildMetadata {
    /// The deprecated bill of materials; empty from Platform API 0.9 on.
    pub bom: Vec<BomEntry>,
    /// The buildpacks, in build order.
    pub buildpacks: Vec<Entry>,
    /// The extensions.
    pub extensions: Vec<Entry>,
    /// Labels for the image; of a key given twice the last counts.
    pub labels: Vec<Label>,
    /// The processes, sorted by type; `None` when the file does not have the key.
    pub processes: Option<Vec<Process>>,
    /// Parts of the application that get layers of their own.
    pub slices: Vec<Slice>,
    /// The type of the process to start when none is asked for; empty if there is none.
    pub default_process_type: String,
}

/// The launcher, as the label `io.buildpacks.build.metadata` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LauncherInfo {
    /// Version.
    pub version: String,
    /// Repository of its source.
    pub repository: String,
    /// Commit of its source.
    pub commit: String,
}

impl BuildMetadata {
    /// Reads the text; a command may be a text or a list.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let module = |kind: ModuleKind| {
            move |fields: &Fields<'_>| {
                Ok(Entry {
                    id: fields.text("id")?.into(),
                    version: fields.text("version")?.into(),
                    api: fields.text("api")?,
                    homepage: fields.text("homepage")?,
                    kind,
                    ..Entry::default()
                })
            }
        };
        Ok(Self {
            bom: fields.list("bom", BomEntry::read)?.unwrap_or_default(),
            buildpacks: fields
                .list("buildpacks", module(ModuleKind::Buildpack))?
                .unwrap_or_default(),
            extensions: fields
                .list("extensions", module(ModuleKind::Extension))?
                .unwrap_or_default(),
            labels: fields.list("labels", Label::read)?.unwrap_or_default(),
            processes: fields.list("processes", read_process)?,
            slices: fields.list("slices", Slice::read)?.unwrap_or_default(),
            default_process_type: fields.text("buildpack-default-process-type")?,
        })
    }

    /// Writes the text with the reference's bytes, in the form that the Platform API has.
    pub fn to_toml(&self, platform_api: ApiVersion) -> String {
        let module = |entry: &Entry| {
            TomlTable::new()
                .text("id", entry.id.as_str())
                .text("version", entry.version.as_str())
                .text_if("api", &entry.api)
                .text_if("homepage", &entry.homepage)
        };
        // Of the extensions no flags are written.
        let buildpack = |entry: &Entry| {
            let is_extension = entry.kind == ModuleKind::Extension;
            module(entry)
                .flag_if("extension", is_extension)
                .flag_if("optional", entry.optional)
        };
        let some = |table: TomlTable, key: &str, tables: Vec<TomlTable>| {
            if tables.is_empty() {
                table
            } else {
                table.tables(key, tables)
            }
        };
        let mut table = TomlTable::new().text_if("buildpack-default-process-type", &self.default_process_type);
        table = some(table, "bom", self.bom.iter().map(BomEntry::write).collect());
        table = some(table, "buildpacks", self.buildpacks.iter().map(buildpack).collect());
        table = some(table, "extensions", self.extensions.iter().map(module).collect());
        table = some(table, "labels", self.labels.iter().map(Label::write).collect());
        if let Some(processes) = &self.processes {
            table = table.tables(
                "processes",
                processes.iter().map(|process| process.write(platform_api.at_least(10))),
            );
        }
        table = some(table, "slices", self.slices.iter().map(Slice::write).collect());
        go_toml(&table)
    }

    /// Returns the JSON of the label `io.buildpacks.build.metadata`, before [`cnb_order::go_json`]; keys of maps are in byte
    /// order there, those of this object in the reference's: bom, buildpacks, launcher, processes.
    pub fn to_label(&self, platform_api: ApiVersion, launcher: &LauncherInfo) -> String {
        let module = |entry: &Entry| {
            let mut fields = vec![("id", json!(entry.id)), ("version", json!(entry.version))];
            for (key, text) in [("api", &entry.api), ("homepage", &entry.homepage)] {
                if !text.is_empty() {
                    fields.push((key, json!(text)));
                }
            }
            object(&fields)
        };
        let modules = |entries: &[Entry]| format!("[{}]", entries.iter().map(module).collect::<Vec<_>>().join(","));
        let mut parts = Vec::new();
        if !platform_api.at_least(9) {
            parts.push(format!("\"bom\":{}", BomEntry::list_to_json(&self.bom)));
        }
        parts.push(format!("\"buildpacks\":{}", modules(&self.buildpacks)));
        if !self.extensions.is_empty() {
            parts.push(format!("\"extensions\":{}", modules(&self.extensions)));
        }
        let source = format!(
            "{{\"git\":{}}}",
            object(&[
                ("repository", json!(launcher.repository)),
                ("commit", json!(launcher.commit))
            ])
        );
        parts.push(format!(
            "\"launcher\":{{\"version\":{},\"source\":{source}}}",
            cnb_order::go_json(&json!(launcher.version))
        ));
        let processes = match &self.processes {
            None => "null".to_owned(),
            Some(processes) => {
                let list: Vec<_> = processes
                    .iter()
                    .map(|process| process_json(process, platform_api))
                    .collect();
                format!("[{}]", list.join(","))
            }
        };
        parts.push(format!("\"processes\":{processes}"));
        if !self.default_process_type.is_empty() {
            parts.push(format!(
                "\"buildpack-default-process-type\":{}",
                cnb_order::go_json(&json!(self.default_process_type))
            ));
        }
        format!("{{{}}}", parts.join(","))
    }
}

fn object(fields: &[(&str, Value)]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!("\"{key}\":{}", cnb_order::go_json(value)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn process_json(process: &Process, platform_api: ApiVersion) -> String {
    let value = process.to_json(platform_api.at_least(10));
    let none = Map::new();
    let map = value.as_object().unwrap_or(&none);
    let order = [
        "type",
        "command",
        "args",
        "direct",
        "buildpackID",
        "working-dir",
        "exec-env",
    ];
    let fields: Vec<_> = order
        .iter()
        .filter_map(|key| map.get(*key).map(|value| (*key, value.clone())))
        .collect();
    object(&fields)
}

pub(crate) fn read_process(fields: &Fields<'_>) -> Result<Process, DecodeError> {
    Ok(Process {
        kind: fields.text("type")?,
        command: fields.words("command")?.unwrap_or_default(),
        args: fields.texts("args")?,
        direct: fields.flag("direct")?,
        default: fields.flag("default")?,
        buildpack_id: fields.text("buildpack-id")?,
        working_dir: fields.text("working-dir")?,
        exec_env: fields.texts("exec-env")?.unwrap_or_default(),
    })
}

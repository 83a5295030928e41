//! The label `io.buildpacks.build.metadata`, made from the builder's metadata.toml.

use cnb_order::toml::Table;
use cnb_order::{Fields, parse_toml};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::Data;
use super::decode::{DecodeError, EncodeError};
use crate::phase::PlatformApi;

/// What the builder wrote into `<layers>/config/metadata.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildMetadata {
    bom: Option<Vec<BomEntry>>,
    buildpacks: Option<Vec<Module>>,
    extensions: Option<Vec<Module>>,
    processes: Option<Vec<Process>>,
    /// Labels that buildpacks want on the image, in the order in which they are set.
    pub labels: Vec<(String, String)>,
    /// The patterns of each slice of the application directory.
    pub slices: Vec<Vec<String>>,
    /// The process type that starts by default; empty when buildpacks named none.
    pub default_process_type: String,
}

/// The version of the launcher that goes into an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LauncherVersion {
    /// The version.
    pub version: String,
    /// The repository it was built from.
    pub repository: String,
    /// The commit it was built from.
    pub commit: String,
}

/// A buildpack or extension that took part in the build.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Module {
    pub(crate) id: String,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) homepage: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) optional: bool,
}

/// An entry of the old bill of materials.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct BomEntry {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(serialize_with = "free")]
    pub(crate) metadata: Option<Table>,
    pub(crate) buildpack: Module,
}

/// A process that the image can start.
#[derive(Clone, Debug, Default, PartialEq)]
struct Process {
    kind: String,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    direct: bool,
    default: bool,
    buildpack_id: String,
    working_dir: String,
    exec_env: Vec<String>,
}

impl BuildMetadata {
    /// Reads the text of metadata.toml.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        Ok(Self {
            bom: fields.list("bom", BomEntry::read)?,
            buildpacks: fields.list("buildpacks", Module::read)?,
            extensions: fields.list("extensions", Module::read)?.filter(|all| !all.is_empty()),
            processes: fields.list("processes", Process::read)?,
            labels: fields
                .list("labels", |label| Ok((label.text("key")?, label.text("value")?)))?
                .unwrap_or_default(),
            slices: fields
                .list("slices", |slice| Ok(slice.texts("paths")?.unwrap_or_default()))?
                .unwrap_or_default(),
            default_process_type: fields.text("buildpack-default-process-type")?,
        })
    }

    /// Returns the types of the processes, in the order of the file.
    pub fn process_types(&self) -> Vec<String> {
        self.processes
            .iter()
            .flatten()
            .map(|process| process.kind.clone())
            .collect()
    }

    /// Returns whether extensions took part in the build.
    pub fn has_extensions(&self) -> bool {
        self.extensions.is_some()
    }

    /// Returns the text of the label at a platform API.
    ///
    /// # Errors
    /// When the old bill of materials holds what JSON has no place for, such as an infinite number.
    pub fn to_label(&self, launcher: &LauncherVersion, api: PlatformApi) -> Result<String, EncodeError> {
        super::try_json(&Label {
            metadata: self,
            launcher,
            api,
        })
    }
}

impl Module {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, cnb_order::DecodeError> {
        // Not in the label, but a wrong type is a mistake of the file.
        fields.text("api")?;
        fields.flag("extension")?;
        Ok(Self {
            id: fields.text("id")?,
            version: fields.text("version")?,
            homepage: fields.text("homepage")?,
            optional: fields.flag("optional")?,
        })
    }
}

impl BomEntry {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, cnb_order::DecodeError> {
        Ok(Self {
            name: fields.text("name")?,
            version: fields.text("version")?,
            metadata: fields.free("metadata"),
            buildpack: fields
                .table("buildpack")?
                .map_or(Ok(Module::default()), |table| Module::read(&table))?,
        })
    }
}

impl Process {
    fn read(fields: &Fields<'_>) -> Result<Self, cnb_order::DecodeError> {
        Ok(Self {
            kind: fields.text("type")?,
            command: fields.words("command")?,
            args: fields.texts("args")?,
            direct: fields.flag("direct")?,
            default: fields.flag("default")?,
            buildpack_id: fields.text("buildpack-id")?,
            working_dir: fields.text("working-dir")?,
            exec_env: fields.texts("exec-env")?.unwrap_or_default(),
        })
    }
}

// The signature of this function is what serde asks for.
#[allow(clippy::ref_option)]
fn free<S: Serializer>(table: &Option<Table>, serializer: S) -> Result<S::Ok, S::Error> {
    table.as_ref().map(Data::from).serialize(serializer)
}

/// The label: which keys there are and which form a command has depends on the platform API.
struct Label<'a> {
    metadata: &'a BuildMetadata,
    launcher: &'a LauncherVersion,
    api: PlatformApi,
}

impl Serialize for Label<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metadata = self.metadata;
        let mut map = serializer.serialize_map(None)?;
        if !self.api.at_least(9) {
            map.serialize_entry("bom", &metadata.bom)?;
        }
        map.serialize_entry("buildpacks", &metadata.buildpacks)?;
        if let Some(extensions) = &metadata.extensions {
            map.serialize_entry("extensions", extensions)?;
        }
        map.serialize_entry("launcher", self.launcher)?;
        let processes = metadata.processes.as_ref();
        let processes: Option<Vec<_>> = processes.map(|all| {
            all.iter()
                .map(|process| ProcessLabel { process, api: self.api })
                .collect()
        });
        map.serialize_entry("processes", &processes)?;
        if !metadata.default_process_type.is_empty() {
            map.serialize_entry("buildpack-default-process-type", &metadata.default_process_type)?;
        }
        map.end()
    }
}

impl Serialize for LauncherVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Source<'a> {
            git: Git<'a>,
        }
        #[derive(Serialize)]
        struct Git<'a> {
            repository: &'a str,
            commit: &'a str,
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("version", &self.version)?;
        let git = Git {
            repository: &self.repository,
            commit: &self.commit,
        };
        map.serialize_entry("source", &Source { git })?;
        map.end()
    }
}

struct ProcessLabel<'a> {
    process: &'a Process,
    api: PlatformApi,
}

impl Serialize for ProcessLabel<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let process = self.process;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &process.kind)?;
        if self.api.at_least(10) {
            map.serialize_entry("command", &process.command)?;
            map.serialize_entry("args", &process.args)?;
        } else {
            let mut words = process.command.iter().flatten();
            map.serialize_entry("command", words.next().map_or("", String::as_str))?;
            let args: Vec<_> = words.chain(process.args.iter().flatten()).collect();
            map.serialize_entry("args", &args)?;
        }
        map.serialize_entry("direct", &process.direct)?;
        if process.default {
            map.serialize_entry("default", &true)?;
        }
        map.serialize_entry("buildpackID", &process.buildpack_id)?;
        if !process.working_dir.is_empty() {
            map.serialize_entry("working-dir", &process.working_dir)?;
        }
        if !process.exec_env.is_empty() {
            map.serialize_entry("exec-env", &process.exec_env)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "buildpack-default-process-type = \"web\"\n[[buildpacks]]\nid = \"acme/web\"\nversion = \"1\"\n\
        [[processes]]\ntype = \"web\"\ncommand = [\"node\", \"a<b\"]\nargs = [\"x\"]\ndirect = true\nbuildpack-id = \"acme/web\"\n\
        [[labels]]\nkey = \"k\"\nvalue = \"v\"\n[[slices]]\npaths = [\"a/*\", \"b\"]\n";

    fn label(text: &str, minor: u64) -> String {
        let metadata = BuildMetadata::from_toml(text).expect("it is well formed");
        let launcher = LauncherVersion {
            version: "1".into(),
            ..LauncherVersion::default()
        };
        let label = metadata.to_label(&launcher, PlatformApi::new(minor).expect("it is known"));
        label.expect("all of it has a place in JSON")
    }

    // row 11.8/P30
    #[test]
    fn commands_are_lists_from_api_0_10_on_and_text_before() {
        let launcher = "\"launcher\":{\"version\":\"1\",\"source\":{\"git\":{\"repository\":\"\",\"commit\":\"\"}}}";
        assert_eq!(
            label(METADATA, 10),
            format!(
                "{{\"buildpacks\":[{{\"id\":\"acme/web\",\"version\":\"1\"}}],{launcher},\"processes\":[{{\"type\":\"web\",\
                 \"command\":[\"node\",\"a\\u003cb\"],\"args\":[\"x\"],\"direct\":true,\"buildpackID\":\"acme/web\"}}],\
                 \"buildpack-default-process-type\":\"web\"}}"
            )
        );
        assert!(label(METADATA, 9).contains("\"command\":\"node\",\"args\":[\"a\\u003cb\",\"x\"]"));
        assert_eq!(
            label("", 8),
            format!("{{\"bom\":null,\"buildpacks\":null,{launcher},\"processes\":null}}")
        );
        assert_eq!(
            label("processes = []\nbom = []", 8),
            format!("{{\"bom\":[],\"buildpacks\":null,{launcher},\"processes\":[]}}")
        );
    }

    // vectors/toml/decode: metadata `command-absent`
    #[test]
    fn a_command_that_is_missing_is_null_and_an_empty_one_is_empty() {
        let command = |text: &str| label(&format!("[[processes]]\ntype = \"t\"\n{text}"), 10);
        assert!(
            command("").contains("\"command\":null,\"args\":null"),
            "{}",
            command("")
        );
        assert!(
            command("command = []").contains("\"command\":[],"),
            "{}",
            command("command = []")
        );
    }

    #[test]
    fn what_an_old_bill_of_materials_says_is_a_table_or_null() {
        for (metadata, written) in [
            ("{k = 1}", "{\"k\":1}"),
            ("{}", "{}"),
            ("\"x\"", "null"),
            ("[1]", "null"),
        ] {
            let label = label(&format!("[[bom]]\nname = \"n\"\nmetadata = {metadata}\n"), 8);
            let expected = format!("{{\"bom\":[{{\"name\":\"n\",\"metadata\":{written},\"buildpack\":");
            assert!(label.starts_with(&expected), "{label}");
        }
    }

    #[test]
    fn a_wrong_type_is_an_error_also_where_the_label_does_not_hold_the_value() {
        for (text, key, found, wanted) in [
            ("[[buildpacks]]\napi = 1\n", "buildpacks.api", "int64", "string"),
            (
                "[[extensions]]\nextension = \"x\"\n",
                "extensions.extension",
                "string",
                "boolean",
            ),
            ("[[processes]]\nargs = \"x\"\n", "processes.args", "string", "slice"),
        ] {
            let problem = format!("TOML value has type {found}; destination has type {wanted}");
            assert_eq!(
                BuildMetadata::from_toml(text).unwrap_err().to_string(),
                format!("toml: line 2 (last key \"{key}\"): incompatible types: {problem}")
            );
        }
    }

    #[test]
    fn labels_and_slices_are_for_the_exporter_only() {
        let metadata = BuildMetadata::from_toml(METADATA).expect("it is well formed");
        assert_eq!(metadata.labels, [("k".to_owned(), "v".to_owned())]);
        assert_eq!(metadata.slices, [["a/*", "b"]]);
        assert_eq!(metadata.process_types(), ["web"]);
    }
}

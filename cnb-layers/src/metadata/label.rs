//! The label `io.buildpacks.lifecycle.metadata` and the metadata of caches.

use std::collections::BTreeMap;

use cnb_order::{TomlTable, TomlValue};
use serde::Serialize;
use serde::ser::SerializeMap as _;
use serde_json::Value;

use super::Data;
use super::decode::{self, DecodeError, EncodeError, Object, Source};

/// What the lifecycle knows about the layers of an image it has made.
///
/// Kept in the label `io.buildpacks.lifecycle.metadata` and, between phases, in analyzed.toml. The diff
/// ids are text because documents written by others may hold anything there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LifecycleMetadata {
    /// The diff ids of the application's layers.
    #[serde(serialize_with = "shas")]
    pub app: Option<Vec<String>>,
    /// The diff id of the layer with the bills of materials for launch.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "sha_or_none")]
    pub sbom: Option<String>,
    /// The buildpacks in the order of their group, with their launch layers.
    pub buildpacks: Option<Vec<BuildpackLayers>>,
    /// The diff id of the layer with the launcher's configuration.
    #[serde(serialize_with = "sha")]
    pub config: String,
    /// The diff id of the layer with the launcher.
    #[serde(serialize_with = "sha")]
    pub launcher: String,
    /// The diff id of the layer with the links of the process types.
    #[serde(rename = "process-types", serialize_with = "sha")]
    pub process_types: String,
    /// The base that the image stands on.
    #[serde(rename = "runImage")]
    pub run_image: RunImageMetadata,
    /// The base as older platforms look for it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "stack")]
    pub stack: Option<RunImageNames>,
}

/// The base image that an image stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunImageMetadata {
    /// The diff id of the base's last layer: what lies above it is the application.
    #[serde(rename = "topLayer")]
    pub top_layer: String,
    /// The base by digest.
    pub reference: String,
    /// Where to look for new versions of the base.
    #[serde(flatten)]
    pub names: RunImageNames,
}

/// The names of a base image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunImageNames {
    /// The primary name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Other places with the same image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

/// The layers of one buildpack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildpackLayers {
    /// The id of the buildpack.
    pub key: String,
    /// Its version.
    pub version: String,
    /// Its layers by name.
    pub layers: BTreeMap<String, LayerMetadata>,
    /// Whether the document said nothing of layers; what is written of it then does not either.
    pub says_nothing_of_layers: bool,
    /// What it keeps between builds (store.toml).
    pub store: Option<Data>,
}

/// One layer of a buildpack.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayerMetadata {
    /// The diff id; empty when it is not known.
    pub sha: String,
    /// What the buildpack says about the layer.
    pub data: Data,
    /// Whether later buildpacks may use the layer.
    pub build: bool,
    /// Whether the layer is in the image.
    pub launch: bool,
    /// Whether the layer is in the cache.
    pub cache: bool,
}

/// What a cache says about its layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheMetadata {
    /// The diff id of the layer with the bills of materials; empty when there is none.
    #[serde(serialize_with = "sha")]
    pub sbom: String,
    /// The buildpacks with their cached layers.
    pub buildpacks: Option<Vec<BuildpackLayers>>,
}

/// The keys of a document, which differ between JSON and TOML.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    run_image: &'static str,
    top_layer: &'static str,
    data: &'static str,
}

pub(crate) const JSON: Keys = Keys {
    run_image: "runImage",
    top_layer: "topLayer",
    data: "data",
};
pub(crate) const TOML: Keys = Keys {
    run_image: "run-image",
    top_layer: "top-layer",
    data: "metadata",
};

impl LifecycleMetadata {
    /// Reads the text of the label; an empty text is an image without metadata.
    pub fn from_label(text: &str) -> Result<Self, DecodeError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value = decode::json(text)?;
        Self::read(&Object::of(&value, "the label")?, JSON)
    }

    /// Returns the text of the label.
    ///
    /// # Errors
    /// When a buildpack's data holds what JSON has no place for, such as an infinite number.
    pub fn to_label(&self) -> Result<String, EncodeError> {
        super::try_json(self)
    }

    /// Returns the layers of the buildpack with this id, if the document knows it.
    pub fn buildpack(&self, id: &str) -> Option<&BuildpackLayers> {
        self.buildpacks.iter().flatten().find(|buildpack| buildpack.key == id)
    }

    pub(crate) fn read<S: Source>(fields: &S, keys: Keys) -> Result<Self, S::Error> {
        let sha = |key: &str| fields.table(key)?.map_or(Ok(String::new()), |table| table.text("sha"));
        Ok(Self {
            app: fields.tables("app", |layer| layer.text("sha"))?,
            sbom: fields.table("sbom")?.map(|table| table.text("sha")).transpose()?,
            buildpacks: fields.tables("buildpacks", |fields| BuildpackLayers::read(fields, keys))?,
            config: sha("config")?,
            launcher: sha("launcher")?,
            process_types: sha("process-types")?,
            run_image: match fields.table(keys.run_image)? {
                None => RunImageMetadata::default(),
                Some(table) => RunImageMetadata {
                    top_layer: table.text(keys.top_layer)?,
                    reference: table.text("reference")?,
                    names: RunImageNames::read(&table)?,
                },
            },
            stack: match fields.table("stack")? {
                None => None,
                Some(stack) => Some(match stack.table(keys.run_image)? {
                    None => RunImageNames::default(),
                    Some(table) => RunImageNames::read(&table)?,
                }),
            },
        })
    }

    pub(crate) fn to_toml(&self) -> Result<TomlTable, EncodeError> {
        let sha = |sha: &str| TomlTable::new().text("sha", sha);
        let mut table = TomlTable::new();
        if let Some(app) = &self.app {
            table = table.tables("app", app.iter().map(|layer| sha(layer)));
        }
        if let Some(sbom) = &self.sbom {
            table = table.with("sbom", TomlValue::Table(sha(sbom)));
        }
        if let Some(buildpacks) = &self.buildpacks {
            let buildpacks = buildpacks.iter().map(BuildpackLayers::to_toml);
            table = table.tables("buildpacks", buildpacks.collect::<Result<Vec<_>, _>>()?);
        }
        for (key, known) in [
            ("config", &self.config),
            ("launcher", &self.launcher),
            ("process-types", &self.process_types),
        ] {
            table = table.with(key, TomlValue::Table(sha(known)));
        }
        let run_image = TomlTable::new()
            .text("top-layer", &self.run_image.top_layer)
            .text("reference", &self.run_image.reference);
        table = table.with("run-image", TomlValue::Table(self.run_image.names.add_to(run_image)));
        Ok(match &self.stack {
            Some(stack) => {
                let names = TomlValue::Table(stack.add_to(TomlTable::new()));
                table.with("stack", TomlValue::Table(TomlTable::new().with("run-image", names)))
            }
            None => table,
        })
    }
}

impl RunImageNames {
    fn read<S: Source>(fields: &S) -> Result<Self, S::Error> {
        Ok(Self {
            image: fields.text("image")?,
            mirrors: fields.texts("mirrors")?.unwrap_or_default(),
        })
    }

    fn add_to(&self, table: TomlTable) -> TomlTable {
        let table = table.text_if("image", &self.image);
        if self.mirrors.is_empty() {
            table
        } else {
            table.texts("mirrors", &self.mirrors)
        }
    }
}

impl BuildpackLayers {
    fn read<S: Source>(fields: &S, keys: Keys) -> Result<Self, S::Error> {
        let layers = fields.map("layers", |layer| LayerMetadata::read(layer, keys))?;
        let store = fields.table("store")?;
        Ok(Self {
            key: fields.text("key")?,
            version: fields.text("version")?,
            says_nothing_of_layers: layers.is_none(),
            layers: layers.unwrap_or_default(),
            store: store.map(|store| store.free_table("metadata")).transpose()?,
        })
    }

    /// The layers, unless nothing is said of them.
    fn said_layers(&self) -> Option<&BTreeMap<String, LayerMetadata>> {
        Some(&self.layers).filter(|layers| !self.says_nothing_of_layers || !layers.is_empty())
    }

    fn to_toml(&self) -> Result<TomlTable, EncodeError> {
        let mut table = TomlTable::new().text("key", &self.key).text("version", &self.version);
        if let Some(said) = self.said_layers() {
            let mut layers = TomlTable::new();
            for (name, layer) in said {
                layers = layers.with(name, TomlValue::Table(layer.to_toml()?));
            }
            table = table.with("layers", TomlValue::Table(layers));
        }
        if let Some(store) = &self.store {
            table = table.with("store", TomlValue::Table(store.add_to(TomlTable::new(), "metadata")?));
        }
        Ok(table)
    }
}

impl Serialize for BuildpackLayers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Store<'a> {
            metadata: &'a Data,
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("key", &self.key)?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("layers", &self.said_layers())?;
        if let Some(metadata) = &self.store {
            map.serialize_entry("store", &Store { metadata })?;
        }
        map.end()
    }
}

impl LayerMetadata {
    fn read<S: Source>(fields: &S, keys: Keys) -> Result<Self, S::Error> {
        Ok(Self {
            sha: fields.text("sha")?,
            data: fields.data(keys.data),
            build: fields.flag("build")?,
            launch: fields.flag("launch")?,
            cache: fields.flag("cache")?,
        })
    }

    fn to_toml(&self) -> Result<TomlTable, EncodeError> {
        let table = self.data.add_to(TomlTable::new().text("sha", &self.sha), "metadata")?;
        Ok(table
            .flag("build", self.build)
            .flag("launch", self.launch)
            .flag("cache", self.cache))
    }
}

impl CacheMetadata {
    /// Reads the JSON text of a cache's metadata.
    pub fn from_json(text: &str) -> Result<Self, DecodeError> {
        Self::read(&decode::json(text)?)
    }

    /// Reads the JSON value that a file starts with; what follows it does not matter, as to the reference. Bytes that
    /// are no text count as unknown characters.
    pub(crate) fn from_start(bytes: &[u8]) -> Option<Self> {
        let first = decode::first_json(&crate::go_json::text_of(bytes))?;
        Self::read(&first).ok()
    }

    fn read(value: &Value) -> Result<Self, DecodeError> {
        let fields = Object::of(value, "the cache metadata")?;
        Ok(Self {
            sbom: fields
                .table("sbom")?
                .map_or(Ok(String::new()), |table| table.text("sha"))?,
            buildpacks: fields.tables("buildpacks", |fields| BuildpackLayers::read(fields, JSON))?,
        })
    }

    /// Returns the JSON text, without a newline.
    ///
    /// # Errors
    /// When a buildpack's data holds what JSON has no place for, such as an infinite number.
    pub fn to_json(&self) -> Result<String, EncodeError> {
        super::try_json(self)
    }

    /// Returns what the cache knows of a layer.
    pub fn layer(&self, buildpack: &str, name: &str) -> Option<&LayerMetadata> {
        let found = self.buildpacks.iter().flatten().find(|found| found.key == buildpack)?;
        found.layers.get(name)
    }
}

/// The label while an image is rebased: the application's layers stay as they are, whatever they hold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RebaseMetadata {
    app: Data,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "sha_or_none")]
    sbom: Option<String>,
    buildpacks: Option<Vec<BuildpackLayers>>,
    #[serde(serialize_with = "sha")]
    config: String,
    #[serde(serialize_with = "sha")]
    launcher: String,
    #[serde(rename = "process-types", serialize_with = "sha")]
    process_types: String,
    #[serde(rename = "runImage")]
    pub(crate) run_image: RunImageMetadata,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "stack")]
    pub(crate) stack: Option<RunImageNames>,
}

impl RebaseMetadata {
    pub(crate) fn from_label(text: &str) -> Result<Self, DecodeError> {
        let value = decode::json(text)?;
        let (app, rest) = match value {
            Value::Object(mut map) => {
                let key = map.keys().find(|key| key.eq_ignore_ascii_case("app")).cloned();
                let app = key.and_then(|key| map.remove(&key)).unwrap_or(Value::Null);
                (app, Value::Object(map))
            }
            other => (Value::Null, other),
        };
        let rest = LifecycleMetadata::read(&Object::of(&rest, "the label")?, JSON)?;
        Ok(Self {
            app: Data::from(&app),
            sbom: rest.sbom,
            buildpacks: rest.buildpacks,
            config: rest.config,
            launcher: rest.launcher,
            process_types: rest.process_types,
            run_image: rest.run_image,
            stack: rest.stack,
        })
    }
}

#[derive(Serialize)]
struct Sha<'a> {
    sha: &'a str,
}

// The signatures of these functions are what serde asks for.
#[allow(clippy::ref_option)]
fn sha_or_none<S: serde::Serializer>(sha: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    sha.as_deref().map(|sha| Sha { sha }).serialize(serializer)
}

#[allow(clippy::ptr_arg)]
fn sha<S: serde::Serializer>(sha: &String, serializer: S) -> Result<S::Ok, S::Error> {
    Sha { sha }.serialize(serializer)
}

#[allow(clippy::ref_option)]
fn shas<S: serde::Serializer>(shas: &Option<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    shas.as_ref()
        .map(|all| all.iter().map(|sha| Sha { sha }).collect::<Vec<_>>())
        .serialize(serializer)
}

#[allow(clippy::ref_option)]
fn stack<S: serde::Serializer>(names: &Option<RunImageNames>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Stack<'a> {
        #[serde(rename = "runImage")]
        run_image: &'a RunImageNames,
    }
    names
        .as_ref()
        .map(|run_image| Stack { run_image })
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "{\"app\":[{\"sha\":\"sha256:a\"}],\"sbom\":{\"sha\":\"sha256:s\"},\"buildpacks\":[{\"key\":\"acme/node\",\
        \"version\":\"1.2.3\",\"layers\":{\"dep\":{\"sha\":\"sha256:d\",\"data\":{\"k\":\"\\u003cv\\u003e\"},\"build\":false,\"launch\":true,\
        \"cache\":true}},\"store\":{\"metadata\":{\"s\":1.5}}},{\"key\":\"acme/web\",\"version\":\"0.0.1\",\"layers\":{}}],\
        \"config\":{\"sha\":\"sha256:c\"},\"launcher\":{\"sha\":\"sha256:l\"},\"process-types\":{\"sha\":\"\"},\
        \"runImage\":{\"topLayer\":\"sha256:t\",\"reference\":\"r/run@sha256:f\",\"image\":\"r/run\",\"mirrors\":[\"m/run\"]},\
        \"stack\":{\"runImage\":{\"image\":\"r/run\"}}}";

    #[test]
    fn of_what_a_label_does_not_say_nothing_is_said() {
        let rebased = |buildpack: &str| {
            let label = format!("{{\"buildpacks\":[{buildpack}],\"runImage\":{{}}}}");
            let metadata = RebaseMetadata::from_label(&label).expect("it is well formed");
            super::super::try_json(&metadata).expect("JSON has a place for it")
        };
        for (buildpack, written) in [
            (
                r#"{"key":"a","version":"1"}"#,
                r#"{"key":"a","version":"1","layers":null}"#,
            ),
            (
                r#"{"key":"a","version":"1","layers":null}"#,
                r#"{"key":"a","version":"1","layers":null}"#,
            ),
            (
                r#"{"key":"a","version":"1","layers":{}}"#,
                r#"{"key":"a","version":"1","layers":{}}"#,
            ),
            ("null", r#"{"key":"","version":"","layers":null}"#),
        ] {
            let label = rebased(buildpack);
            assert!(label.contains(&format!("\"buildpacks\":[{written}]")), "{label}");
        }
    }

    #[test]
    fn a_label_that_is_read_and_written_is_the_same_text() {
        let metadata = LifecycleMetadata::from_label(LABEL).expect("it is well formed");
        assert_eq!(metadata.to_label().as_deref(), Ok(LABEL));
        let rebased = RebaseMetadata::from_label(LABEL).expect("it is well formed");
        assert_eq!(super::super::to_json(&rebased), LABEL);
    }

    #[test]
    fn keys_of_any_case_are_read() {
        let metadata =
            LifecycleMetadata::from_label("{\"BUILDPACKS\":[{\"Key\":\"x\"}],\"runimage\":{\"TOPLAYER\":\"t\"}}")
                .expect("it is well formed");
        assert_eq!(metadata.buildpacks.expect("there are some")[0].key, "x");
        assert_eq!(metadata.run_image.top_layer, "t");
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        for text in [
            "[]",
            "{\"app\":{}}",
            "{\"config\":\"x\"}",
            "{\"buildpacks\":[{\"key\":1}]}",
            "nope",
        ] {
            assert!(LifecycleMetadata::from_label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_described_in_the_words_of_the_reference() {
        for (text, problem) in [
            ("{", "unexpected end of JSON input"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ] {
            let error = RebaseMetadata::from_label(text).expect_err("it is not JSON");
            assert_eq!(error, DecodeError::NotJson(problem.to_owned()));
        }
    }

    #[test]
    fn a_file_of_a_cache_may_hold_half_characters_and_go_on_behind_its_value() {
        for name in [b"\\ud800".as_slice(), b"\xff"] {
            let bytes = [b"{\"buildpacks\":[{\"key\":\"", name, b"\"}]} [".as_slice()].concat();
            let metadata = CacheMetadata::from_start(&bytes).expect("it starts well");
            assert_eq!(metadata.buildpacks.expect("there is one")[0].key, "\u{fffd}");
        }
        assert_eq!(CacheMetadata::from_start(b"{\"buildpacks\":"), None);
    }

    #[test]
    fn a_store_in_json_is_a_table_or_an_error() {
        let label = |store: &str| format!("{{\"buildpacks\":[{{\"key\":\"x\",\"store\":{{\"metadata\":{store}}}}}]}}");
        for store in ["{}", "{\"a\":1}", "null"] {
            let metadata = LifecycleMetadata::from_label(&label(store)).expect("it is well formed");
            let written = metadata.to_label().expect("it comes from JSON");
            assert!(
                written.contains(&format!("\"store\":{{\"metadata\":{store}}}")),
                "{written}"
            );
        }
        for store in ["\"x\"", "[1]", "1", "false"] {
            assert!(LifecycleMetadata::from_label(&label(store)).is_err(), "{store}");
            assert!(CacheMetadata::from_json(&label(store)).is_err(), "{store}");
            assert!(RebaseMetadata::from_label(&label(store)).is_err(), "{store}");
        }
    }

    #[test]
    fn the_application_of_a_rebased_image_keeps_any_shape() {
        let text = "{\"app\":{\"z\":1,\"a\":[true]},\"config\":{},\"unknown\":1}";
        let rebased = super::super::to_json(&RebaseMetadata::from_label(text).expect("it is well formed"));
        assert!(
            rebased.starts_with("{\"app\":{\"a\":[true],\"z\":1},\"buildpacks\":null,\"config\":{\"sha\":\"\"}"),
            "{rebased}"
        );
    }

    #[test]
    fn cache_metadata_names_its_sbom_always_and_its_buildpacks_or_null() {
        assert_eq!(
            CacheMetadata::default().to_json().as_deref(),
            Ok("{\"sbom\":{\"sha\":\"\"},\"buildpacks\":null}")
        );
    }
}

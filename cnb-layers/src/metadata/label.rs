//! The label `io.buildpacks.lifecycle.metadata` and the metadata of caches.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::decode::{self, DecodeError, Fields};
use super::toml_text::Toml;

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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BuildpackLayers {
    /// The id of the buildpack.
    pub key: String,
    /// Its version.
    pub version: String,
    /// Its layers by name.
    pub layers: BTreeMap<String, LayerMetadata>,
    /// Whether the document said nothing of layers; analyzed.toml then does not either.
    #[serde(skip)]
    pub says_nothing_of_layers: bool,
    /// What it keeps between builds (store.toml).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "store")]
    pub store: Option<Value>,
}

/// One layer of a buildpack.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayerMetadata {
    /// The diff id; empty when it is not known.
    pub sha: String,
    /// What the buildpack says about the layer.
    pub data: Value,
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
    /// Whether whole numbers become floats.
    all_floats: bool,
}

pub(crate) const JSON: Keys = Keys {
    run_image: "runImage",
    top_layer: "topLayer",
    data: "data",
    all_floats: true,
};
pub(crate) const TOML: Keys = Keys {
    run_image: "run-image",
    top_layer: "top-layer",
    data: "metadata",
    all_floats: false,
};

impl Keys {
    /// Returns free-form data; in JSON all numbers are floats, as for the reference.
    fn numbers(self, value: Option<&Value>) -> Value {
        let value = value.cloned().unwrap_or(Value::Null);
        if self.all_floats { floats(value) } else { value }
    }
}

impl LifecycleMetadata {
    /// Reads the text of the label; an empty text is an image without metadata.
    pub fn from_label(text: &str) -> Result<Self, DecodeError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value = decode::json(text)?;
        Fields::of(&value, "the label")?.map_or_else(|| Ok(Self::default()), |fields| Self::read(&fields, JSON))
    }

    /// Returns the text of the label.
    pub fn to_label(&self) -> String {
        super::to_json(self)
    }

    /// Returns the layers of the buildpack with this id, if the document knows it.
    pub fn buildpack(&self, id: &str) -> Option<&BuildpackLayers> {
        self.buildpacks.iter().flatten().find(|buildpack| buildpack.key == id)
    }

    pub(crate) fn read(fields: &Fields<'_>, keys: Keys) -> Result<Self, DecodeError> {
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

    pub(crate) fn to_toml(&self) -> Toml {
        let sha = |sha: &str| Toml::Table(vec![("sha".into(), Toml::Text(sha.into()))]);
        let mut pairs: Vec<(String, Toml)> = Vec::new();
        if let Some(app) = &self.app {
            pairs.push(("app".into(), Toml::Array(app.iter().map(|layer| sha(layer)).collect())));
        }
        if let Some(sbom) = &self.sbom {
            pairs.push(("sbom".into(), sha(sbom)));
        }
        if let Some(buildpacks) = &self.buildpacks {
            pairs.push((
                "buildpacks".into(),
                Toml::Array(buildpacks.iter().map(BuildpackLayers::to_toml).collect()),
            ));
        }
        pairs.push(("config".into(), sha(&self.config)));
        pairs.push(("launcher".into(), sha(&self.launcher)));
        pairs.push(("process-types".into(), sha(&self.process_types)));
        let mut run_image = vec![
            ("top-layer".into(), Toml::Text(self.run_image.top_layer.clone())),
            ("reference".into(), Toml::Text(self.run_image.reference.clone())),
        ];
        self.run_image.names.push_to(&mut run_image);
        pairs.push(("run-image".into(), Toml::Table(run_image)));
        if let Some(stack) = &self.stack {
            let mut names = Vec::new();
            stack.push_to(&mut names);
            pairs.push((
                "stack".into(),
                Toml::Table(vec![("run-image".into(), Toml::Table(names))]),
            ));
        }
        Toml::Table(pairs)
    }
}

impl RunImageNames {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            image: fields.text("image")?,
            mirrors: fields.texts("mirrors")?.unwrap_or_default(),
        })
    }

    fn push_to(&self, pairs: &mut Vec<(String, Toml)>) {
        if !self.image.is_empty() {
            pairs.push(("image".into(), Toml::Text(self.image.clone())));
        }
        if !self.mirrors.is_empty() {
            let mirrors = self.mirrors.iter().map(|mirror| Toml::Text(mirror.clone())).collect();
            pairs.push(("mirrors".into(), Toml::Array(mirrors)));
        }
    }
}

impl BuildpackLayers {
    fn read(fields: &Fields<'_>, keys: Keys) -> Result<Self, DecodeError> {
        Ok(Self {
            key: fields.text("key")?,
            version: fields.text("version")?,
            layers: fields.map("layers", |layer| LayerMetadata::read(layer, keys))?,
            says_nothing_of_layers: fields.get("layers").is_none(),
            store: fields.table("store")?.map(|store| keys.numbers(store.get("metadata"))),
        })
    }

    fn to_toml(&self) -> Toml {
        let layers = self
            .layers
            .iter()
            .map(|(name, layer)| (name.clone(), layer.to_toml()))
            .collect();
        let mut pairs = vec![
            ("key".into(), Toml::Text(self.key.clone())),
            ("version".into(), Toml::Text(self.version.clone())),
        ];
        if !self.says_nothing_of_layers || !self.layers.is_empty() {
            pairs.push(("layers".into(), Toml::Table(layers)));
        }
        if let Some(store) = &self.store {
            let metadata = Toml::from_json(store).map(|data| ("metadata".to_owned(), data));
            pairs.push(("store".into(), Toml::Table(metadata.into_iter().collect())));
        }
        Toml::Table(pairs)
    }
}

impl LayerMetadata {
    fn read(fields: &Fields<'_>, keys: Keys) -> Result<Self, DecodeError> {
        Ok(Self {
            sha: fields.text("sha")?,
            data: keys.numbers(fields.get(keys.data)),
            build: fields.boolean("build")?,
            launch: fields.boolean("launch")?,
            cache: fields.boolean("cache")?,
        })
    }

    fn to_toml(&self) -> Toml {
        let mut pairs = vec![("sha".into(), Toml::Text(self.sha.clone()))];
        if let Some(data) = Toml::from_json(&self.data) {
            pairs.push(("metadata".into(), data));
        }
        for (key, value) in [("build", self.build), ("launch", self.launch), ("cache", self.cache)] {
            pairs.push((key.into(), Toml::Bool(value)));
        }
        Toml::Table(pairs)
    }
}

impl CacheMetadata {
    /// Reads the JSON text of a cache's metadata.
    pub fn from_json(text: &str) -> Result<Self, DecodeError> {
        let value = decode::json(text)?;
        let Some(fields) = Fields::of(&value, "the cache metadata")? else {
            return Ok(Self::default());
        };
        Ok(Self {
            sbom: fields
                .table("sbom")?
                .map_or(Ok(String::new()), |table| table.text("sha"))?,
            buildpacks: fields.tables("buildpacks", |fields| BuildpackLayers::read(fields, JSON))?,
        })
    }

    /// Returns the JSON text, without a newline.
    pub fn to_json(&self) -> String {
        super::to_json(self)
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
    app: Value,
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
        let rest = match Fields::of(&rest, "the label")? {
            None => LifecycleMetadata::default(),
            Some(fields) => LifecycleMetadata::read(&fields, JSON)?,
        };
        Ok(Self {
            app: floats(app),
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

/// Turns all numbers into floats, as a decoder does that knows no other numbers.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Number(number), Value::from),
        Value::Array(items) => Value::Array(items.into_iter().map(floats).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, floats(value))).collect()),
        other => other,
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
fn store<S: serde::Serializer>(store: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Store<'a> {
        metadata: &'a Value,
    }
    store.as_ref().map(|metadata| Store { metadata }).serialize(serializer)
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
    fn a_label_that_is_read_and_written_is_the_same_text() {
        let metadata = LifecycleMetadata::from_label(LABEL).expect("it is well formed");
        assert_eq!(metadata.to_label(), LABEL);
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
            CacheMetadata::default().to_json(),
            "{\"sbom\":{\"sha\":\"\"},\"buildpacks\":null}"
        );
    }
}

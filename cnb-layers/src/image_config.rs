use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::fields::{Fields, InvalidJson};
use crate::{DiffId, Platform, Timestamp};

/// An image config: what the image runs on, which layers it has and how it starts.
///
/// Unknown fields are kept, unless they are nested 128 levels deep or hold numbers beyond `f64`; keys are written in
/// go-containerregistry's order, so that a config made of equal values has equal bytes (and so an equal image id)
/// whoever wrote it.
///
/// # Specification
/// OCI image-spec 1.1, "OCI Image Configuration".
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImageConfig {
    /// The architecture in Go's words, such as `amd64`.
    pub architecture: String,
    /// Who made the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The id of the container the image was committed from; Docker's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// When the image was made.
    pub created: Timestamp,
    /// The version of Docker that made the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// One entry for each layer, lowest first, and entries that made no layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// The operating system in Go's words, such as `linux`.
    pub os: String,
    /// The layers.
    pub rootfs: RootFs,
    /// How a container of the image starts.
    pub config: ContainerConfig,
    /// The version of the operating system; only Windows uses it.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// The variant of the architecture, such as `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Features that the operating system must have.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl ImageConfig {
    /// Reads a config.
    ///
    /// # Errors
    /// When `json` is not a JSON object with the types that a config has.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidJson> {
        let mut fields = Fields::parse(json)?;
        Ok(Self {
            architecture: fields.text("architecture")?,
            author: fields.text("author")?,
            container: fields.text("container")?,
            created: fields.timestamp("created")?,
            docker_version: fields.text("docker_version")?,
            history: fields
                .objects("history")?
                .into_iter()
                .map(History::from_fields)
                .collect::<Result<_, _>>()?,
            os: fields.text("os")?,
            rootfs: fields
                .object("rootfs")?
                .map(RootFs::from_fields)
                .transpose()?
                .unwrap_or_default(),
            config: fields
                .object("config")?
                .map(ContainerConfig::from_fields)
                .transpose()?
                .unwrap_or_default(),
            os_version: fields.text("os.version")?,
            variant: fields.text("variant")?,
            os_features: fields.texts("os.features")?,
            unknown: fields.rest(),
        })
    }

    /// Returns the compact JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        cnb_order::go_json_of(self)
            .expect("a config has only text keys and finite numbers")
            .into_bytes()
    }

    /// Returns the config without the fields that go-containerregistry does not know and loses.
    #[must_use]
    pub fn without_unknown(mut self) -> Self {
        self.unknown.clear();
        self.config.unknown.clear();
        self.rootfs.unknown.clear();
        self.history.iter_mut().for_each(|entry| entry.unknown.clear());
        if let Some(check) = &mut self.config.healthcheck {
            check.unknown.clear();
        }
        self
    }

    /// Returns what the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
            features: Vec::new(),
        }
    }
}

/// The layers of an image config.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The layers' diff ids, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }
}

impl RootFs {
    fn from_fields(mut fields: Fields) -> Result<Self, InvalidJson> {
        Ok(Self {
            kind: fields.text("type")?,
            diff_ids: fields.diff_ids("diff_ids")?,
            unknown: fields.rest(),
        })
    }
}

/// How one layer (or one setting without a layer) came to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct History {
    /// Who made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When it was made.
    pub created: Timestamp,
    /// What made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// A remark.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether it made no layer.
    #[serde(skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl History {
    /// Returns the entry of a layer made at `created` by `created_by`.
    pub fn new(created: Timestamp, created_by: impl Into<String>) -> Self {
        Self {
            created,
            created_by: created_by.into(),
            ..Self::default()
        }
    }

    fn from_fields(mut fields: Fields) -> Result<Self, InvalidJson> {
        Ok(Self {
            author: fields.text("author")?,
            created: fields.timestamp("created")?,
            created_by: fields.text("created_by")?,
            comment: fields.text("comment")?,
            empty_layer: fields.flag("empty_layer")?,
            unknown: fields.rest(),
        })
    }
}

/// How a container of the image starts. Field names are Docker's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are those of the OCI specification")]
pub struct ContainerConfig {
    #[serde(skip_serializing_if = "is_false")]
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub attach_stdin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub attach_stdout: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// `NAME=value` pairs, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub open_stdin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub stdin_once: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub tty: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "set_as_object")]
    pub volumes: BTreeSet<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "set_as_object")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub network_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl ContainerConfig {
    /// Returns the value of the first variable called `name`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Returns the value of the first variable called `name` whose value has no `=` in it: the reference does not see
    /// the others.
    pub(crate) fn plain_env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .find(|value| !value.contains('='))
    }

    /// Sets a variable: in its place when there is one of that name (the first), else at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let named = |pair: &&mut String| pair.split('=').next() == Some(name);
        match self.env.iter_mut().find(named) {
            Some(place) => *place = pair,
            None => self.env.push(pair),
        }
    }

    fn from_fields(mut fields: Fields) -> Result<Self, InvalidJson> {
        Ok(Self {
            attach_stderr: fields.flag("AttachStderr")?,
            attach_stdin: fields.flag("AttachStdin")?,
            attach_stdout: fields.flag("AttachStdout")?,
            cmd: fields.texts("Cmd")?,
            healthcheck: fields
                .object("Healthcheck")?
                .map(Healthcheck::from_fields)
                .transpose()?,
            domainname: fields.text("Domainname")?,
            entrypoint: fields.texts("Entrypoint")?,
            env: fields.texts("Env")?,
            hostname: fields.text("Hostname")?,
            image: fields.text("Image")?,
            labels: fields.map_of_text("Labels")?,
            on_build: fields.texts("OnBuild")?,
            open_stdin: fields.flag("OpenStdin")?,
            stdin_once: fields.flag("StdinOnce")?,
            tty: fields.flag("Tty")?,
            user: fields.text("User")?,
            volumes: fields.set("Volumes")?,
            working_dir: fields.text("WorkingDir")?,
            exposed_ports: fields.set("ExposedPorts")?,
            args_escaped: fields.flag("ArgsEscaped")?,
            network_disabled: fields.flag("NetworkDisabled")?,
            mac_address: fields.text("MacAddress")?,
            stop_signal: fields.text("StopSignal")?,
            shell: fields.texts("Shell")?,
            unknown: fields.rest(),
        })
    }
}

/// How to see whether a container is healthy. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are those of the OCI specification")]
pub struct Healthcheck {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Fields that this crate does not know, kept as they came.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Healthcheck {
    fn from_fields(mut fields: Fields) -> Result<Self, InvalidJson> {
        Ok(Self {
            test: fields.texts("Test")?,
            interval: fields.integer("Interval")?,
            timeout: fields.integer("Timeout")?,
            start_period: fields.integer("StartPeriod")?,
            retries: fields.integer("Retries")?,
            unknown: fields.rest(),
        })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go's `map[string]struct{}`.
fn set_as_object<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().map(|key| (key, BTreeMap::<String, String>::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_integer_can_hold_is_the_same_after_any_number_of_writes() {
        let number = "5".repeat(79);
        let json = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"of somebody\":{number}}}");
        let config = ImageConfig::from_json(json.as_bytes()).expect("unknown fields are kept");
        let again = ImageConfig::from_json(&config.to_json()).expect("what was written is a config");
        assert_eq!(again.to_json(), config.to_json());
    }

    #[test]
    fn what_has_an_equals_sign_in_its_value_is_passed_over_where_the_reference_does() {
        let mut config = ContainerConfig {
            env: ["PATH=a=b", "X=1", "PATH=/x", "PATH=/y"].map(str::to_owned).to_vec(),
            ..ContainerConfig::default()
        };
        assert_eq!(config.env("PATH"), Some("a=b"));
        assert_eq!(config.plain_env("PATH"), Some("/x"));
        config.set_env("PATH", "/z");
        assert_eq!(config.env, ["PATH=/z", "X=1", "PATH=/x", "PATH=/y"]);
    }
}

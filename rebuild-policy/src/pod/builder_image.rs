//! What a pod must know of its builder image.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ImageFacts, PodError};
use crate::decode::without_nulls;
use crate::strconv::parse_int;

const STACK_LABEL: &str = "io.buildpacks.stack.id";
const METADATA_LABEL: &str = "io.buildpacks.builder.metadata";

/// A builder image, as far as a pod depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuilderImage {
    /// Its reference.
    pub image: String,
    /// Id of its stack.
    pub stack_id: String,
    /// Its own run image.
    pub run_image: String,
    /// User that builds run as.
    pub uid: i64,
    /// Group that builds run as.
    pub gid: i64,
    /// Platform APIs of its lifecycle, in its spelling: deprecated ones first.
    pub platform_apis: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    stack: Stack,
    lifecycle: Lifecycle,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stack {
    run_image: RunImage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RunImage {
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lifecycle {
    apis: Apis,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Apis {
    platform: Versions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Versions {
    deprecated: Vec<String>,
    supported: Vec<String>,
}

impl BuilderImage {
    /// Reads labels and environment of the image.
    ///
    /// # Errors
    /// When it is not a builder image: no stack id, no metadata, no user or group, or made for Windows.
    pub fn read(image: &str, facts: &ImageFacts) -> Result<Self, PodError> {
        let stack_id = label(&facts.labels, STACK_LABEL, "builder image stack ID label not present")?;
        let metadata = label(&facts.labels, METADATA_LABEL, "unable to get builder metadata")?;
        let metadata: Metadata = serde_json::from_str::<Value>(metadata)
            .and_then(|metadata| serde_json::from_value(without_nulls(&metadata)))
            .map_err(|error| PodError::InvalidMetadata {
                problem: error.to_string(),
            })?;
        let uid = number(&facts.env, "CNB_USER_ID")?;
        let gid = number(&facts.env, "CNB_GROUP_ID")?;
        if facts.os == "windows" {
            return Err(PodError::Windows);
        }
        let Versions { deprecated, supported } = metadata.lifecycle.apis.platform;
        Ok(Self {
            image: image.to_owned(),
            stack_id: stack_id.to_owned(),
            run_image: metadata.stack.run_image.image,
            uid,
            gid,
            platform_apis: deprecated.into_iter().chain(supported).collect(),
        })
    }
}

fn label<'a>(
    labels: &'a BTreeMap<String, String>,
    label: &'static str,
    context: &'static str,
) -> Result<&'a str, PodError> {
    labels
        .get(label)
        .map(String::as_str)
        .ok_or(PodError::MissingLabel { context, label })
}

fn number(env: &[String], name: &'static str) -> Result<i64, PodError> {
    // As the reference reads it: what is between the first and the second equals sign.
    let text = env
        .iter()
        .find_map(|variable| variable.split_once('=').filter(|(key, _)| *key == name))
        .and_then(|(_, value)| value.split('=').next())
        .ok_or(PodError::MissingVariable { name })?;
    parse_int(text).map_err(|problem| PodError::InvalidNumber {
        text: text.to_owned(),
        problem,
    })
}

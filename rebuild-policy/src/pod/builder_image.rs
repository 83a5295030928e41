//! What a pod must know of its builder image.

use std::collections::BTreeMap;

use cnb_order::go_json_problem;
use serde::Deserialize;
use serde_json::Value;

use super::{ImageFacts, PodError};
use crate::decode::{with_exact_keys, without_nulls};
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

/// Keys of the metadata that are read.
const KEYS: [&str; 8] = [
    "stack",
    "runImage",
    "image",
    "lifecycle",
    "apis",
    "platform",
    "deprecated",
    "supported",
];

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
        let metadata: Option<Metadata> = serde_json::from_str::<Value>(metadata)
            .and_then(|value| serde_json::from_value(with_exact_keys(&without_nulls(&value), &KEYS)))
            .map_err(|error| PodError::InvalidMetadata {
                problem: go_json_problem(metadata).unwrap_or_else(|| error.to_string()),
            })?;
        let metadata = metadata.unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::{BuilderImage, METADATA_LABEL, STACK_LABEL};
    use crate::pod::{ImageFacts, PodError};

    fn read(metadata: &str) -> Result<BuilderImage, PodError> {
        let facts = ImageFacts {
            labels: [(STACK_LABEL, "s"), (METADATA_LABEL, metadata)]
                .map(|(label, text)| (label.to_owned(), text.to_owned()))
                .into(),
            env: vec!["CNB_USER_ID=1000".to_owned(), "CNB_GROUP_ID=1000".to_owned()],
            ..ImageFacts::default()
        };
        BuilderImage::read("reg.example/builder", &facts)
    }

    #[test]
    fn metadata_that_is_not_json_is_refused_with_the_words_of_go() {
        for (text, problem) in [
            ("xyz", "invalid character 'x' looking for beginning of value"),
            ("{", "unexpected end of JSON input"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert_eq!(error, format!("unable to get builder metadata: {problem}"));
        }
    }

    #[test]
    fn the_case_of_a_key_of_the_metadata_does_not_count_when_no_key_is_the_same() {
        let image = read(
            r#"{"Stack":{"runimage":{"IMAGE":"a","image":"b"}},"lifecycle":{"APIs":{"platform":{"Supported":["0.9"]}}}}"#,
        )
        .unwrap();
        assert_eq!(image.run_image, "b");
        assert_eq!(image.platform_apis, ["0.9"]);
    }

    #[test]
    fn metadata_that_are_null_say_nothing() {
        assert_eq!(read("null").unwrap().run_image, "");
    }
}

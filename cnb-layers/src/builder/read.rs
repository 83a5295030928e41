use cnb_order::{
    ApiPair, BuilderMetadata, BuildpackLayersLabel, BuildpackageMetadata, ImageName, LifecycleApis, PackageInfo,
    StoredBuildpack,
};

use super::label::{self, LabelError};
use crate::{DiffId, Image};

const STACK_ID: &str = "io.buildpacks.stack.id";
const STACK_MIXINS: &str = "io.buildpacks.stack.mixins";

/// Why the buildpacks in an image cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBuildpackageError {
    /// A label is missing or cannot be read.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A buildpack's diff id is none.
    #[error("unable to parse layer diffId for {buildpack}: {problem}")]
    DiffId {
        /// `id@version`.
        buildpack: String,
        /// What is wrong.
        problem: String,
    },
    /// A buildpack's layer is not in the image.
    #[error("unable to get layer {buildpack}: unknown diffID {diff_id}")]
    NoLayer {
        /// `id@version`.
        buildpack: String,
        /// The layer's diff id.
        diff_id: DiffId,
    },
}

/// Lists the buildpacks that an image holds, by its label `io.buildpacks.buildpack.layers`.
///
/// `name` is the image's name as the store has it. Sorted by `id@version`, as text.
///
/// # Errors
/// When a label is missing or malformed, or names a layer that the image does not have.
pub fn read_buildpackages(image: &Image, name: &str) -> Result<Vec<StoredBuildpack>, ReadBuildpackageError> {
    const PACKAGE_FIELDS: [&str; 3] = ["id", "version", "homepage"];
    const LAYER_FIELDS: [&str; 11] = [
        "api",
        "layerDiffID",
        "order",
        "stacks",
        "homepage",
        "group",
        "id",
        "version",
        "optional",
        "mixins",
        "targets",
    ];
    let package: BuildpackageMetadata =
        label::json(image, BuildpackageMetadata::LABEL, &PACKAGE_FIELDS)?.unwrap_or_default();
    let package = PackageInfo {
        id: package.id.to_string(),
        version: package.version.to_string(),
        homepage: package.homepage,
    };
    label::text(image, BuildpackLayersLabel::LABEL)?;
    let layers: BuildpackLayersLabel =
        label::json(image, BuildpackLayersLabel::LABEL, &LAYER_FIELDS)?.unwrap_or_default();
    let mut found = Vec::new();
    for (id, versions) in layers.0 {
        for (version, buildpack) in versions {
            let title = format!("{id}@{version}");
            let diff_id = parse_diff_id(&buildpack.layer_diff_id).map_err(|problem| ReadBuildpackageError::DiffId {
                buildpack: title.clone(),
                problem,
            })?;
            let layer = image.layer(&diff_id).ok_or_else(|| ReadBuildpackageError::NoLayer {
                buildpack: title.clone(),
                diff_id: diff_id.clone(),
            })?;
            let item = StoredBuildpack {
                id: id.clone(),
                version,
                buildpackage: package.clone(),
                store_image: ImageName { image: name.to_owned() },
                diff_id: diff_id.to_string(),
                digest: layer.descriptor.digest.to_string(),
                size: i64::try_from(layer.descriptor.size).unwrap_or(i64::MAX),
                api: buildpack.api,
                homepage: buildpack.homepage,
                order: buildpack.order,
                stacks: buildpack.stacks,
            };
            found.push((title, item));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found.into_iter().map(|(_, item)| item).collect())
}

/// Reads a diff id; says what is wrong with it in kpack's words.
fn parse_diff_id(text: &str) -> Result<DiffId, String> {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return Err(format!("cannot parse hash: {text:?}"));
    };
    if let Some(other) = hex.bytes().find(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("found non-hex character in hash: {}", char::from(other)));
    }
    match algorithm {
        "sha256" => text
            .parse()
            .map_err(|_| format!("wrong number of hex digits for sha256: {hex}")),
        other => Err(format!("unsupported hash: {other:?}")),
    }
}

/// What a stack's images say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackInfo {
    /// The stack's id.
    pub id: String,
    /// What is installed in its images, as kpack lists it: shared, then `build:…`, then `run:…`.
    pub mixins: Vec<String>,
    /// The user that builds, `CNB_USER_ID`.
    pub user_id: i64,
    /// The group that builds, `CNB_GROUP_ID`.
    pub group_id: i64,
}

/// Why two images are no stack. Texts are kpack's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadStackError {
    /// A label is missing or cannot be read.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The images are of another stack.
    #[error("invalid stack images. expected stack: {expected}, build image stack: {build}, run image stack: {run}")]
    OtherStack {
        /// The id asked for.
        expected: String,
        /// The build image's.
        build: String,
        /// The run image's.
        run: String,
    },
    /// The build image does not say who builds.
    #[error("validating build image: ENV {name} not found")]
    NoUser {
        /// `CNB_USER_ID` or `CNB_GROUP_ID`.
        name: &'static str,
    },
    /// The build image's user or group is no number.
    #[error("validating build image: env {name}: {value:?} is not a number")]
    InvalidUser {
        /// `CNB_USER_ID` or `CNB_GROUP_ID`.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The build image has what only run images may have.
    #[error("build image contains run-only mixin(s): {}", .mixins.join(", "))]
    RunMixins {
        /// The mixins.
        mixins: Vec<String>,
    },
    /// The run image has what only build images may have.
    #[error("run image contains build-only mixin(s): {}", .mixins.join(", "))]
    BuildMixins {
        /// The mixins.
        mixins: Vec<String>,
    },
    /// The run image lacks what the build image has.
    #[error("runImage missing required mixin(s): {}", .mixins.join(", "))]
    MissingMixins {
        /// The mixins.
        mixins: Vec<String>,
    },
}

/// Reads a stack from its two images.
///
/// # Errors
/// When an image is of another stack, the build image names no user, or the mixins do not fit.
pub fn read_stack(id: &str, build: &Image, run: &Image) -> Result<StackInfo, ReadStackError> {
    let (build_id, run_id) = (label::text(build, STACK_ID)?, label::text(run, STACK_ID)?);
    if build_id != id || run_id != id {
        return Err(ReadStackError::OtherStack {
            expected: id.to_owned(),
            build: build_id.to_owned(),
            run: run_id.to_owned(),
        });
    }
    let number = |name: &'static str| {
        // kpack takes what is between the first and the second equals sign.
        let value = build
            .env(name)
            .and_then(|value| value.split('=').next())
            .ok_or(ReadStackError::NoUser { name })?;
        value.parse().map_err(|_| ReadStackError::InvalidUser {
            name,
            value: value.to_owned(),
        })
    };
    let (user_id, group_id) = (number("CNB_USER_ID")?, number("CNB_GROUP_ID")?);
    Ok(StackInfo {
        id: id.to_owned(),
        mixins: mixins(build, run)?,
        user_id,
        group_id,
    })
}

fn mixins(build: &Image, run: &Image) -> Result<Vec<String>, ReadStackError> {
    let read =
        |image| -> Result<Vec<String>, LabelError> { Ok(label::json(image, STACK_MIXINS, &[])?.unwrap_or_default()) };
    let (build, run) = (read(build)?, read(run)?);
    let with = |list: &[String], prefix: &str| -> Vec<String> {
        list.iter().filter(|mixin| mixin.starts_with(prefix)).cloned().collect()
    };
    let shared = |list: &[String]| -> Vec<String> {
        list.iter()
            .filter(|mixin| !mixin.starts_with("build:") && !mixin.starts_with("run:"))
            .cloned()
            .collect()
    };
    let wrong = with(&build, "run:");
    if !wrong.is_empty() {
        return Err(ReadStackError::RunMixins { mixins: wrong });
    }
    let wrong = with(&run, "build:");
    if !wrong.is_empty() {
        return Err(ReadStackError::BuildMixins { mixins: wrong });
    }
    let (build_shared, run_shared) = (shared(&build), shared(&run));
    let missing: Vec<String> = build_shared
        .iter()
        .filter(|mixin| !run_shared.contains(mixin))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(ReadStackError::MissingMixins { mixins: missing });
    }
    Ok([build_shared, with(&build, "build:"), with(&run, "run:")].concat())
}

/// What a lifecycle image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleInfo {
    /// The lifecycle's version.
    pub version: String,
    /// One version of each API, the older form.
    pub api: ApiPair,
    /// All versions of both APIs.
    pub apis: LifecycleApis,
}

/// What a lifecycle image has in the label that builders use for more.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct LifecycleLabel {
    lifecycle: LifecycleVersion,
    api: ApiPair,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct LifecycleVersion {
    version: String,
}

/// Reads a lifecycle image. Lists that are empty become absent, as kpack writes them.
///
/// # Errors
/// When one of its two labels is missing or malformed.
pub fn read_lifecycle(image: &Image) -> Result<LifecycleInfo, LabelError> {
    const FIELDS: [&str; 8] = [
        "lifecycle",
        "version",
        "api",
        "buildpack",
        "platform",
        "deprecated",
        "supported",
        "apis",
    ];
    label::text(image, BuilderMetadata::LABEL)?;
    let metadata: LifecycleLabel = label::json(image, BuilderMetadata::LABEL, &FIELDS)?.unwrap_or_default();
    label::text(image, LifecycleApis::LABEL)?;
    let mut apis: LifecycleApis = label::json(image, LifecycleApis::LABEL, &FIELDS)?.unwrap_or_default();
    for list in [
        &mut apis.buildpack.deprecated,
        &mut apis.buildpack.supported,
        &mut apis.platform.deprecated,
        &mut apis.platform.supported,
    ] {
        *list = list.take().filter(|versions| !versions.is_empty());
    }
    Ok(LifecycleInfo {
        version: metadata.lifecycle.version,
        api: metadata.api,
        apis,
    })
}

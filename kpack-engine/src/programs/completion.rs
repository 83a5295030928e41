//! `completion`: tells the Build what came out, by the termination message.

use std::{fs, io::Write, path::Path, sync::Arc};

use cnb_layers::{Image, ImageSource, Platform, Reference, RegistryStore};
use rebuild_policy::{BuildMetadata, BuildpackMetadata};
use registry_client::Client;
use serde_json::Value;

use super::{
    Invocation,
    error::{ProgramError, at},
    mounted::Mounted,
    policy::http_policy,
};

/// Runs the step.
pub(super) fn run(invocation: &Invocation, out: &mut dyn Write) -> Result<(), ProgramError> {
    let mounted = Mounted::read(invocation)?;
    let path = &invocation.places.report;
    let (tag, digest) = read_report(path)?;
    let reference = tag.parse::<Reference>()?.with_digest(&digest);
    let client = Client::new(http_policy(&invocation.env), Arc::new(mounted.keychain(false)?))?;
    let store = RegistryStore::new(client);
    let image = read(&store, &reference)?.ok_or_else(|| ProgramError::NoImage {
        image: reference.to_string(),
    })?;
    let cache = invocation
        .variable("CACHE_TAG")
        .map(|tag| cache_image(&store, tag))
        .transpose()?;
    let metadata = build_metadata(&reference, &image, cache.unwrap_or_default())?;
    let message = metadata.to_termination_message()?;
    let path = invocation
        .variable("TERMINATION_MESSAGE_PATH")
        .unwrap_or("/dev/termination-log");
    fs::write(path, message).map_err(at(path))?;
    let _ = writeln!(out, "Build successful");
    Ok(())
}

fn read_report(path: &Path) -> Result<(String, registry_auth::Digest), ProgramError> {
    let invalid = |problem: String| ProgramError::Document {
        what: path.display().to_string(),
        problem,
    };
    let text = fs::read_to_string(path).map_err(at(path))?;
    let report: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| invalid(error.to_string()))?;
    let image = report.get("image");
    let tag = image
        .and_then(|image| image.get("tags"))
        .and_then(toml::Value::as_array)
        .and_then(|tags| tags.first());
    let tag = tag
        .and_then(toml::Value::as_str)
        .ok_or_else(|| invalid("it names no tag".to_owned()))?;
    let digest = image
        .and_then(|image| image.get("digest"))
        .and_then(toml::Value::as_str);
    let digest = digest.ok_or_else(|| invalid("it names no digest".to_owned()))?;
    Ok((
        tag.to_owned(),
        digest
            .parse()
            .map_err(|error: registry_auth::InvalidDigest| invalid(error.to_string()))?,
    ))
}

fn read(store: &RegistryStore, reference: &Reference) -> Result<Option<Image>, ProgramError> {
    let image = store.image(reference, &Platform::linux_amd64());
    image.map_err(|source| ProgramError::Image {
        image: reference.to_string(),
        source,
    })
}

/// A cache that can't be read counts as none: the next build will not have it either.
fn cache_image(store: &RegistryStore, tag: &str) -> Result<String, ProgramError> {
    let reference: Reference = tag.parse()?;
    let image = read(store, &reference).ok().flatten();
    Ok(image
        .map(|image| reference.with_digest(image.digest()).to_string())
        .unwrap_or_default())
}

/// What the labels of the image say about the build.
fn build_metadata(reference: &Reference, image: &Image, cache: String) -> Result<BuildMetadata, ProgramError> {
    let Some(stack_id) = image.label("io.buildpacks.stack.id") else {
        return Ok(BuildMetadata::default());
    };
    let label = |name: &'static str| -> Result<Value, ProgramError> {
        let text = image.label(name).unwrap_or("{}");
        serde_json::from_str(text).map_err(|error| ProgramError::Document {
            what: format!("label {name} of {reference}"),
            problem: error.to_string(),
        })
    };
    let build = label("io.buildpacks.build.metadata")?;
    let lifecycle = label("io.buildpacks.lifecycle.metadata")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let buildpack = |entry: &Value| BuildpackMetadata {
        id: text(&entry["id"]),
        version: text(&entry["version"]),
        homepage: text(&entry["homepage"]),
    };
    Ok(BuildMetadata {
        buildpacks: build["buildpacks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(buildpack)
            .collect(),
        latest_cache_image: cache,
        latest_image: reference.to_string(),
        stack_id: stack_id.to_owned(),
        stack_run_image: run_image(&lifecycle)?,
        lifecycle_version: text(&build["launcher"]["version"]),
    })
}

/// The repository of the stack's run image with the digest that the app stands on.
fn run_image(lifecycle: &Value) -> Result<String, ProgramError> {
    let name = lifecycle["stack"]["runImage"]["image"]
        .as_str()
        .or_else(|| lifecycle["runImage"]["image"].as_str());
    let on = lifecycle["runImage"]["reference"].as_str().unwrap_or_default();
    let identifier = on.rsplit_once('@').map_or(on, |(_, digest)| digest);
    let (Some(name), false) = (name.filter(|name| !name.is_empty()), identifier.is_empty()) else {
        return Ok(String::new());
    };
    Ok(format!("{}@{identifier}", name.parse::<Reference>()?.repository()))
}

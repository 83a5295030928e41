//! `completion`: tells the Build what came out, by the termination message.

use std::{fs, io::Write, path::Path, sync::Arc};

use cnb_layers::{Image, ImageSource, Platform, Reference, RegistryStore};
use rebuild_policy::{BuildMetadata, BuildpackMetadata};
use registry_auth::{Chain, Digest};
use registry_client::Client;
use serde_json::Value;

use super::{
    Invocation,
    error::{ProgramError, at},
    invocation::refuse_unknown,
    mounted::Mounted,
    policy::{http_policy, node_credentials},
};

/// Flags about signing; the step gets some of them always.
const SIGNING: [&str; 4] = [
    "cosign-annotations",
    "cosign-repositories",
    "cosign-docker-media-types",
    "notary-v1-url",
];

/// Runs the step.
pub(super) fn run(invocation: &Invocation, out: &mut dyn Write) -> Result<(), ProgramError> {
    let mounted = Mounted::read(invocation, &mut std::io::sink())?;
    refuse_unknown(&mounted.rest, &SIGNING)?;
    let (tag, digest) = read_report(&invocation.places.report)?;
    let reference = tag.parse::<Reference>()?.with_digest(&digest);
    refuse_signing(invocation, &mounted, &reference)?;
    // The node's own credentials first, unlike in other steps: as in the reference.
    let keychain = Chain::default()
        .then(node_credentials(&invocation.env)?)
        .then(mounted.keychain(false)?);
    let client = Client::new(http_policy(&invocation.env), Arc::new(keychain))?;
    let store = RegistryStore::new(client);
    let image = read(&store, &reference)?.ok_or_else(|| ProgramError::NoImage {
        image: reference.to_string(),
    })?;
    let cache = invocation
        .variable("CACHE_TAG")
        .and_then(|tag| cache_image(&store, tag));
    let metadata = build_metadata(&reference, &image, cache.unwrap_or_default())?;
    let message = metadata.to_termination_message()?;
    let path = invocation
        .variable("TERMINATION_MESSAGE_PATH")
        .unwrap_or("/dev/termination-log");
    fs::write(path, message).map_err(at(path))?;
    let _ = writeln!(out, "Build successful");
    Ok(())
}

/// Says that an image which its owner wants signed is not: better than a build that only looks as wanted.
fn refuse_signing(invocation: &Invocation, mounted: &Mounted, image: &Reference) -> Result<(), ProgramError> {
    let notary = mounted.rest.iter().any(|argument| argument.contains("notary-v1-url="));
    let with = if notary { "notary" } else { "cosign" };
    if notary || invocation.places.secrets.join("cosign").is_dir() {
        return Err(ProgramError::Signing {
            image: image.to_string(),
            with,
        });
    }
    Ok(())
}

fn read_report(path: &Path) -> Result<(String, Digest), ProgramError> {
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

fn read(store: &dyn ImageSource, reference: &Reference) -> Result<Option<Image>, ProgramError> {
    let image = store.image(reference, &Platform::linux_amd64());
    image.map_err(|source| ProgramError::Image {
        image: reference.to_string(),
        source,
    })
}

/// A cache that can't be read, or whose tag is none, counts as no cache: the next build will not have it either.
fn cache_image(store: &dyn ImageSource, tag: &str) -> Option<String> {
    let reference: Reference = tag.parse().ok()?;
    let image = read(store, &reference).ok().flatten()?;
    Some(reference.with_digest(image.digest()).to_string())
}

/// What the labels of the image say about the build.
fn build_metadata(reference: &Reference, image: &Image, cache: String) -> Result<BuildMetadata, ProgramError> {
    let Some(stack_id) = image.label("io.buildpacks.stack.id") else {
        return Ok(BuildMetadata::default());
    };
    let label = |name: &'static str| -> Result<Value, ProgramError> {
        let text = image.label(name).ok_or(ProgramError::NoLabel { label: name })?;
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
///
/// # Deviation
/// Where the label names no stack (since platform API 0.12), the reference fails; the run image's own name serves here.
/// A reference that is only a digest gives that digest; the reference takes it for a tag and drops `sha256:`.
fn run_image(lifecycle: &Value) -> Result<String, ProgramError> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let stack = &lifecycle["stack"]["runImage"]["image"];
    let (Some(name), Some(on)) = (
        text(stack).or_else(|| text(&lifecycle["runImage"]["image"])),
        text(&lifecycle["runImage"]["reference"]),
    ) else {
        return Ok(String::new());
    };
    let identifier = match on.parse::<Digest>() {
        Ok(digest) => digest.to_string(),
        Err(_) => on.parse::<Reference>()?.identifier(),
    };
    Ok(format!("{}@{identifier}", name.parse::<Reference>()?.repository()))
}

#[cfg(test)]
mod tests {
    use cnb_layers::{BaseImage, Compression, MemoryStore};
    use serde_json::json;

    use super::*;

    /// The reference makes these of what it cannot read; ours are said to differ where they are made.
    const OURS: [(&str, &str); 2] = [
        (
            "run image reference is a bare digest",
            "registry.example/team/builder@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        ),
        (
            "stack run image empty (platform api 0.12 image)",
            "registry.example/team/run@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        ),
    ];

    #[test]
    fn labels_become_metadata_as_recorded() {
        let cases = include_str!("../../tests/fixtures/programs/build-metadata.json");
        let cases: Value = serde_json::from_str(cases).unwrap();
        for case in cases["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let found = metadata(&case["input"]);
            let expect = &case["expect"];
            if let Some((_, ours)) = OURS.iter().find(|(ours, _)| *ours == name) {
                assert_eq!(found.unwrap().stack_run_image, *ours, "{name}");
                continue;
            }
            match (found, expect["error"].as_str()) {
                (Ok(found), None) => compare(name, &found, &expect["metadata"]),
                (Err(error), Some("unexpected end of JSON input")) => assert!(error.contains("not valid"), "{error}"),
                (Err(error), Some(expected)) => assert_eq!(error, expected, "{name}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }

    fn compare(name: &str, found: &BuildMetadata, expected: &Value) {
        let repository = |value: &Value| value.as_str().unwrap().split('@').next().unwrap().to_owned();
        let mut found = json!(found);
        if expected["lifecycleVersion"] == "" {
            found["lifecycleVersion"] = json!("");
        }
        for (key, value) in expected.as_object().unwrap() {
            if ["latestImage", "latestCacheImage"].contains(&key.as_str()) {
                // The recorded digests are those of images made up.
                assert_eq!(repository(&found[key]), repository(value), "{name}: {key}");
            } else {
                assert_eq!(&found[key], value, "{name}: {key}");
            }
        }
    }

    fn metadata(input: &Value) -> Result<BuildMetadata, String> {
        let store = MemoryStore::new();
        for (name, image) in input["images"].as_object().unwrap() {
            let mut base = BaseImage::new(Platform::linux_amd64());
            for (label, value) in image["labels"].as_object().unwrap() {
                base = base.label(label, value.as_str().unwrap());
            }
            let tag = name.parse().unwrap();
            base.push(&store, &[tag], Compression::default()).unwrap();
        }
        let read = |name: &str| {
            let reference: Reference = name.parse().unwrap();
            let image = store.image(&reference, &Platform::linux_amd64()).unwrap();
            image.map(|image| (reference.with_digest(image.digest()), image))
        };
        let name = input["image"].as_str().unwrap();
        let (reference, image) =
            read(name).ok_or_else(|| ProgramError::NoImage { image: name.to_owned() }.to_string())?;
        let cache = read(
            input["cacheTag"]
                .as_str()
                .filter(|tag| !tag.is_empty())
                .unwrap_or("none/none"),
        );
        let cache = cache.map(|(reference, _)| reference.to_string()).unwrap_or_default();
        build_metadata(&reference, &image, cache).map_err(|error| error.to_string())
    }

    /// The labels of an app image whose lifecycle metadata is this.
    fn built_on(lifecycle: &Value) -> Value {
        json!({"image": "r.test/team/shop", "images": {"r.test/team/shop": {"labels": {
            "io.buildpacks.stack.id": "io.acme.base",
            "io.buildpacks.build.metadata": "{\"buildpacks\": [], \"launcher\": {\"version\": \"0.20.12\"}}",
            "io.buildpacks.lifecycle.metadata": lifecycle.to_string(),
        }}}})
    }

    const BASE: &str = "sha256:0fd6395e4fe38a0c089665cbe10f52fb26fc64b4b15e672ada412bd7ab5499a0";

    // row 10.3/L26
    #[test]
    fn the_run_image_is_the_stacks_repository_with_the_digest_that_the_app_stands_on() {
        let lifecycle = json!({
            "runImage": {"topLayer": "x", "reference": format!("localhost:5000/node@{BASE}")},
            "stack": {"runImage": {"image": "gcr.io:443/run:full-cnb"}},
        });
        let found = metadata(&built_on(&lifecycle)).unwrap();
        assert_eq!(found.stack_run_image, format!("gcr.io:443/run@{BASE}"));
    }

    // row 10.3/L27
    #[test]
    fn the_layers_of_the_app_may_be_listed_in_either_way() {
        for app in [
            json!({"sha": "sha256:1"}),
            json!([{"sha": "sha256:1"}, {"sha": "sha256:2"}]),
        ] {
            let lifecycle = json!({
                "app": app,
                "runImage": {"topLayer": "x", "reference": format!("r.test/run@{BASE}")},
                "stack": {"runImage": {"image": "r.test/run:1"}},
            });
            let found = metadata(&built_on(&lifecycle)).unwrap();
            assert_eq!(found.stack_run_image, format!("r.test/run@{BASE}"), "{app}");
        }
    }

    // row 10.3/L28
    #[test]
    fn a_cache_that_is_none_is_not_told_and_ends_nothing() {
        let store = MemoryStore::new();
        let tag: Reference = "r.test/cache:1".parse().unwrap();
        let cache = BaseImage::new(Platform::linux_amd64());
        let cache = cache
            .push(&store, std::slice::from_ref(&tag), Compression::default())
            .unwrap();
        let expected = format!("r.test/cache:1@{}", cache.digest());
        let found = cache_image(&store, "r.test/cache:1").unwrap();
        assert!(found == expected || found == expected.replace(":1@", "@"), "{found}");
        for tag in ["r.test/cache:none", "Not A Tag", "r.test/cache@sha256:12"] {
            assert_eq!(cache_image(&store, tag), None, "{tag}");
        }
    }
}

//! `prepare`: checks access, then brings source, credentials and platform environment into the pod's volumes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use cnb_layers::Reference;
use registry_auth::{Chain, Keychain};
use registry_client::{Client, HttpPolicy};
use source_fetch::{SubPath, process_project_descriptor};

use super::{
    Invocation,
    error::{ProgramError, at},
    invocation::refuse_unknown,
    mounted::Mounted,
    policy::{http_policy, node_credentials},
    source,
};

const PLATFORM_ENV: &str = "PLATFORM_ENV_";

/// Runs the step.
pub(super) fn run(invocation: &Invocation, out: &mut dyn Write) -> Result<(), ProgramError> {
    invocation.print_changes(out);
    // A log that can't be written to is no reason to fail: nobody reads it.
    let _ = writeln!(out, "Loading registry credentials from service account secrets");
    let mounted = Mounted::read(invocation, out)?;
    refuse_unknown(&mounted.rest, &[source::TRUST_FLAG])?;
    let secrets = &invocation.places.secrets;
    if !mounted.describe_registries(secrets, out) {
        let _ = writeln!(out, "No registry credentials were loaded from service account secrets");
    }
    let _ = writeln!(out, "Loading cluster credential helpers");
    let policy = http_policy(&invocation.env);
    check_access(invocation, &mounted, &policy)?;

    let sub_path: SubPath = invocation.variable("SOURCE_SUB_PATH").unwrap_or_default().parse()?;
    let fetched = source::fetch(invocation, &mounted, &policy, &sub_path, out)?;
    let places = &invocation.places;
    let metadata = places.project_metadata.join("project-metadata.toml");
    fs::write(&metadata, fetched.project_metadata()).map_err(at(&metadata))?;
    let app = sub_path.resolve_beneath(&places.workspace);
    app.map_err(|source| ProgramError::NoSubPath {
        sub_path: sub_path.clone(),
        source,
    })?;
    let descriptor = invocation.variable("PROJECT_DESCRIPTOR_PATH");
    let report = process_project_descriptor(&places.workspace, &sub_path, descriptor, &places.platform_env)?;
    for note in report.notes {
        let _ = writeln!(out, "{note}");
    }
    print_builder(invocation, out);
    write_platform_env(invocation)?;
    let config = mounted.keychain(true)?.credentials().to_docker_config();
    write_private(&places.home.join(".docker/config.json"), config.expose().as_bytes())
}

/// Can the result be pushed, and the run image be read? Better to know before the build than after it.
fn check_access(invocation: &Invocation, mounted: &Mounted, policy: &HttpPolicy) -> Result<(), ProgramError> {
    let client = |secrets: &dyn Fn() -> Result<_, ProgramError>| {
        let keychain: Arc<dyn Keychain> = Arc::new(
            Chain::default()
                .then(secrets()?)
                .then(node_credentials(&invocation.env)?),
        );
        Ok::<_, ProgramError>(Client::new(policy.clone(), keychain)?)
    };
    let tag = invocation.required("IMAGE_TAG")?;
    let reference: Reference = tag.parse()?;
    client(&|| mounted.keychain(false))?
        .check_write(reference.repository())
        .map_err(|source| ProgramError::WriteAccess {
            tag: tag.to_owned(),
            source,
        })?;
    if let Some(image) = invocation.variable("RUN_IMAGE") {
        let reference: Reference = image.parse()?;
        client(&|| mounted.keychain(true))?
            .check_read(&reference)
            .map_err(|source| ProgramError::ReadAccess {
                image: image.to_owned(),
                source,
            })?;
    }
    Ok(())
}

fn print_builder(invocation: &Invocation, out: &mut dyn Write) {
    let part = |name| invocation.variable(name);
    if let (Some(image), Some(name), Some(kind)) = (part("BUILDER_IMAGE"), part("BUILDER_NAME"), part("BUILDER_KIND")) {
        let _ = writeln!(out, "Builder:\n Image: {image} \n Name: {name} \n Kind: {kind}");
    }
}

/// One file a variable of the Build, over those of the project descriptor.
fn write_platform_env(invocation: &Invocation) -> Result<(), ProgramError> {
    let dir = &invocation.places.platform_env;
    fs::create_dir_all(dir).map_err(at(dir))?;
    for (variable, value) in &invocation.env {
        let Some(name) = variable.strip_prefix(PLATFORM_ENV) else {
            continue;
        };
        if name.is_empty() || name.contains('/') || name == ".." || name == "." {
            return Err(ProgramError::PlatformVariable { name: name.to_owned() });
        }
        let path = dir.join(name);
        fs::write(&path, value).map_err(at(path))?;
    }
    Ok(())
}

fn write_private(path: &Path, content: &[u8]) -> Result<(), ProgramError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(content)).map_err(at(path))
}

//! `prepare`: checks access, then brings source, credentials and platform environment into the pod's volumes.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc};

use cnb_layers::Reference;
use registry_auth::Keychain;
use registry_client::{Client, Http, HttpPolicy};
use source_fetch::{
    Access, BlobKeychain, BlobSource, GitKeychain, GitSource, Source, SubPath, process_project_descriptor,
};

use super::{
    Invocation,
    error::{ProgramError, at},
    mounted::Mounted,
    policy::http_policy,
};

/// Runs the step.
pub(super) fn run(invocation: &Invocation, out: &mut dyn Write) -> Result<(), ProgramError> {
    // A log that can't be written to is no reason to fail: nobody reads it.
    match rebuild_policy::change_log(invocation.variable("BUILD_CHANGES").unwrap_or_default()) {
        Ok(log) => drop(write!(out, "{log}")),
        Err(error) => drop(writeln!(out, "{error}")),
    }
    let mounted = Mounted::read(invocation)?;
    mounted.describe(&invocation.places.secrets, out);
    let _ = writeln!(out, "Loading cluster credential helpers");
    let policy = http_policy(&invocation.env);
    check_access(invocation, &mounted, &policy)?;

    let sub_path: SubPath = invocation.variable("SOURCE_SUB_PATH").unwrap_or_default().parse()?;
    fetch(invocation, &mounted, &policy, &sub_path, out)?;
    let descriptor = invocation.variable("PROJECT_DESCRIPTOR_PATH");
    let places = &invocation.places;
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
    let tag = invocation
        .variable("IMAGE_TAG")
        .ok_or(ProgramError::Missing { name: "IMAGE_TAG" })?;
    let reference: Reference = tag.parse()?;
    client(policy, mounted.keychain(false)?)?
        .check_write(reference.repository())
        .map_err(|source| ProgramError::WriteAccess {
            tag: tag.to_owned(),
            source,
        })?;
    if let Some(image) = invocation.variable("RUN_IMAGE") {
        let reference: Reference = image.parse()?;
        client(policy, mounted.keychain(true)?)?
            .check_read(&reference)
            .map_err(|source| ProgramError::ReadAccess {
                image: image.to_owned(),
                source,
            })?;
    }
    Ok(())
}

fn client(policy: &HttpPolicy, keychain: impl Keychain + 'static) -> Result<Client, ProgramError> {
    Ok(Client::new(policy.clone(), Arc::new(keychain))?)
}

/// Brings the source into the workspace, and says in a file what it was.
fn fetch(
    invocation: &Invocation,
    mounted: &Mounted,
    policy: &HttpPolicy,
    sub_path: &SubPath,
    out: &mut dyn Write,
) -> Result<(), ProgramError> {
    let source = source(invocation, sub_path)?;
    let annotation = match &source {
        Source::Git(_) => Some("kpack.io/git"),
        Source::Blob(blob) if blob.authorize => Some("kpack.io/blob"),
        _ => None,
    };
    for secret in mounted.account() {
        if let Some(host) = annotation.and_then(|annotation| secret.annotations.get(annotation)) {
            let _ = writeln!(out, "Loading secrets for \"{host}\" from secret \"{}\"", secret.name);
        }
    }
    let http = Http::new(policy).map_err(|error| ProgramError::Fetch(Box::new(error)))?;
    let access = Access {
        git: GitKeychain::from_secrets(mounted.account()),
        blob: BlobKeychain::from_secrets(mounted.account()),
        registry: Some(client(policy, mounted.keychain(true)?)?),
        ..Access::new(http)
    };
    let mut log = |line: &str| drop(writeln!(out, "{line}"));
    let fetched = source_fetch::fetch(&source, &invocation.places.workspace, &access, &mut log)
        .map_err(|error| ProgramError::Fetch(Box::new(error)))?;
    let path = invocation.places.project_metadata.join("project-metadata.toml");
    fs::write(&path, fetched.project_metadata()).map_err(at(path))
}

/// The source that the variables name: git, else an archive, else an image.
fn source(invocation: &Invocation, sub_path: &SubPath) -> Result<Source, ProgramError> {
    let variable = |name| invocation.variable(name);
    if let Some(url) = variable("GIT_URL") {
        let revision = variable("GIT_REVISION").ok_or(ProgramError::Missing { name: "GIT_REVISION" })?;
        let git = GitSource::new(url, revision).with_sub_path(sub_path.as_str());
        let submodules = variable("GIT_INITIALIZE_SUBMODULES").is_some_and(is_true);
        return Ok(Source::Git(if submodules { git.with_submodules() } else { git }));
    }
    if let Some(url) = variable("BLOB_URL") {
        let strip = variable("BLOB_STRIP_COMPONENTS").unwrap_or("0");
        return Ok(Source::Blob(BlobSource {
            url: url.to_owned(),
            strip_components: strip.parse().map_err(|_| ProgramError::Argument {
                argument: format!("BLOB_STRIP_COMPONENTS={strip}"),
            })?,
            authorize: variable("BLOB_AUTH").is_some_and(is_true),
        }));
    }
    match variable("REGISTRY_IMAGE") {
        Some(image) => Ok(Source::Image(image.to_owned())),
        None => Err(ProgramError::NoSource),
    }
}

/// Go's reading of a boolean.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
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
    for (name, value) in &invocation.env {
        let Some(name) = name.strip_prefix("PLATFORM_ENV_") else {
            continue;
        };
        if name.is_empty() || name.contains('/') || name == ".." || name == "." {
            continue;
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

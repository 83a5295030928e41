//! Which source a build is of, and getting it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use registry_auth::Chain;
use registry_client::{Client, Http, HttpPolicy};
use source_fetch::{Access, BlobKeychain, BlobSource, Fetched, GitKeychain, GitSource, Source, Ssh, SubPath};

use super::{
    Invocation,
    error::ProgramError,
    mounted::{Mounted, docker_secrets},
};

/// The flag that goes before `INSECURE_SSH_TRUST_UNKNOWN_HOSTS`.
pub(super) const TRUST_FLAG: &str = "insecure-ssh-trust-unknown-hosts";

/// Gets the source that the environment names into the workspace.
pub(super) fn fetch(
    invocation: &Invocation,
    mounted: &Mounted,
    policy: &HttpPolicy,
    sub_path: &SubPath,
    out: &mut dyn Write,
) -> Result<Fetched, ProgramError> {
    let source = source(invocation, sub_path)?;
    let access = access(invocation, mounted, policy)?;
    match &source {
        Source::Git(_) => mounted.describe_git(out),
        Source::Blob(blob) if blob.authorize => {
            if access.blob.is_empty() {
                return Err(ProgramError::BlobHelpers);
            }
            let _ = writeln!(out, "Loading blob credentials from service account secrets");
            mounted.describe_blobs(out);
        }
        _ => {}
    }
    // A log that can't be written to is no reason to fail: nobody reads it.
    let mut log = |line: &str| drop(writeln!(out, "{line}"));
    let fetched = source_fetch::fetch(&source, &invocation.places.workspace, &access, &mut log);
    fetched.map_err(|error| ProgramError::Fetch(Box::new(error)))
}

/// The source that the variables name: git, else an archive, else an image.
fn source(invocation: &Invocation, sub_path: &SubPath) -> Result<Source, ProgramError> {
    if let Some(url) = invocation.variable("GIT_URL") {
        let revision = invocation.required("GIT_REVISION")?;
        let git = GitSource::new(url, revision).with_sub_path(sub_path.as_str());
        let submodules = invocation.switch("GIT_INITIALIZE_SUBMODULES", false)?;
        return Ok(Source::Git(if submodules { git.with_submodules() } else { git }));
    }
    if let Some(url) = invocation.variable("BLOB_URL") {
        let strip = invocation.variable("BLOB_STRIP_COMPONENTS").unwrap_or("0");
        return Ok(Source::Blob(BlobSource {
            url: url.to_owned(),
            strip_components: strip.parse().map_err(|_| ProgramError::Variable {
                name: "BLOB_STRIP_COMPONENTS",
                value: strip.to_owned(),
                expected: "a number that is not negative",
            })?,
            authorize: invocation.switch("BLOB_AUTH", false)?,
            ..BlobSource::default()
        }));
    }
    let image = invocation.variable("REGISTRY_IMAGE").ok_or(ProgramError::NoSource)?;
    Ok(Source::Image(image.to_owned()))
}

fn access(invocation: &Invocation, mounted: &Mounted, policy: &HttpPolicy) -> Result<Access, ProgramError> {
    let places = &invocation.places;
    let own = docker_secrets(&places.registry_source_secrets, "registry source")?;
    let registries = Chain::default().then(own).then(mounted.keychain(true)?);
    let http = Http::new(policy).map_err(|error| ProgramError::Fetch(Box::new(error)))?;
    let ssh = ["/usr/bin/ssh", "/bin/ssh"]
        .iter()
        .map(Path::new)
        .find(|program| program.is_file());
    let mut trust_unknown_hosts = invocation.switch("INSECURE_SSH_TRUST_UNKNOWN_HOSTS", true)?;
    let flag = mounted.rest.iter().find(|argument| argument.contains(TRUST_FLAG));
    if let Some((_, value)) = flag.and_then(|argument| argument.split_once('=')) {
        trust_unknown_hosts = value != "false";
    }
    Ok(Access {
        git: GitKeychain::from_secrets(mounted.account()),
        blob: BlobKeychain::from_secrets(mounted.account()),
        registry: Some(Client::new(policy.clone(), Arc::new(registries))?),
        ssh: ssh.map(|program| Ssh {
            program: program.to_owned(),
            scratch: places.home.clone(),
            trust_unknown_hosts,
        }),
        ..Access::new(http)
    })
}

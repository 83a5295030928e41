//! Puts any image onto another base, without building it: `rebase IMAGE [--onto BASE] [--force] [--apply]`.
//!
//! Without `--onto`, the base is the one that the image's label names. Without `--apply`, it says what it would do
//! and writes nothing. Credentials are those of the Docker config.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use cnb_layers::metadata::{LifecycleMetadata, labels};
use cnb_layers::phase::{Log, LogLevel, PlatformApi, with_causes};
use cnb_layers::rebase::{NewBase, plan_rebase};
use cnb_layers::{ImageSource, Platform, Reference, RegistryStore};
use registry_auth::{AnonymousKeychain, DockerConfig, DockerConfigPlaces, Keychain};
use registry_client::{Client, HttpPolicy};

struct Print;

impl Log for Print {
    fn line(&self, level: LogLevel, text: &str) {
        if level != LogLevel::Debug {
            println!("{text}");
        }
    }
}

fn keychain() -> Result<Arc<dyn Keychain>, Box<dyn Error>> {
    let places = DockerConfigPlaces::from_env(|name| std::env::var_os(name) as Option<OsString>);
    Ok(match places.choose(std::path::Path::is_file) {
        Some(path) => Arc::new(DockerConfig::from_json(&std::fs::read(path)?)?),
        None => Arc::new(AnonymousKeychain),
    })
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rebase: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: rebase IMAGE [--onto BASE] [--force] [--apply]";
    let (mut name, mut onto, mut force, mut apply) = (None, None, false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--onto" => onto = Some(arguments.next().ok_or(USAGE)?),
            "--force" => force = true,
            "--apply" => apply = true,
            image if name.is_none() && !image.starts_with('-') => name = Some(image.to_owned()),
            other => return Err(format!("'{other}' is one argument too many; {USAGE}").into()),
        }
    }
    let name = name.ok_or(USAGE)?;
    let store = RegistryStore::new(Client::new(HttpPolicy::default(), keychain()?)?);
    let reference = Reference::parse(&name)?;
    let platform = Platform::linux_amd64();
    let app = store
        .image(&reference, &platform)?
        .ok_or_else(|| format!("there is no image {reference}; check its name and tag"))?;
    let metadata = LifecycleMetadata::from_label(app.label(labels::LIFECYCLE_METADATA).unwrap_or("{}"))?;
    let onto = onto.unwrap_or_else(|| metadata.run_image.names.image.clone());
    if onto.is_empty() {
        return Err("the image does not say what its base is called; name one with --onto".into());
    }
    let base = NewBase::open(&onto, &store, &platform, &std::thread::sleep, &Print)?;
    let plan = plan_rebase(PlatformApi::NEWEST, force, &app, &reference, &base)?;

    let there: BTreeSet<String> = app.layers().iter().map(|layer| layer.diff_id.to_string()).collect();
    let layers = plan.image().layers();
    let kept = layers
        .iter()
        .filter(|layer| there.contains(layer.diff_id.as_str()))
        .count();
    println!("image    {name}@{}", app.digest());
    println!("onto     {onto}@{}", base.image().digest());
    println!("layers   {kept} stay, {} come from the base", layers.len() - kept);
    for warning in plan.warnings() {
        println!("warning  {warning}");
    }
    if !plan.is_change() {
        println!("It stands on that base already.");
    } else if apply {
        plan.run(&[name], &store, &store, &Print)?;
    } else {
        println!("result   {}", plan.image().digest());
        println!("Nothing was written; do it with --apply.");
    }
    Ok(())
}

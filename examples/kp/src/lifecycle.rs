//! `kp clusterlifecycle`: the lifecycle that builders are given.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    cluster::{CLUSTER_LIFECYCLE, CONFIG_MAP, Cluster},
    print::{Block, Printer, Table, UploadFlags, err, out},
    relocate::{Registries, TlsFlags},
    resource::{condition, create_ready, delete, new, patch, patch_ready, remember_as_applied, text},
    settings::Settings,
    stack::ready_text,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a cluster lifecycle
    Create(Source),
    /// Create or update a cluster lifecycle
    Save(Source),
    /// Update a cluster lifecycle
    #[command(alias = "update")]
    Patch(Source),
    /// List cluster lifecycles
    List,
    /// Display the status of a cluster lifecycle
    Status {
        name: String,
        /// also show the supported APIs
        #[arg(short, long)]
        verbose: bool,
    },
    /// Delete a cluster lifecycle
    Delete { name: String },
}

#[derive(Args)]
pub(crate) struct Source {
    name: String,
    /// the lifecycle image: a reference, or a tar file (saved by docker, or an OCI layout) on this machine
    #[arg(short, long)]
    image: String,
    #[command(flatten)]
    output: UploadFlags,
    #[command(flatten)]
    tls: TlsFlags,
}

/// `kp lifecycle`: the setting that there was before ClusterLifecycle.
#[derive(Subcommand)]
pub(crate) enum OldCommand {
    /// Patch the lifecycle image of all builders (deprecated)
    #[command(alias = "update")]
    Patch {
        /// the lifecycle image: a reference, or a tar file (saved by docker, or an OCI layout) on this machine
        #[arg(short, long)]
        image: String,
        #[command(flatten)]
        output: UploadFlags,
        #[command(flatten)]
        tls: TlsFlags,
    },
}

pub(crate) fn run_old(command: OldCommand) -> anyhow::Result<()> {
    let OldCommand::Patch { image, output, tls } = command;
    err(concat!(
        "Command \"patch\" is deprecated, This command will be removed in a future release.\n",
        "Please use 'kp clusterlifecycle' commands instead.\n\n"
    ));
    let cluster = Cluster::from_environment()?;
    let printer = Printer::with_uploads(&output)?;
    printer.step("Patching lifecycle config...");
    let existing = cluster.find(CONFIG_MAP, "kpack", "lifecycle-image")?;
    let existing = existing.context("configmap \"lifecycle-image\" not found in \"kpack\" namespace")?;
    let repository = format!("{}/lifecycle", Settings::read(&cluster).repository()?);
    let registries = Registries::new(&tls, [image.as_str(), &repository])?;
    let found = registries.find(&image)?;
    if found.image.label("io.buildpacks.lifecycle.metadata").is_none() {
        bail!("image missing lifecycle metadata");
    }
    let placed = registries.relocate(&printer, &found, &repository)?;
    let mut updated = existing.clone();
    updated["data"]["image"] = json!(placed);
    let (_, changed) = patch(&cluster, &printer, CONFIG_MAP, &existing, updated)?;
    printer.change("Patched lifecycle config", changed);
    Ok(())
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::Create(source) => create_lifecycle(&cluster, &source),
        Command::Save(source) => match cluster.find(CLUSTER_LIFECYCLE, "", &source.name)? {
            None => create_lifecycle(&cluster, &source),
            Some(existing) => update(&cluster, &source, &existing),
        },
        Command::Patch(source) => update(&cluster, &source, &cluster.get(CLUSTER_LIFECYCLE, "", &source.name)?),
        Command::List => list(&cluster),
        Command::Status { name, verbose } => status(&cluster.get(CLUSTER_LIFECYCLE, "", &name)?, verbose),
        Command::Delete { name } => delete(&cluster, CLUSTER_LIFECYCLE, "", &name),
    }
}

/// Checks the image, relocates it, and returns where it is.
pub(crate) fn relocate(
    printer: &Printer,
    registries: &Registries,
    image: &str,
    repository: &str,
) -> anyhow::Result<String> {
    let found = registries
        .find(image)
        .map_err(|error| error.context("invalid lifecycle image"))?;
    for label in ["io.buildpacks.lifecycle.version", "io.buildpacks.lifecycle.apis"] {
        if found.image.label(label).is_none() {
            bail!("invalid lifecycle image: missing label {label}");
        }
    }
    printer.step(&format!("Uploading to '{repository}'..."));
    registries.relocate(printer, &found, repository)
}

fn relocated(printer: &Printer, source: &Source, settings: &Settings) -> anyhow::Result<String> {
    let repository = settings.repository()?;
    let registries = Registries::new(&source.tls, [source.image.as_str(), repository])?;
    relocate(printer, &registries, &source.image, repository)
}

fn create_lifecycle(cluster: &Cluster, source: &Source) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&source.output)?;
    printer.step("Creating ClusterLifecycle...");
    let settings = Settings::read(cluster);
    let image = relocated(&printer, source, &settings)?;
    let spec = json!({"image": image, "serviceAccountRef": settings.account_reference()});
    let mut object = new(CLUSTER_LIFECYCLE, "", &source.name, spec);
    remember_as_applied(&mut object)?;
    create_ready(cluster, &printer, CLUSTER_LIFECYCLE, &object)
}

fn update(cluster: &Cluster, source: &Source, existing: &Value) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&source.output)?;
    printer.step("Updating ClusterLifecycle...");
    let image = relocated(&printer, source, &Settings::read(cluster))?;
    let mut updated = existing.clone();
    updated["spec"]["image"] = json!(image);
    patch_ready(cluster, &printer, CLUSTER_LIFECYCLE, existing, updated, "updated")
}

fn list(cluster: &Cluster) -> anyhow::Result<()> {
    let items = cluster.list(CLUSTER_LIFECYCLE, "", "")?;
    if items.is_empty() {
        bail!("no clusterlifecycles found");
    }
    let mut table = Table::new(&["name", "ready", "version", "image"]);
    for item in &items {
        let ready = condition(item, "Ready").map_or("", |condition| text(condition, "/status"));
        table.row([
            text(item, "/metadata/name"),
            ready,
            text(item, "/status/version"),
            text(item, "/status/image/latestImage"),
        ]);
    }
    out(&table.render());
    Ok(())
}

fn status(lifecycle: &Value, verbose: bool) -> anyhow::Result<()> {
    let mut block = Block::new()
        .pair("Status", ready_text(lifecycle))
        .pair("Image", text(lifecycle, "/status/image/latestImage"))
        .pair("Version", text(lifecycle, "/status/version"));
    if verbose {
        let apis = |field: &str| {
            let list = lifecycle["status"]["apis"]["buildpack"][field]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        };
        block = block
            .pair("Supported Buildpack APIs", apis("supported"))
            .pair("Deprecated Buildpack APIs", apis("deprecated"));
    }
    out(&block.render());
    Ok(())
}

//! `kp clusterstack`: build image, run image, and the stack id that both carry.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    cluster::{CLUSTER_STACK, Cluster},
    preview::preview,
    print::{Block, Printer, Table, UploadFlags, out},
    relocate::{Found, Registries, TlsFlags},
    resource::{condition, create_ready, delete, new, patch_ready, text},
    settings::Settings,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a cluster stack
    Create(Images),
    /// Create or update a cluster stack
    Save(Images),
    /// Update a cluster stack
    #[command(alias = "update")]
    Patch(Images),
    /// List cluster stacks
    List,
    /// Display the status of a cluster stack
    Status {
        name: String,
        /// also show the mixins
        #[arg(short, long)]
        verbose: bool,
    },
    /// Delete a cluster stack
    Delete { name: String },
}

#[derive(Args)]
pub(crate) struct Images {
    name: String,
    /// the build image: a reference, or a tar file (saved by docker, or an OCI layout) on this machine
    #[arg(short, long)]
    build_image: String,
    /// the run image: a reference, or a tar file (saved by docker, or an OCI layout) on this machine
    #[arg(short, long)]
    run_image: String,
    #[command(flatten)]
    output: UploadFlags,
    #[command(flatten)]
    tls: TlsFlags,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::Create(images) => create_stack(&cluster, &images),
        Command::Save(images) => match cluster.find(CLUSTER_STACK, "", &images.name)? {
            None => create_stack(&cluster, &images),
            Some(existing) => update(&cluster, &images, &existing),
        },
        Command::Patch(images) => update(&cluster, &images, &cluster.get(CLUSTER_STACK, "", &images.name)?),
        Command::List => list(&cluster),
        Command::Status { name, verbose } => status(&cluster.get(CLUSTER_STACK, "", &name)?, verbose),
        Command::Delete { name } => delete(&cluster, CLUSTER_STACK, "", &name),
    }
}

fn stack_id(found: &Found) -> anyhow::Result<&str> {
    found
        .image
        .label("io.buildpacks.stack.id")
        .context("invalid stack image")
}

/// Checks both images, relocates them, and returns the parts of the spec that name them.
pub(crate) fn relocate(
    printer: &Printer,
    registries: &Registries,
    (build_image, run_image): (&str, &str),
    repository: &str,
) -> anyhow::Result<Value> {
    let (build, run) = (registries.find(build_image)?, registries.find(run_image)?);
    let (id, run_id) = (stack_id(&build)?, stack_id(&run)?);
    if id != run_id {
        bail!("build stack '{id}' does not match run stack '{run_id}'");
    }
    printer.step(&format!("Uploading to '{repository}'..."));
    let build_image = registries.relocate(printer, &build, repository)?;
    let run_image = registries.relocate(printer, &run, repository)?;
    Ok(json!({"id": id, "buildImage": {"image": build_image}, "runImage": {"image": run_image}}))
}

/// Relocates what the flags name to the default repository.
fn relocated(printer: &Printer, images: &Images, settings: &Settings) -> anyhow::Result<Value> {
    let repository = settings.repository()?;
    let names = (images.build_image.as_str(), images.run_image.as_str());
    let registries = Registries::new(&images.tls, [names.0, names.1, repository])?;
    relocate(printer, &registries, names, repository)
}

fn create_stack(cluster: &Cluster, images: &Images) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&images.output)?;
    printer.step("Creating ClusterStack...");
    let settings = Settings::read(cluster);
    let mut spec = relocated(&printer, images, &settings)?;
    spec["serviceAccountRef"] = settings.account_reference();
    // The one kind that is created without the annotation of `kubectl apply`.
    create_ready(
        cluster,
        &printer,
        CLUSTER_STACK,
        &new(CLUSTER_STACK, "", &images.name, spec),
    )
}

fn update(cluster: &Cluster, images: &Images, existing: &Value) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&images.output)?;
    printer.step("Updating ClusterStack...");
    let spec = relocated(&printer, images, &Settings::read(cluster))?;
    let mut updated = existing.clone();
    for field in ["id", "buildImage", "runImage"] {
        updated["spec"][field] = spec[field].clone();
    }
    preview(cluster, &printer, &updated);
    patch_ready(cluster, &printer, CLUSTER_STACK, existing, updated, "updated")
}

fn list(cluster: &Cluster) -> anyhow::Result<()> {
    let items = cluster.list(CLUSTER_STACK, "", "")?;
    if items.is_empty() {
        bail!("no clusterstacks found");
    }
    let mut table = Table::new(&["name", "ready", "id"]);
    for item in &items {
        let ready = condition(item, "Ready").map_or("", |condition| text(condition, "/status"));
        table.row([text(item, "/metadata/name"), ready, text(item, "/status/id")]);
    }
    out(&table.render());
    Ok(())
}

fn status(stack: &Value, verbose: bool) -> anyhow::Result<()> {
    let mut block = Block::new()
        .pair("Status", ready_text(stack))
        .pair("Id", text(stack, "/status/id"))
        .pair("Run Image", text(stack, "/status/runImage/latestImage"))
        .pair("Build Image", text(stack, "/status/buildImage/latestImage"));
    if verbose {
        let mixins = stack["status"]["mixins"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        block = block.pair(
            "Mixins",
            mixins.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        );
    }
    out(&block.render());
    Ok(())
}

/// `Ready`, `Not Ready - <why>` or `Unknown`.
pub(crate) fn ready_text(object: &Value) -> String {
    let Some(condition) = condition(object, "Ready") else {
        return "Unknown".into();
    };
    match text(condition, "/status") {
        "True" => "Ready".into(),
        "False" => format!("Not Ready - {}", text(condition, "/message")),
        _ => "Unknown".into(),
    }
}

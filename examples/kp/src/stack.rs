//! `kp clusterstack`: build image, run image, and the stack id that both carry.

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    cluster::{CLUSTER_STACK, Cluster},
    preview::preview,
    print::{Block, Printer, Table, UploadFlags, out},
    relocate::{Found, Registries, TlsFlags},
    resource::{condition, create, new, patch, text, wait_ready},
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
    /// the build image: a reference, or an OCI layout on this machine
    #[arg(short, long)]
    build_image: String,
    /// the run image: a reference, or an OCI layout on this machine
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
        Command::Delete { name } => {
            cluster.delete(CLUSTER_STACK, "", &name)?;
            out(&format!("ClusterStack \"{name}\" deleted\n"));
            Ok(())
        }
    }
}

fn stack_id<'a>(found: &'a Found, name: &str) -> anyhow::Result<&'a str> {
    let id = found.image.label("io.buildpacks.stack.id");
    id.ok_or_else(|| anyhow!("invalid stack image {name}: it has no label io.buildpacks.stack.id"))
}

/// Checks both images, relocates them, and returns the parts of the spec that name them.
fn relocate(printer: &Printer, images: &Images, settings: &Settings) -> anyhow::Result<Value> {
    let repository = settings.repository()?;
    let registries = Registries::new(
        &images.tls,
        [images.build_image.as_str(), &images.run_image, repository],
    )?;
    let build = registries.find(&images.build_image)?;
    let run = registries.find(&images.run_image)?;
    let (id, run_id) = (
        stack_id(&build, &images.build_image)?,
        stack_id(&run, &images.run_image)?,
    );
    if id != run_id {
        bail!("build stack '{id}' does not match run stack '{run_id}'");
    }
    printer.step(&format!("Uploading to '{repository}'..."));
    let build_image = registries.relocate(printer, &build, repository)?;
    let run_image = registries.relocate(printer, &run, repository)?;
    Ok(json!({"id": id, "buildImage": {"image": build_image}, "runImage": {"image": run_image}}))
}

fn create_stack(cluster: &Cluster, images: &Images) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&images.output)?;
    printer.step("Creating ClusterStack...");
    let settings = Settings::read(cluster);
    let mut spec = relocate(&printer, images, &settings)?;
    spec["serviceAccountRef"] = settings.account_reference();
    let object = create(
        cluster,
        &printer,
        CLUSTER_STACK,
        new(CLUSTER_STACK, "", &images.name, spec),
    )?;
    wait_ready(cluster, &printer, CLUSTER_STACK, &object)?;
    printer.result(&format!("ClusterStack \"{}\" created", images.name));
    Ok(())
}

fn update(cluster: &Cluster, images: &Images, existing: &Value) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&images.output)?;
    printer.step("Updating ClusterStack...");
    let spec = relocate(&printer, images, &Settings::read(cluster))?;
    let mut updated = existing.clone();
    for field in ["id", "buildImage", "runImage"] {
        updated["spec"][field] = spec[field].clone();
    }
    let (object, changed) = patch(cluster, &printer, CLUSTER_STACK, existing, updated)?;
    preview(cluster, &printer, &object);
    wait_ready(cluster, &printer, CLUSTER_STACK, &object)?;
    printer.change(&format!("ClusterStack \"{}\" updated", images.name), changed);
    Ok(())
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

//! `kp image`: what is kept up to date.

mod edit;
mod list;
mod status;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use registry_auth::Reference;
use serde_json::{Value, json};

use crate::{
    arguments::given,
    build,
    cluster::{BUILD, Cluster, IMAGE},
    logs,
    print::{Printer, UploadFlags, err},
    relocate::{Registries, TlsFlags},
    resource::{create, delete, new, patch, remember_as_applied, text},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create an image resource
    Create(Box<Create>),
    /// Create or patch an image resource
    Save(Box<Save>),
    /// Patch an existing image resource
    Patch(Box<Patch>),
    /// List image resources
    List(list::Flags),
    /// Display the status of an image resource
    Status {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Trigger a build of an image resource
    Trigger {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Delete an image resource
    Delete {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
}

/// `-n`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Namespace {
    /// the namespace; by default that of the current context
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) namespace: String,
}

/// What create, save and patch have in common.
#[derive(Args)]
struct Common {
    name: String,
    #[command(flatten)]
    namespace: Namespace,
    /// a further tag to push to, in the same registry; may be repeated
    #[arg(long)]
    additional_tag: Vec<String>,
    /// git repository url
    #[arg(long)]
    git: Option<String>,
    /// branch, tag or commit; main if not given
    #[arg(long)]
    git_revision: Option<String>,
    /// url of an archive
    #[arg(long)]
    blob: Option<String>,
    /// directory or zip on this machine, uploaded as an image
    #[arg(long, value_name = "PATH")]
    local_path: Option<String>,
    /// directory inside of the source
    #[arg(long)]
    sub_path: Option<String>,
    /// build time variable KEY=VALUE; may be repeated
    #[arg(short, long)]
    env: Vec<String>,
    /// service binding: SECRET or KIND:APIVERSION:NAME; may be repeated
    #[arg(short, long)]
    service_binding: Vec<String>,
    /// size of the cache volume, such as 2G
    #[arg(long)]
    cache_size: Option<String>,
    /// how many successful builds are kept
    #[arg(long)]
    success_build_history_limit: Option<String>,
    /// how many failed builds are kept
    #[arg(long)]
    failed_build_history_limit: Option<String>,
    /// the service account with the credentials of the build
    #[arg(long)]
    service_account: Option<String>,
    /// wait for the build, and stream its logs
    #[arg(short, long)]
    wait: bool,
    #[command(flatten)]
    output: UploadFlags,
    #[command(flatten)]
    tls: TlsFlags,
}

/// What only changes of an existing image have.
#[derive(Args, Default)]
struct Removals {
    /// replace all additional tags; may be repeated
    #[arg(long)]
    replace_additional_tag: Vec<String>,
    /// remove an additional tag; may be repeated
    #[arg(long)]
    delete_additional_tag: Vec<String>,
    /// remove a build time variable; may be repeated
    #[arg(short, long)]
    delete_env: Vec<String>,
    /// remove a service binding; may be repeated
    #[arg(long)]
    delete_service_binding: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Create {
    /// the tag that is kept up to date
    #[arg(short, long)]
    tag: String,
    /// builder, of the same namespace
    #[arg(short, long)]
    builder: Option<String>,
    /// cluster builder; "default" if no builder is given
    #[arg(short, long)]
    cluster_builder: Option<String>,
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    common: Common,
}

/// Where a local source is uploaded to.
#[derive(Args, Default)]
struct Destination {
    /// where the source at --local-path is uploaded to; by default the repository of the tag with "-source"
    #[arg(long, value_name = "REPOSITORY")]
    local_path_destination_image: Option<String>,
}

#[derive(Args)]
pub(crate) struct Save {
    /// the tag that is kept up to date; needed when the image is new
    #[arg(short, long)]
    tag: Option<String>,
    /// builder, of the same namespace
    #[arg(short, long)]
    builder: Option<String>,
    /// cluster builder
    #[arg(short, long)]
    cluster_builder: Option<String>,
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    removals: Removals,
}

#[derive(Args)]
pub(crate) struct Patch {
    /// builder, of the same namespace
    #[arg(long)]
    builder: Option<String>,
    /// cluster builder
    #[arg(long)]
    cluster_builder: Option<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    removals: Removals,
}

/// The builder that was named, if any.
struct Builders<'a> {
    namespaced: Option<&'a str>,
    cluster: Option<&'a str>,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::Create(flags) => {
            let builders = Builders {
                namespaced: given(flags.builder.as_ref()),
                cluster: given(flags.cluster_builder.as_ref()),
            };
            create_image(&cluster, &flags.tag, &builders, &flags.common, &flags.destination)
        }
        Command::Save(flags) => {
            let builders = Builders {
                namespaced: given(flags.builder.as_ref()),
                cluster: given(flags.cluster_builder.as_ref()),
            };
            let namespace = cluster.namespace(&flags.common.namespace.namespace);
            match (
                cluster.find(IMAGE, namespace, &flags.common.name)?,
                given(flags.tag.as_ref()),
            ) {
                (Some(existing), _) => {
                    let edit = (&flags.common, &flags.removals, &flags.destination);
                    patch_image(&cluster, &existing, &builders, edit)
                }
                (None, Some(tag)) => create_image(&cluster, tag, &builders, &flags.common, &flags.destination),
                (None, None) => bail!("--tag is required to create the resource"),
            }
        }
        Command::Patch(flags) => {
            let builders = Builders {
                namespaced: given(flags.builder.as_ref()),
                cluster: given(flags.cluster_builder.as_ref()),
            };
            let namespace = cluster.namespace(&flags.common.namespace.namespace);
            let existing = cluster.get(IMAGE, namespace, &flags.common.name)?;
            let edit = (&flags.common, &flags.removals, &Destination::default());
            patch_image(&cluster, &existing, &builders, edit)
        }
        Command::List(flags) => list::run(&cluster, &flags),
        Command::Status { name, namespace } => status::run(&cluster, cluster.namespace(&namespace.namespace), &name),
        Command::Trigger { name, namespace } => trigger(&cluster, cluster.namespace(&namespace.namespace), &name),
        Command::Delete { name, namespace } => delete(&cluster, IMAGE, cluster.namespace(&namespace.namespace), &name),
    }
}

fn create_image(
    cluster: &Cluster,
    tag: &str,
    builders: &Builders<'_>,
    flags: &Common,
    destination: &Destination,
) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&flags.output)?;
    printer.step("Creating Image Resource...");
    let namespace = cluster.namespace(&flags.namespace.namespace).to_owned();
    let mut spec = edit::new_spec(tag, builders, flags, &namespace)?;
    if let Some(path) = given(flags.local_path.as_ref()) {
        let repository = source_repository(tag, destination)?;
        printer.step(&format!("Uploading to '{repository}'..."));
        edit::set_local_source(&mut spec, &upload(&printer, flags, path, &repository)?);
    }
    let mut object = new(IMAGE, &namespace, &flags.name, spec);
    remember_as_applied(&mut object)?;
    let object = create(cluster, &printer, IMAGE, &object)?;
    printer.result(&format!("Image Resource \"{}\" created", flags.name));
    if flags.wait && !printer.is_dry_run() && !printer.prints_resources() {
        logs::wait_for_image(cluster, &object)?;
    }
    Ok(())
}

/// The repository of a local source: never that of the app, whose `latest` it would move.
fn source_repository(tag: &str, destination: &Destination) -> anyhow::Result<String> {
    let repository = |text: &str| -> anyhow::Result<String> {
        let reference: Reference = text
            .parse()
            .with_context(|| format!("could not parse reference: {text}"))?;
        Ok(reference.repository().to_string())
    };
    match given(destination.local_path_destination_image.as_ref()) {
        Some(destination) => repository(destination),
        None => Ok(format!("{}-source", repository(tag)?)),
    }
}

fn upload(printer: &Printer, flags: &Common, path: &str, repository: &str) -> anyhow::Result<String> {
    Registries::new(&flags.tls, [repository])?.upload_source(printer, path, repository)
}

fn patch_image(
    cluster: &Cluster,
    existing: &Value,
    builders: &Builders<'_>,
    (flags, removals, destination): (&Common, &Removals, &Destination),
) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&flags.output)?;
    printer.step("Patching Image Resource...");
    let mut updated = edit::edited(existing, builders, flags, removals)?;
    if let Some(path) = given(flags.local_path.as_ref()) {
        let repository = source_repository(text(existing, "/spec/tag"), destination)?;
        edit::set_local_source(&mut updated["spec"], &upload(&printer, flags, path, &repository)?);
    }
    let (object, changed) = patch(cluster, &printer, IMAGE, existing, updated)?;
    printer.change(&format!("Image Resource \"{}\" patched", flags.name), changed);
    if flags.wait && changed && !printer.is_dry_run() && !printer.prints_resources() {
        logs::wait_for_image(cluster, &object)?;
    }
    Ok(())
}

fn trigger(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let builds = build::of_image(cluster, namespace, name)?;
    let newest = builds.last().ok_or_else(|| anyhow!("no builds found"))?;
    let number: u64 = build::number(newest).parse().unwrap_or(builds.len() as u64);
    let now = jiff::Timestamp::now().to_string();
    let annotation = json!({"metadata": {"annotations": {"image.kpack.io/additionalBuildNeeded": now}}});
    cluster.patch(BUILD, namespace, text(newest, "/metadata/name"), &annotation)?;
    err(&format!(
        "Triggered build for Image Resource \"{name}\" with Build Number {}\n",
        number + 1
    ));
    Ok(())
}

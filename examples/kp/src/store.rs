//! `kp clusterstore`: the buildpackages that builders may use.

use std::io::BufRead as _;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    builder::detection_order,
    cluster::{CLUSTER_STORE, Cluster},
    print::{Block, OutputFlags, Printer, Table, UploadFlags, out},
    relocate::{Registries, TlsFlags},
    resource::{condition, create_ready, list_sorted, new, patch_ready, remember_as_applied, text},
    settings::Settings,
    stack::ready_text,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a cluster store
    Create(Packages),
    /// Add buildpackages to a cluster store
    Add(Packages),
    /// Create a cluster store, or add to the one that exists
    Save(Packages),
    /// Remove buildpackages from a cluster store
    Remove {
        store: String,
        /// the buildpackage, as ID@VERSION; may be repeated
        #[arg(short, long)]
        buildpackage: Vec<String>,
        #[command(flatten)]
        output: OutputFlags,
    },
    /// List cluster stores
    List,
    /// Display the status of a cluster store
    Status {
        store: String,
        /// also show images, components and detection orders
        #[arg(short, long)]
        verbose: bool,
    },
    /// Delete a cluster store
    Delete {
        store: String,
        /// do not ask
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Args)]
pub(crate) struct Packages {
    store: String,
    /// the buildpackage: a reference, or a .cnb file on this machine; may be repeated
    #[arg(short, long)]
    buildpackage: Vec<String>,
    #[command(flatten)]
    output: UploadFlags,
    #[command(flatten)]
    tls: TlsFlags,
}

impl Packages {
    fn registries<'a>(&self, settings: &'a Settings) -> anyhow::Result<(Registries, &'a str)> {
        let repository = settings.repository()?;
        if self.buildpackage.is_empty() {
            bail!("At least one buildpackage must be provided");
        }
        let names = self.buildpackage.iter().map(String::as_str).chain([repository]);
        Ok((Registries::new(&self.tls, names)?, repository))
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::Create(packages) => create_store(&cluster, &packages),
        Command::Add(packages) => match cluster.find(CLUSTER_STORE, "", &packages.store)? {
            Some(existing) => add(&cluster, &packages, &existing),
            None => bail!("ClusterStore '{}' does not exist", packages.store),
        },
        Command::Save(packages) => match cluster.find(CLUSTER_STORE, "", &packages.store)? {
            Some(existing) => add(&cluster, &packages, &existing),
            None => create_store(&cluster, &packages),
        },
        Command::Remove {
            store,
            buildpackage,
            output,
        } => remove(&cluster, &store, &buildpackage, &output),
        Command::List => list(&cluster),
        Command::Status { store, verbose } => status(&cluster.get(CLUSTER_STORE, "", &store)?, verbose),
        Command::Delete { store, force } => delete(&cluster, &store, force),
    }
}

fn create_store(cluster: &Cluster, packages: &Packages) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&packages.output)?;
    printer.step("Creating ClusterStore...");
    let settings = Settings::read(cluster);
    let (registries, repository) = packages.registries(&settings)?;
    let images = relocate_all(&printer, &registries, &packages.buildpackage, repository)?;
    let mut object = holding(&packages.store, &settings, &images);
    remember_as_applied(&mut object)?;
    create_ready(cluster, &printer, CLUSTER_STORE, &object)
}

/// Relocates buildpackages, and returns where they are.
pub(crate) fn relocate_all(
    printer: &Printer,
    registries: &Registries,
    packages: &[String],
    repository: &str,
) -> anyhow::Result<Vec<String>> {
    let relocate = |package: &String| registries.relocate(printer, &registries.find(package)?, repository);
    packages.iter().map(relocate).collect()
}

/// A new store, which holds every image as often as it is given.
pub(crate) fn holding(name: &str, settings: &Settings, images: &[String]) -> Value {
    let sources: Vec<_> = images.iter().map(|image| json!({"image": image})).collect();
    let spec = json!({"serviceAccountRef": settings.account_reference(), "sources": sources});
    new(CLUSTER_STORE, "", name, spec)
}

/// Adds a buildpackage to a store, unless it is there; returns whether it was not.
pub(crate) fn put(store: &mut Value, image: &str) -> bool {
    let sources = store["spec"]["sources"].as_array().cloned().unwrap_or_default();
    if sources
        .iter()
        .any(|source| digest_of(text(source, "/image")) == digest_of(image))
    {
        return false;
    }
    store["spec"]["sources"] = json!([sources, vec![json!({"image": image})]].concat());
    true
}

fn digest_of(image: &str) -> &str {
    image.rsplit_once('@').map_or(image, |(_, digest)| digest)
}

/// Relocates buildpackages, adds them to a store and tells which were there.
pub(crate) fn put_all(
    printer: &Printer,
    registries: &Registries,
    store: &mut Value,
    packages: &[String],
    repository: &str,
) -> anyhow::Result<()> {
    for package in packages {
        let image = registries.relocate(printer, &registries.find(package)?, repository)?;
        printer.detail(match put(store, &image) {
            true => "\tAdded Buildpackage",
            false => "\tBuildpackage already exists in the store",
        });
    }
    Ok(())
}

fn add(cluster: &Cluster, packages: &Packages, existing: &Value) -> anyhow::Result<()> {
    let printer = Printer::with_uploads(&packages.output)?;
    printer.step("Adding to ClusterStore...");
    let settings = Settings::read(cluster);
    let (registries, repository) = packages.registries(&settings)?;
    let mut updated = existing.clone();
    put_all(&printer, &registries, &mut updated, &packages.buildpackage, repository)?;
    patch_ready(cluster, &printer, CLUSTER_STORE, existing, updated, "updated")
}

fn remove(cluster: &Cluster, store: &str, packages: &[String], flags: &OutputFlags) -> anyhow::Result<()> {
    let printer = Printer::new(flags)?;
    let existing = cluster
        .find(CLUSTER_STORE, "", store)?
        .ok_or_else(|| anyhow!("ClusterStore '{store}' does not exist"))?;
    printer.step("Removing Buildpackages...");
    if packages.is_empty() {
        bail!("error decoding patch: unexpected end of JSON input");
    }
    let mut images = Vec::new();
    for package in packages {
        let (id, version) = package.split_once('@').unwrap_or((package, ""));
        let held = existing["status"]["buildpacks"].as_array().into_iter().flatten();
        let mut held = held.filter(|entry| entry["id"] == id && entry["version"] == version);
        let entry = held
            .next()
            .ok_or_else(|| anyhow!("Buildpackage '{package}' does not exist in the ClusterStore"))?;
        images.push((package, text(entry, "/storeImage/image").to_owned()));
    }
    let mut updated = existing.clone();
    for (package, image) in &images {
        printer.detail(&format!("Removing buildpackage {package}"));
        if let Some(sources) = updated["spec"]["sources"].as_array_mut() {
            sources.retain(|source| source["image"] != image.as_str());
        }
    }
    patch_ready(cluster, &printer, CLUSTER_STORE, &existing, updated, "updated")
}

fn list(cluster: &Cluster) -> anyhow::Result<()> {
    let mut table = Table::new(&["name", "ready"]);
    for item in list_sorted(cluster, CLUSTER_STORE, "", "no ClusterStores found")? {
        let ready = condition(&item, "Ready").map_or("Unknown", |condition| text(condition, "/status"));
        table.row([text(&item, "/metadata/name"), ready]);
    }
    out(&table.render());
    Ok(())
}

/// The buildpackages of the store's status: the entry that gives each its name, sorted.
fn packages(store: &Value) -> Vec<&Value> {
    let mut packages: Vec<&Value> = Vec::new();
    for entry in store["status"]["buildpacks"].as_array().into_iter().flatten() {
        let package = &entry["buildpackage"];
        let known = |other: &&Value| {
            other["buildpackage"]["id"] == package["id"] && other["buildpackage"]["version"] == package["version"]
        };
        if text(package, "/id").is_empty() || text(package, "/version").is_empty() || packages.iter().any(known) {
            continue;
        }
        packages.push(entry);
    }
    packages.sort_by_key(|entry| {
        format!(
            "{}@{}",
            text(entry, "/buildpackage/id"),
            text(entry, "/buildpackage/version")
        )
    });
    packages
}

fn status(store: &Value, verbose: bool) -> anyhow::Result<()> {
    out(&Block::new().pair("Status", ready_text(store)).render());
    if condition(store, "Ready").is_none_or(|condition| text(condition, "/status") != "True") {
        return Ok(());
    }
    let packages = packages(store);
    if !verbose {
        let mut table = Table::new(&["buildpackage id", "version", "homepage"]);
        for entry in packages {
            let cell = |field: &str| text(&entry["buildpackage"], field).to_owned();
            table.row([cell("/id"), cell("/version"), cell("/homepage")]);
        }
        out(&table.render());
        return Ok(());
    }
    for (position, package) in packages.into_iter().enumerate() {
        if position > 0 {
            out("\n");
        }
        out(&package_details(store, &package["buildpackage"]));
    }
    Ok(())
}

fn package_details(store: &Value, package: &Value) -> String {
    let held: Vec<_> = store["status"]["buildpacks"].as_array().into_iter().flatten().collect();
    let of_package = || {
        held.iter().filter(|entry| {
            entry["buildpackage"]["id"] == package["id"] && entry["buildpackage"]["version"] == package["version"]
        })
    };
    let image = of_package().next().map_or("", |entry| text(entry, "/storeImage/image"));
    let name = format!("{}@{}", text(package, "/id"), text(package, "/version"));
    let block = Block::new()
        .pair("Buildpackage", name)
        .pair("Image", image)
        .pair("Homepage", text(package, "/homepage"));
    let mut table = Table::new(&["buildpack id", "version", "homepage"]);
    for entry in of_package().filter(|entry| entry["id"] != package["id"] || entry["version"] != package["version"]) {
        table.row([text(entry, "/id"), text(entry, "/version"), text(entry, "/homepage")]);
    }
    let root = of_package().find(|entry| entry["id"] == package["id"] && entry["version"] == package["version"]);
    let order = root.map_or(&Value::Null, |entry| &entry["order"]);
    block.render() + &table.render() + &detection_order(order, false)
}

fn delete(cluster: &Cluster, store: &str, force: bool) -> anyhow::Result<()> {
    if !force {
        out(
            "WARNING: Builders referring to buildpacks from this store will no longer schedule rebuilds for buildpack updates.\n",
        );
        out("Please confirm store deletion by typing 'y': ");
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim_end_matches(['\r', '\n']), "y" | "Y" | "yes" | "YES") {
            out("Skipping ClusterStore deletion\n");
            return Ok(());
        }
    }
    match cluster.find(CLUSTER_STORE, "", store)? {
        Some(_) => cluster.delete(CLUSTER_STORE, "", store)?,
        None => bail!("Store \"{store}\" does not exist"),
    }
    out(&format!("ClusterStore \"{store}\" store deleted\n"));
    Ok(())
}

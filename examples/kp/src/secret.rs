//! `kp secret`: credentials of a service account.

mod account;
mod credential;
mod prompt;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::{
    cluster::{Cluster, SECRET, SERVICE_ACCOUNT},
    image::Namespace,
    print::{OutputFlags, Printer, Table, out},
    resource::{patch, text},
    shape,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a secret and give it to a service account
    Create(Box<Create>),
    /// Delete a secret and take it from a service account
    Delete {
        name: String,
        #[command(flatten)]
        owner: Owner,
    },
    /// List the secrets of a service account
    List {
        #[command(flatten)]
        owner: Owner,
    },
}

/// Whose secrets.
#[derive(Args)]
pub(crate) struct Owner {
    #[command(flatten)]
    namespace: Namespace,
    /// the service account
    #[arg(long, default_value = "default")]
    service_account: String,
}

#[derive(Args)]
pub(crate) struct Create {
    name: String,
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    credential: credential::Flags,
    #[command(flatten)]
    output: OutputFlags,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::Create(create) => create_secret(&cluster, &create),
        Command::Delete { name, owner } => delete(&cluster, &name, &owner),
        Command::List { owner } => list(&cluster, &owner),
    }
}

fn create_secret(cluster: &Cluster, create: &Create) -> anyhow::Result<()> {
    let printer = Printer::new(&create.output)?;
    let namespace = cluster.namespace(&create.owner.namespace.namespace);
    let (secret, target) = credential::secret(&create.credential, namespace, &create.name)?;
    // The account first: when there is none, nothing is left behind.
    let existing = cluster.get(SERVICE_ACCOUNT, namespace, &create.owner.service_account)?;
    let is_registry = text(&secret, "/type") == credential::DOCKER;
    let secret = shape::complete(&secret)?;
    let secret = match printer.is_dry_run() {
        true => secret,
        false => cluster.create(SECRET, namespace, &secret)?,
    };
    printer.objects(&[secret])?;
    printer.separate();
    let account = account::with(&existing, &create.name, &target, is_registry);
    patch(cluster, &printer, SERVICE_ACCOUNT, &existing, account)?;
    printer.result(&format!("Secret \"{}\" created for {target}", create.name));
    Ok(())
}

fn delete(cluster: &Cluster, name: &str, owner: &Owner) -> anyhow::Result<()> {
    let namespace = cluster.namespace(&owner.namespace.namespace);
    let printer = Printer::new(&OutputFlags::default())?;
    let existing = cluster.get(SERVICE_ACCOUNT, namespace, &owner.service_account)?;
    patch(
        cluster,
        &printer,
        SERVICE_ACCOUNT,
        &existing,
        account::without(&existing, name),
    )?;
    cluster.delete(SECRET, namespace, name)?;
    out(&format!("Secret \"{name}\" deleted\n"));
    Ok(())
}

fn list(cluster: &Cluster, owner: &Owner) -> anyhow::Result<()> {
    let namespace = cluster.namespace(&owner.namespace.namespace);
    let account = cluster.get(SERVICE_ACCOUNT, namespace, &owner.service_account)?;
    let secrets = cluster.list(SECRET, namespace, "")?;
    let (names, targets) = (account::names(&account), account::targets(&account));
    if names.is_empty() {
        bail!(
            "no secrets found in \"{namespace}\" namespace for \"{}\" service account",
            owner.service_account
        );
    }
    let mut table = Table::new(&["name", "target", "available"]);
    for name in names {
        let available = secrets.iter().any(|secret| text(secret, "/metadata/name") == name);
        table.row([
            name.clone(),
            targets.get(&name).cloned().unwrap_or_default(),
            available.to_string(),
        ]);
    }
    out(&table.render());
    Ok(())
}

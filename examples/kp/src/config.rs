//! `kp config`: the defaults.

use clap::Subcommand;

use crate::{cluster::Cluster, print::out, settings};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Set or get the default repository
    #[command(visible_alias = "cr")]
    DefaultRepository {
        /// the repository that buildpackages, stacks and lifecycles are relocated to
        url: Option<String>,
    },
    /// Set or get the default service account
    #[command(visible_alias = "csa")]
    DefaultServiceAccount {
        /// the service account that is written into cluster-wide resources
        name: Option<String>,
        /// the namespace of the service account
        #[arg(long, value_name = "NAMESPACE", default_value = "kpack")]
        service_account_namespace: String,
    },
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::DefaultRepository { url: Some(url) } => {
            settings::set_repository(&cluster, &url)?;
            out("kp-config set\n");
        }
        Command::DefaultRepository { url: None } => {
            out(&format!("{}\n", settings::Settings::read(&cluster).repository()?));
        }
        Command::DefaultServiceAccount {
            name: Some(name),
            service_account_namespace,
        } => {
            settings::set_account(&cluster, &name, &service_account_namespace)?;
            out("kp-config set\n");
        }
        Command::DefaultServiceAccount { name: None, .. } => {
            let settings = settings::Settings::read(&cluster);
            let (name, namespace) = settings.account();
            out(&format!("Name: {name}\nNamespace: {namespace}\n"));
        }
    }
    Ok(())
}

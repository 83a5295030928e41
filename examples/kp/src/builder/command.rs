//! The commands of both kinds: the flags of a builder in a namespace, and the fewer of one of the cluster.

use clap::{Args, Subcommand};

use crate::{image::Namespace, print::OutputFlags, relocate::TlsFlags};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a builder
    Create(Parts),
    /// Create or patch a builder
    Save(Parts),
    /// Patch an existing builder
    Patch(Parts),
    /// List builders
    List {
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Display the status of a builder
    Status {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Delete a builder
    Delete {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
}

/// The commands of a kind without namespaces.
#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Create a cluster builder
    Create(ClusterParts),
    /// Create or patch a cluster builder
    Save(ClusterParts),
    /// Patch an existing cluster builder
    Patch(ClusterParts),
    /// List cluster builders
    List,
    /// Display the status of a cluster builder
    Status { name: String },
    /// Delete a cluster builder
    Delete { name: String },
}

#[derive(Args)]
pub(crate) struct Parts {
    pub(super) name: String,
    #[command(flatten)]
    pub(super) namespace: Namespace,
    #[command(flatten)]
    pub(super) flags: Flags,
    /// the service account; "default" for a new builder
    #[arg(long)]
    pub(super) service_account: Option<String>,
}

#[derive(Args)]
pub(crate) struct ClusterParts {
    name: String,
    #[command(flatten)]
    flags: Flags,
}

/// What builders of both kinds are made of.
#[derive(Args)]
pub(super) struct Flags {
    /// the tag of the builder image
    #[arg(short, long)]
    pub(super) tag: Option<String>,
    /// the stack; "default" for a new builder
    #[arg(short, long)]
    pub(super) stack: Option<String>,
    /// the store
    #[arg(long)]
    pub(super) store: Option<String>,
    /// a file with the order, or - for standard input
    #[arg(short, long)]
    pub(super) order: Option<String>,
    /// a buildpack of the order, as ID or ID@VERSION; may be repeated
    #[arg(short, long, value_delimiter = ',')]
    pub(super) buildpack: Vec<String>,
    /// take the order of this builder image
    #[arg(long, value_name = "IMAGE")]
    pub(super) order_from: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputFlags,
    #[command(flatten)]
    pub(super) tls: TlsFlags,
}

impl From<ClusterCommand> for Command {
    fn from(command: ClusterCommand) -> Self {
        let namespace = Namespace::default();
        match command {
            ClusterCommand::Create(parts) => Self::Create(parts.into()),
            ClusterCommand::Save(parts) => Self::Save(parts.into()),
            ClusterCommand::Patch(parts) => Self::Patch(parts.into()),
            ClusterCommand::List => Self::List { namespace },
            ClusterCommand::Status { name } => Self::Status { name, namespace },
            ClusterCommand::Delete { name } => Self::Delete { name, namespace },
        }
    }
}

impl From<ClusterParts> for Parts {
    fn from(ClusterParts { name, flags }: ClusterParts) -> Self {
        Self {
            name,
            namespace: Namespace::default(),
            flags,
            service_account: None,
        }
    }
}

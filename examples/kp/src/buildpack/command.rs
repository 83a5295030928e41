//! The commands of both kinds: the flags of a buildpack in a namespace, and the fewer of one of the cluster.

use clap::{Args, Subcommand};

use crate::{image::Namespace, print::OutputFlags};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a buildpack
    Create(New),
    /// Create or patch a buildpack
    Save(Parts),
    /// Patch an existing buildpack
    Patch(Parts),
    /// List buildpacks
    List {
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Display the status of a buildpack
    Status {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Delete a buildpack
    Delete {
        name: String,
        #[command(flatten)]
        namespace: Namespace,
    },
}

/// The commands of a kind without namespaces.
#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Create a cluster buildpack
    Create(ClusterNew),
    /// Create or patch a cluster buildpack
    Save(ClusterParts),
    /// Patch an existing cluster buildpack
    Patch(ClusterParts),
    /// List cluster buildpacks
    List,
    /// Display the status of a cluster buildpack
    Status {
        name: String,
        // The reference has the flag here, without use for it.
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Delete a cluster buildpack
    Delete { name: String },
}

#[derive(Args)]
pub(crate) struct New {
    /// the buildpackage; its reference is stored as it is
    #[arg(short, long)]
    pub(super) image: String,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Args)]
pub(crate) struct Parts {
    /// the buildpackage; its reference is stored as it is
    #[arg(short, long)]
    pub(super) image: Option<String>,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Args)]
pub(super) struct Place {
    pub(super) name: String,
    #[command(flatten)]
    pub(super) namespace: Namespace,
    /// the service account; "default" for a new buildpack
    #[arg(long)]
    pub(super) service_account: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

#[derive(Args)]
pub(crate) struct ClusterNew {
    /// the buildpackage; its reference is stored as it is
    #[arg(short, long)]
    image: String,
    #[command(flatten)]
    place: ClusterPlace,
}

#[derive(Args)]
pub(crate) struct ClusterParts {
    /// the buildpackage; its reference is stored as it is
    #[arg(short, long)]
    image: Option<String>,
    #[command(flatten)]
    place: ClusterPlace,
}

#[derive(Args)]
struct ClusterPlace {
    name: String,
    #[command(flatten)]
    output: OutputFlags,
}

impl From<ClusterCommand> for Command {
    fn from(command: ClusterCommand) -> Self {
        let parts = |ClusterParts { image, place }| Parts {
            image,
            place: Place::from(place),
        };
        match command {
            ClusterCommand::Create(ClusterNew { image, place }) => Self::Create(New {
                image,
                place: place.into(),
            }),
            ClusterCommand::Save(flags) => Self::Save(parts(flags)),
            ClusterCommand::Patch(flags) => Self::Patch(parts(flags)),
            ClusterCommand::List => Self::List {
                namespace: Namespace::default(),
            },
            ClusterCommand::Status { name, namespace } => Self::Status { name, namespace },
            ClusterCommand::Delete { name } => Self::Delete {
                name,
                namespace: Namespace::default(),
            },
        }
    }
}

impl From<ClusterPlace> for Place {
    fn from(ClusterPlace { name, output }: ClusterPlace) -> Self {
        Self {
            name,
            namespace: Namespace::default(),
            service_account: None,
            output,
        }
    }
}

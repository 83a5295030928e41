//! The command line of the walk-through.

use std::path::PathBuf;

use clap::Parser;

/// Source in git becomes a running container image, and a commit or a new base image updates it: the whole flow on
/// real parts. Without options everything runs on this machine, on free ports, and is stopped at the end.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "cargo demo", version)]
pub struct Options {
    /// Use this registry instead of starting one: HOST/PREFIX, with the credentials of your docker config
    #[arg(long, value_name = "HOST/PREFIX")]
    pub registry: Option<String>,

    /// The user for the secret of the service account at --registry; the password is read from REGISTRY_PASSWORD
    #[arg(long, value_name = "USER", requires = "registry")]
    pub registry_user: Option<String>,

    /// A published build image, instead of the one made here from Debian
    #[arg(long, value_name = "IMAGE", requires = "run_image")]
    pub build_image: Option<String>,

    /// A published run image, instead of the one made here from Debian
    #[arg(long, value_name = "IMAGE", requires = "build_image")]
    pub run_image: Option<String>,

    /// A published buildpackage, instead of the Python one made here
    #[arg(long, value_name = "IMAGE")]
    pub buildpackage: Option<String>,

    /// Where stack images are kept between runs [default: ~/.cache/kpack-flow]
    #[arg(long, value_name = "DIR", env = "KPACK_FLOW_CACHE")]
    pub cache: Option<PathBuf>,

    /// Leave everything running at the end, and say how to look around
    #[arg(long)]
    pub keep: bool,

    /// End after the first build: for tests that compare runs
    #[arg(skip)]
    pub only_first_build: bool,

    /// Print nothing: for tests, which look at the story
    #[arg(skip)]
    pub quiet: bool,
}

//! `kp`: the command line of the flow, for kpackd and for any cluster that runs kpack.

mod build;
mod builder;
mod cluster;
mod config;
mod image;
mod kubeconfig;
mod lifecycle;
mod logs;
mod preview;
mod print;
mod relocate;
mod resource;
mod settings;
mod stack;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

#[derive(Parser)]
#[command(
    name = "kp",
    about = "Keeps container images up to date, built from source with buildpacks.",
    disable_version_flag = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Defaults of this command line
    #[command(subcommand, visible_alias = "cfg")]
    Config(config::Command),
    /// Images that are kept up to date
    #[command(subcommand, visible_aliases = ["images", "imgs", "img"])]
    Image(image::Command),
    /// Builds of an image
    #[command(subcommand, visible_aliases = ["builds", "blds", "bld"])]
    Build(build::Command),
    /// Builders of a namespace
    #[command(subcommand, visible_aliases = ["builders", "bldrs", "bldr"])]
    Builder(builder::Command),
    /// Builders of the whole cluster
    #[command(subcommand, visible_aliases = ["clusterbuilders", "clstrbldrs", "clstrbldr", "cbldrs", "cbldr", "cbs", "cb"])]
    Clusterbuilder(builder::Command),
    /// Stacks: build and run images
    #[command(subcommand, visible_aliases = ["clusterstacks", "clstrcsks", "clstrcsk", "cstacks", "cstack", "cstks", "cstk", "csks", "csk"])]
    Clusterstack(stack::Command),
    /// Stores: buildpackages
    #[command(subcommand, visible_aliases = ["clusterstores", "clstrcsrs", "clstrcsr", "cstores", "cstore", "cstrs", "cstr", "csrs", "csr"])]
    Clusterstore(store::Command),
    /// Lifecycles
    #[command(subcommand, visible_aliases = ["clusterlifecycles", "clstrlcs", "clstrlc", "clcs", "clc"])]
    Clusterlifecycle(lifecycle::Command),
    /// Display the version of kp
    Version,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            ) =>
        {
            print::out(&error.render().to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            print::err(&usage_error(&error));
            return ExitCode::FAILURE;
        }
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::err(&format!("Error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Config(command) => config::run(command),
        Command::Image(command) => image::run(command),
        Command::Build(command) => build::run(command),
        Command::Builder(command) => builder::run(cluster::BUILDER, command),
        Command::Clusterbuilder(command) => builder::run(cluster::CLUSTER_BUILDER, command),
        Command::Clusterstack(command) => stack::run(command),
        Command::Clusterstore(command) => store::run(command),
        Command::Clusterlifecycle(command) => lifecycle::run(command),
        Command::Version => {
            print::out(concat!(env!("CARGO_PKG_VERSION"), " \n"));
            Ok(())
        }
    }
}

/// A mistake on the command line in the words that users of kp know.
fn usage_error(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue};
    let context = |kind: ContextKind| error.get(kind);
    match (error.kind(), context(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) => {
            let flags: Vec<_> = missing
                .iter()
                .filter_map(|text| text.strip_prefix("--"))
                .map(|text| format!("\"{}\"", text.split([' ', '=']).next().unwrap_or_default()))
                .collect();
            if flags.is_empty() {
                format!(
                    "Error: accepts {} arg(s), received 0\n\n{}\n",
                    missing.len(),
                    usage(error)
                )
            } else {
                format!("Error: required flag(s) {} not set\n", flags.join(", "))
            }
        }
        (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) if argument.starts_with('-') => {
            format!("Error: unknown flag: {argument}\n")
        }
        _ => format!("Error: {}", error.render().to_string().trim_start_matches("error: ")),
    }
}

fn usage(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    rendered
        .lines()
        .find(|line| line.starts_with("Usage:"))
        .unwrap_or_default()
        .to_owned()
}

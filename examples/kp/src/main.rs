//! `kp`: the command line of the flow, for kpackd and for any cluster that runs kpack.

mod agent;
mod arguments;
mod build;
mod builder;
mod buildpack;
mod cluster;
mod completion;
mod config;
mod exec_plugin;
mod files;
mod image;
mod import;
mod kubeconfig;
mod lifecycle;
mod logs;
mod preview;
mod print;
mod relocate;
mod resource;
mod secret;
mod settings;
mod shape;
mod stack;
mod store;

use std::{env, process::ExitCode};

use arguments::Stop;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "kp", about = ABOUT, disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const ABOUT: &str = "kp controls the kpack installation on Kubernetes.

kpack extends Kubernetes and utilizes unprivileged kubernetes primitives to provide \n\
builds of OCI images as a platform implementation of Cloud Native Buildpacks (CNB).
Learn more about kpack @ https://github.com/pivotal/kpack
";

#[derive(Subcommand)]
enum Command {
    /// Build Commands
    #[command(subcommand, visible_aliases = ["builds", "blds", "bld"])]
    Build(build::Command),
    /// Builder Commands
    #[command(subcommand, visible_aliases = ["builders", "bldrs", "bldr"])]
    Builder(builder::Command),
    /// Buildpack Commands
    #[command(subcommand, visible_aliases = ["buildpacks", "bp", "bps"])]
    Buildpack(buildpack::Command),
    /// ClusterBuilder Commands
    #[command(subcommand, visible_aliases = ["clusterbuilders", "clstrbldrs", "clstrbldr", "cbldrs", "cbldr", "cbs", "cb"])]
    Clusterbuilder(builder::ClusterCommand),
    /// ClusterBuildpack Commands
    #[command(subcommand, visible_aliases = ["clusterbuildpacks", "clstrbps", "clstrbp", "cbps", "cbp"])]
    Clusterbuildpack(buildpack::ClusterCommand),
    /// ClusterLifecycle Commands
    #[command(subcommand, visible_aliases = ["clusterlifecycles", "clstrlcs", "clstrlc", "clcs", "clc"])]
    Clusterlifecycle(lifecycle::Command),
    /// ClusterStack Commands
    #[command(subcommand, visible_aliases = ["clusterstacks", "clstrcsks", "clstrcsk", "cstacks", "cstack", "cstks", "cstk", "csks", "csk"])]
    Clusterstack(stack::Command),
    /// ClusterStore Commands
    #[command(subcommand, visible_aliases = ["clusterstores", "clstrcsrs", "clstrcsr", "cstores", "cstore", "cstrs", "cstr", "csrs", "csr"])]
    Clusterstore(store::Command),
    /// Generate completion script
    Completion {
        /// bash, zsh, fish or powershell
        shell: String,
    },
    /// Config commands
    #[command(subcommand, visible_alias = "cfg")]
    Config(config::Command),
    /// Image commands
    #[command(subcommand, visible_aliases = ["images", "imgs", "img"])]
    Image(image::Command),
    /// Import dependencies for stores, stacks, and cluster builders
    Import(import::Flags),
    /// Lifecycle Commands
    #[command(subcommand, hide = true)]
    Lifecycle(lifecycle::OldCommand),
    /// Secret Commands
    #[command(subcommand, visible_alias = "secrets")]
    Secret(secret::Command),
    /// Display kp version
    Version,
}

fn main() -> ExitCode {
    let matches = arguments::parse(Arguments::command(), env::args_os().collect());
    let arguments = match matches.map(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(Ok(arguments)) => arguments,
        Ok(Err(error)) => {
            print::err(&error.render().to_string());
            return ExitCode::FAILURE;
        }
        Err(Stop::Help(text)) => {
            print::out(&text);
            return ExitCode::SUCCESS;
        }
        Err(Stop::Mistake(text)) => {
            print::err(&text);
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
        Command::Clusterbuilder(command) => builder::run(cluster::CLUSTER_BUILDER, command.into()),
        Command::Clusterstack(command) => stack::run(command),
        Command::Clusterstore(command) => store::run(command),
        Command::Clusterlifecycle(command) => lifecycle::run(command),
        Command::Buildpack(command) => buildpack::run(cluster::BUILDPACK, command),
        Command::Clusterbuildpack(command) => buildpack::run(cluster::CLUSTER_BUILDPACK, command.into()),
        Command::Lifecycle(command) => lifecycle::run_old(command),
        Command::Secret(command) => secret::run(command),
        Command::Import(flags) => import::run(&flags),
        Command::Completion { shell } => completion::run(&shell, &Arguments::command()),
        Command::Version => {
            // Set when a release is built.
            let (version, commit) = (option_env!("KP_VERSION"), option_env!("KP_COMMIT"));
            print::out(&format!(
                "{} {}\n",
                version.unwrap_or("dev"),
                commit.unwrap_or_default()
            ));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_is_on_by_itself_is_turned_off_in_all_the_words_for_it() {
        let parse = |value: &str| {
            let line = format!("kp import -f x --registry-verify-certs{value}");
            let matches = arguments::parse(Arguments::command(), line.split(' ').map(Into::into).collect())?;
            let inner = matches.subcommand().map(|(_, inner)| inner);
            Ok(inner.and_then(|inner| inner.get_one::<bool>("registry_verify_certs").copied()))
        };
        for (value, verified) in [
            ("", true),
            ("=1", true),
            ("=F", false),
            ("=0", false),
            ("=False", false),
        ] {
            assert!(parse(value).is_ok_and(|found| found == Some(verified)), "{value}");
        }
        match parse("=maybe") {
            Err(Stop::Mistake(said)) => assert_eq!(
                said,
                "Error: invalid argument \"maybe\" for \"--registry-verify-certs\" flag: strconv.ParseBool: parsing \"maybe\": \
                 invalid syntax\n"
            ),
            _ => panic!("it is accepted"),
        }
    }

    #[test]
    fn what_belongs_to_the_cluster_has_no_flags_for_a_namespace() {
        for (line, words) in [
            ("clusterbuilder list -n shop", "unknown shorthand flag: 'n' in -n"),
            ("clusterbuilder list --namespace shop", "unknown flag: --namespace"),
            ("clusterbuilder status x -n=", "unknown shorthand flag: 'n' in -n="),
            (
                "clusterbuilder create x --service-account y",
                "unknown flag: --service-account",
            ),
            (
                "clusterbuilder patch x --service-account y",
                "unknown flag: --service-account",
            ),
            ("clusterbuildpack delete x -n shop", "unknown shorthand flag: 'n' in -n"),
            (
                "clusterbuildpack save x --service-account y",
                "unknown flag: --service-account",
            ),
        ] {
            let words_of_line = ["kp"].into_iter().chain(line.split(' ')).map(Into::into);
            match arguments::parse(Arguments::command(), words_of_line.collect()) {
                Err(Stop::Mistake(said)) => assert_eq!(said, format!("Error: {words}\n"), "{line}"),
                _ => panic!("{line} is accepted"),
            }
        }
        for line in [
            "clusterbuildpack status x -n shop",
            "builder list -n shop",
            "buildpack save x -n shop",
        ] {
            let words = ["kp"].into_iter().chain(line.split(' ')).map(Into::into);
            assert!(
                arguments::parse(Arguments::command(), words.collect()).is_ok(),
                "{line}"
            );
        }
    }
}

//! Why a process cannot be started.

use std::io;
use std::path::PathBuf;

use cnb_detect::{EnvFileError, os_text};

/// Why a process cannot be started; the texts are those of the reference's launcher.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Neither a process nor a command was asked for.
    #[error("determine start command: when there is no default process a command is required")]
    NoCommand,
    /// No process of that type is for the execution environment.
    #[error("determine start command: process type {kind} was not found")]
    NoSuchProcess {
        /// The type.
        kind: String,
    },
    /// The user gave arguments, and the rules for them depend on a buildpack that is not there.
    #[error("determine start command: failed to find buildpack for process {kind} with buildpack ID {id}")]
    NoBuildpackForArguments {
        /// The type of the process.
        kind: String,
        /// The buildpack that the process names.
        id: String,
    },
    /// A shell process names a buildpack that is not there.
    #[error("process type '{kind}' provided by unknown buildpack '{id}'")]
    UnknownBuildpack {
        /// The type of the process.
        kind: String,
        /// The buildpack that the process names.
        id: String,
    },
    /// A process has no command.
    #[error("no command provided for process type \"{kind}\"")]
    EmptyCommand {
        /// The type of the process.
        kind: String,
    },
    /// The application's directory cannot be entered.
    #[error("change to app directory: chdir {}: {}", .directory.display(), os_text(.source))]
    AppDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The working directory cannot be entered.
    #[error("change directory: chdir {}: {}", .directory.display(), os_text(.source))]
    WorkingDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Layers or environment files cannot be read.
    #[error("modify env: {what}: {source}")]
    Environment {
        /// `add layer root` or `add layer env`.
        what: &'static str,
        /// What could not be read.
        source: EnvFileError,
    },
    /// A directory of layers cannot be listed.
    #[error("modify env: add layer root: failed to list files in dir '{0}': open {0}: {1}", .directory.display(), os_text(.source))]
    Layers {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A directory of programs or profile scripts cannot be listed.
    #[error("{what}: failed to list files in dir '{0}': open {0}: {1}", .directory.display(), os_text(.source))]
    List {
        /// What was looked for.
        what: &'static str,
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An `exec.d` program failed.
    #[error("exec.d: failed to execute exec.d file at path '{}': {message}", .path.display())]
    ExecD {
        /// The program.
        path: PathBuf,
        /// How it failed.
        message: String,
    },
    /// An `exec.d` program wrote something else than a table of strings.
    #[error("exec.d: failed to decode output from exec.d file at path '{}': {message}", .path.display())]
    ExecDOutput {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The command was not found, or is no program.
    #[error("path lookup: exec: \"{command}\": {message}")]
    LookUp {
        /// The command as written.
        command: String,
        /// Why not.
        message: String,
    },
    /// The process could not be started.
    #[error("{what}: {}", exec_text(.source))]
    Exec {
        /// `direct exec` or `bash exec`.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

fn exec_text(error: &io::Error) -> String {
    // Texts with a NUL cannot be passed; the standard library notices before the operating system does.
    if error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none() {
        return "invalid argument".to_owned();
    }
    os_text(error)
}

//! [`Program`] and [`Invocation`]: which program, and all that it is given.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use super::error::ProgramError;
use super::{completion, prepare, rebase};

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Brings source, credentials and platform environment into the pod's volumes; kpack's `build-init`.
    Prepare,
    /// Reports the built image by the termination message.
    Completion,
    /// Puts the last built image on a new run image.
    Rebase,
}

impl Program {
    /// Returns the program that is called by this name or path: its last part counts.
    pub fn for_name(name: &str) -> Option<Self> {
        match name.rsplit('/').next()? {
            "build-init" => Some(Self::Prepare),
            "completion" => Some(Self::Completion),
            "rebase" => Some(Self::Rebase),
            _ => None,
        }
    }

    /// Returns the name it has in its image: `/cnb/process/NAME`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Prepare => "build-init",
            Self::Completion => "completion",
            Self::Rebase => "rebase",
        }
    }

    /// Runs the program and returns its exit code: 0, or 1 after the error and its causes were printed to `err`.
    pub fn run(self, invocation: &Invocation, out: &mut (dyn Write + Send), err: &mut dyn Write) -> i32 {
        let done = match self {
            Self::Prepare => prepare::run(invocation, out),
            Self::Completion => completion::run(invocation, out),
            Self::Rebase => rebase::run(invocation, out),
        };
        let Err(error) = done else { return 0 };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            // An error that only passes its cause on is said once.
            let words = next.to_string();
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            cause = next.source();
        }
        // Nobody is left to tell when this cannot be written.
        let _ = writeln!(err, "{text}");
        1
    }
}

/// All that a program is given: arguments, environment and places.
#[derive(Clone)]
pub struct Invocation {
    /// The arguments behind the program's name.
    pub args: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Where the pod's volumes are.
    pub places: Places,
}

impl Invocation {
    /// Makes an invocation with the places of a build pod.
    pub fn new(args: impl IntoIterator<Item = String>, env: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            args: args.into_iter().collect(),
            env: env.into_iter().collect(),
            places: Places::default(),
        }
    }

    /// Prints why there is a build and what changed; what cannot be read is told and does not matter.
    pub(super) fn print_changes(&self, out: &mut dyn Write) {
        let changes = rebuild_policy::change_log(self.variable("BUILD_CHANGES").unwrap_or_default());
        // Nobody is left to tell when the log cannot be written.
        let _ = match changes {
            Ok(log) => write!(out, "{log}"),
            Err(error) => writeln!(out, "{error}"),
        };
    }

    /// Reads a variable as Go reads a boolean; `default` when it is absent.
    pub(super) fn switch(&self, name: &'static str, default: bool) -> Result<bool, ProgramError> {
        match self.variable(name) {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(value) => Err(ProgramError::Variable {
                name,
                value: value.to_owned(),
                expected: "true or false",
            }),
        }
    }

    /// Returns a variable that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, ProgramError> {
        self.variable(name).ok_or(ProgramError::Missing { name })
    }

    /// Returns a variable; `None` when it is absent or empty, which kpack does not tell apart.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Refuses arguments that are not flags of these names.
pub(super) fn refuse_unknown(arguments: &[String], known: &[&str]) -> Result<(), ProgramError> {
    let is_known = |argument: &&String| {
        let flag = argument.strip_prefix('-').map(|flag| flag.trim_start_matches('-'));
        let name = flag.map(|flag| flag.split_once('=').map_or(flag, |(name, _)| name));
        name.is_some_and(|name| known.contains(&name))
    };
    match arguments.iter().find(|argument| !is_known(argument)) {
        Some(argument) => Err(ProgramError::Argument {
            argument: argument.clone(),
        }),
        None => Ok(()),
    }
}

impl fmt::Debug for Invocation {
    /// Shows no values of the environment: a user may have put secrets there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("args", &self.args)
            .field("env", &self.env.keys())
            .field("places", &self.places)
            .finish()
    }
}

/// Where the volumes of a build pod are mounted; other places serve tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Source is put here: `/workspace`.
    pub workspace: PathBuf,
    /// `project-metadata.toml` is put here: `/projectMetadata`.
    pub project_metadata: PathBuf,
    /// One file a variable is put here: `/platform/env`.
    pub platform_env: PathBuf,
    /// Secrets, one directory each: `/var/build-secrets`.
    pub secrets: PathBuf,
    /// The pull secret of a source image: `/registrySourcePullSecrets`.
    pub registry_source_secrets: PathBuf,
    /// The home of the steps that need credentials: `/builder/home`.
    pub home: PathBuf,
    /// What export or rebase reports: `/var/report/report.toml`.
    pub report: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            workspace: "/workspace".into(),
            project_metadata: "/projectMetadata".into(),
            platform_env: "/platform/env".into(),
            secrets: "/var/build-secrets".into(),
            registry_source_secrets: "/registrySourcePullSecrets".into(),
            home: "/builder/home".into(),
            report: "/var/report/report.toml".into(),
        }
    }
}

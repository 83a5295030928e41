//! Which process to start.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use cnb_order::ApiVersion;

use super::{LaunchError, LaunchMetadata};
use crate::Process;

/// The process to start, with the arguments settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Its type; empty for a command of the user.
    pub kind: String,
    /// The command; more than one element only below Platform API 0.10.
    pub command: Vec<OsString>,
    /// The arguments.
    pub args: Vec<OsString>,
    /// Whether it is started without a shell.
    pub direct: bool,
    /// The buildpack that defined it.
    pub buildpack_id: String,
    /// Its working directory; empty is the application's.
    pub working_dir: String,
}

/// Chooses the process: the one whose type is the base name of `argv0`, or else the user's own command in `args`.
///
/// A user's arguments replace those of the process or are appended, depending on both APIs.
///
/// # Errors
/// When there is nothing to start.
pub fn choose(
    metadata: &LaunchMetadata,
    platform_api: ApiVersion,
    exec_env: &str,
    argv0: &OsStr,
    args: &[OsString],
) -> Result<Chosen, LaunchError> {
    let base = argv0.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let named = |process: &&Process| !base.is_empty() && process.kind.as_bytes() == base;
    if metadata.processes.iter().any(|process| named(&process)) {
        let eligible = |process: &&Process| {
            !platform_api.at_least(15)
                || process.exec_env.is_empty()
                || process.exec_env.iter().any(|one| one == "*" || one == exec_env)
        };
        let process =
            metadata
                .processes
                .iter()
                .filter(named)
                .find(eligible)
                .ok_or_else(|| LaunchError::NoSuchProcess {
                    kind: String::from_utf8_lossy(base).into_owned(),
                })?;
        return with_arguments(metadata, platform_api, process, args);
    }
    match args {
        [] => Err(LaunchError::NoCommand),
        [dashes, command, rest @ ..] if dashes == "--" => Ok(Chosen {
            command: vec![command.clone()],
            args: rest.to_vec(),
            direct: true,
            ..Chosen::default()
        }),
        [command, rest @ ..] => Ok(Chosen {
            command: vec![command.clone()],
            args: rest.to_vec(),
            ..Chosen::default()
        }),
    }
}

fn with_arguments(
    metadata: &LaunchMetadata,
    platform_api: ApiVersion,
    process: &Process,
    user: &[OsString],
) -> Result<Chosen, LaunchError> {
    let texts = |texts: &[String]| texts.iter().map(OsString::from).collect::<Vec<_>>();
    let (mut command, own) = (
        texts(&process.command),
        texts(process.args.as_deref().unwrap_or_default()),
    );
    let args = if !platform_api.at_least(10) {
        [own.as_slice(), user].concat()
    } else if command.len() > 1 {
        let always = command.split_off(1);
        [always.as_slice(), if user.is_empty() { &own } else { user }].concat()
    } else if user.is_empty() {
        own
    } else {
        let api = metadata
            .api_of(&process.buildpack_id)
            .ok_or_else(|| LaunchError::NoBuildpackForArguments {
                kind: process.kind.clone(),
                id: process.buildpack_id.clone(),
            })?;
        if api.at_least(9) {
            user.to_vec()
        } else {
            [own.as_slice(), user].concat()
        }
    };
    Ok(Chosen {
        kind: process.kind.clone(),
        command,
        args,
        direct: process.direct,
        buildpack_id: process.buildpack_id.clone(),
        working_dir: process.working_dir.clone(),
    })
}

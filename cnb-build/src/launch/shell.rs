//! Processes that bash runs.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use cnb_detect::Environment;

use super::prepare::working_directory;
use super::{Chosen, Launch, LaunchError, LaunchInputs, LaunchMetadata};

/// Returns the call of bash that sources the profile scripts, changes to the working directory and runs the command: as a
/// script when there are no arguments, else word by word with each word evaluated.
pub(super) fn shell_launch(
    metadata: &LaunchMetadata,
    chosen: &Chosen,
    inputs: &LaunchInputs,
    env: Environment,
    mut profiles: Vec<PathBuf>,
) -> Result<Launch, LaunchError> {
    if inputs
        .app_dir
        .join(".profile")
        .metadata()
        .is_ok_and(|found| !found.is_dir())
    {
        profiles.push(".profile".into());
    }
    let known = chosen.buildpack_id.is_empty() || metadata.buildpacks.iter().any(|(id, _)| *id == chosen.buildpack_id);
    if !chosen.args.is_empty() && !known {
        return Err(LaunchError::UnknownBuildpack {
            kind: chosen.kind.clone(),
            id: chosen.buildpack_id.clone(),
        });
    }
    let mut script = Vec::new();
    for profile in &profiles {
        script.extend([b"source \"", profile.as_os_str().as_bytes(), b"\"\n"].concat());
    }
    script.extend(
        [
            b"cd \"",
            working_directory(chosen, inputs).as_os_str().as_bytes(),
            b"\"\n",
        ]
        .concat(),
    );
    script.extend(if chosen.args.is_empty() {
        b"exec bash -c \"$@\"".to_vec()
    } else {
        by_word(chosen.args.len()).into_bytes()
    });
    let command: Vec<&[u8]> = chosen.command.iter().map(|part| part.as_bytes()).collect();
    let mut argv = vec![
        OsString::from("bash"),
        OsString::from("-c"),
        OsString::from_vec(script),
        inputs.argv0.clone(),
        OsString::from_vec(command.join(&b' ')),
    ];
    argv.extend(chosen.args.iter().cloned());
    Ok(Launch {
        app_dir: inputs.app_dir.clone(),
        directory: None,
        program: "/bin/bash".into(),
        argv,
        env: env.into_list(),
        what: "bash exec",
    })
}

/// The inner script for a command with `count` arguments: the command is its `$0`.
fn by_word(count: usize) -> String {
    let mut words = vec!["\"$(eval echo \\\"$0\\\")\"".to_owned()];
    words.extend((1..=count).map(|at| format!("\"$(eval echo \\\"${{{at}}}\\\")\"")));
    format!("exec bash -c '{}' \"${{@:1}}\"", words.join(" "))
}

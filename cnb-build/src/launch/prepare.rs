//! From a chosen process to what is executed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use cnb_detect::{Action, DirPath, EnvFileError, Environment, LayerUse, Listing};
use cnb_order::{BuildpackId, go_clean_path};

use super::look_path::look_path;
use super::shell::shell_launch;
use super::{Chosen, ExecD, LaunchError, LaunchMetadata};

/// Where things are.
#[derive(Clone, Debug)]
pub struct LaunchInputs {
    /// The directory of layers.
    pub layers_dir: PathBuf,
    /// The application.
    pub app_dir: PathBuf,
    /// The name under which the launcher was called.
    pub argv0: OsString,
    /// The environment to start from, see [`base_environment`].
    pub env: Environment,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The application's directory, entered first.
    pub app_dir: PathBuf,
    /// The working directory, entered next; relative to the former.
    pub directory: Option<PathBuf>,
    /// Path of the executable.
    pub program: PathBuf,
    /// All arguments; the first is the name that the process is called by.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// `direct exec` or `bash exec`, for messages.
    pub what: &'static str,
}

/// The launcher's own variables, which processes do not see.
const OWN: [&str; 5] = [
    "CNB_LAYERS_DIR",
    "CNB_APP_DIR",
    "CNB_PROCESS_TYPE",
    "CNB_PLATFORM_API",
    "CNB_DEPRECATION_MODE",
];

/// Returns the container's environment without what only concerns the launcher: its variables, and the directories of
/// launcher and process links in `PATH`.
pub fn base_environment(container: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    let mut env = Environment::of(container);
    for name in OWN {
        env.remove(name);
    }
    if let Some(path) = env.get("PATH") {
        let kept: Vec<&[u8]> = path
            .as_bytes()
            .split(|byte| *byte == b':')
            .filter(|element| !matches!(*element, b"/cnb/process" | b"/cnb/lifecycle"))
            .collect();
        let path = OsString::from_vec(kept.join(&b':'));
        env.set("PATH", path);
    }
    env
}

/// Makes the environment of the process, runs the `exec.d` programs, and finds the executable.
///
/// # Errors
/// [`LaunchError`]; nothing was started then but `exec.d` programs.
pub fn prepare(
    metadata: &LaunchMetadata,
    chosen: &Chosen,
    inputs: &LaunchInputs,
    exec_d: &dyn ExecD,
) -> Result<Launch, LaunchError> {
    enter(&inputs.app_dir).map_err(|source| LaunchError::AppDirectory {
        directory: inputs.app_dir.clone(),
        source,
    })?;
    let mut env = inputs.env.clone();
    let kind = (!chosen.kind.is_empty()).then_some(chosen.kind.as_str());
    let layers = apply_layers(&mut env, buildpacks(metadata, inputs)?, kind)?;
    for layer in &layers {
        for program in files(&layer.join("exec.d"), kind, "exec.d")? {
            for (name, value) in exec_d.run(&program, &env, &inputs.app_dir)? {
                env.set(name, value);
            }
        }
    }
    if chosen.direct {
        direct(chosen, inputs, env)
    } else {
        let mut profiles = Vec::new();
        for layer in &layers {
            profiles.extend(files(&layer.join("profile.d"), kind, "find profiles")?);
        }
        shell_launch(metadata, chosen, inputs, env, profiles)
    }
}

fn direct(chosen: &Chosen, inputs: &LaunchInputs, env: Environment) -> Result<Launch, LaunchError> {
    let Some(command) = chosen.command.first() else {
        return Err(LaunchError::EmptyCommand {
            kind: chosen.kind.clone(),
        });
    };
    let program = look_path(command, env.get("PATH").unwrap_or_default(), &inputs.app_dir).map_err(|message| {
        LaunchError::LookUp {
            command: command.to_string_lossy().into_owned(),
            message,
        }
    })?;
    Ok(Launch {
        app_dir: inputs.app_dir.clone(),
        directory: Some(working_directory(chosen, inputs)),
        program,
        argv: chosen.command.iter().chain(&chosen.args).cloned().collect(),
        env: env.into_list(),
        what: "direct exec",
    })
}

/// Returns the working directory as written, or the application's.
pub(super) fn working_directory(chosen: &Chosen, inputs: &LaunchInputs) -> PathBuf {
    if chosen.working_dir.is_empty() {
        inputs.app_dir.clone()
    } else {
        chosen.working_dir.clone().into()
    }
}

/// Says why a directory cannot be entered.
pub(super) fn enter(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOTDIR.raw_os_error()));
    }
    rustix::fs::access(directory, rustix::fs::Access::EXEC_OK).map_err(io::Error::from)
}

/// The layers of one buildpack.
struct Buildpack {
    directory: PathBuf,
    listing: Listing,
    /// In byte order of their names.
    layers: Vec<PathBuf>,
}

impl Buildpack {
    /// Returns a path beneath the buildpack's directory, looked up from there.
    fn at<'a>(&'a self, path: &'a Path) -> DirPath<'a> {
        self.listing.beneath(&self.directory, path)
    }
}

/// Returns the layers of each buildpack that has a directory.
fn buildpacks(metadata: &LaunchMetadata, inputs: &LaunchInputs) -> Result<Vec<Buildpack>, LaunchError> {
    // A relative directory is one beneath the application, which is the working directory by then.
    let layers_dir = if inputs.layers_dir.is_relative() {
        fs::canonicalize(&inputs.app_dir)
            .unwrap_or_else(|_| inputs.app_dir.clone())
            .join(&inputs.layers_dir)
    } else {
        inputs.layers_dir.clone()
    };
    let layers_dir = go_clean_path(&layers_dir);
    let mut all = Vec::new();
    for (id, _) in &metadata.buildpacks {
        let directory = layers_dir.join(BuildpackId::from(id.as_str()).escaped());
        match DirPath::from(&directory).list() {
            Ok(Some(listing)) => all.push(Buildpack {
                layers: listing.directories().map(|name| directory.join(name)).collect(),
                directory,
                listing,
            }),
            Ok(None) => {}
            Err(source) => {
                return Err(LaunchError::Layers {
                    directory,
                    source: source.into(),
                });
            }
        }
    }
    Ok(all)
}

/// Applies all layers to the environment and returns them in order. The buildpacks' directories are closed then: programs of
/// `exec.d` get a descriptor that those would be in the way of.
fn apply_layers(
    env: &mut Environment,
    buildpacks: Vec<Buildpack>,
    kind: Option<&str>,
) -> Result<Vec<PathBuf>, LaunchError> {
    for buildpack in &buildpacks {
        for layer in &buildpack.layers {
            env.apply_layer_root(buildpack.at(layer), LayerUse::Launch)
                .map_err(|source| LaunchError::Environment {
                    what: "add layer root",
                    source,
                })?;
        }
        for layer in &buildpack.layers {
            apply_files(env, buildpack, layer, kind).map_err(|source| LaunchError::Environment {
                what: "add layer env",
                source,
            })?;
        }
    }
    Ok(buildpacks.into_iter().flat_map(|buildpack| buildpack.layers).collect())
}

/// Applies the environment files of a layer: those for all phases, those for launch, those for this type of process.
fn apply_files(
    env: &mut Environment,
    buildpack: &Buildpack,
    layer: &Path,
    kind: Option<&str>,
) -> Result<(), EnvFileError> {
    env.apply(buildpack.at(&layer.join("env")), Action::Override)?;
    let launch = layer.join("env.launch");
    let there = env.apply(buildpack.at(&launch), Action::Override)?;
    if let Some(kind) = kind.filter(|_| there) {
        env.apply(buildpack.at(&launch.join(kind)), Action::Override)?;
    }
    Ok(())
}

/// Returns the files of `directory`, then those of `directory/<kind>`, each in byte order.
fn files(directory: &Path, kind: Option<&str>, what: &'static str) -> Result<Vec<PathBuf>, LaunchError> {
    let mut files = Vec::new();
    let of_kind = kind.map(|kind| directory.join(kind));
    for directory in [Some(directory), of_kind.as_deref()].into_iter().flatten() {
        match DirPath::from(directory).list() {
            Ok(Some(listing)) => files.extend(listing.files().map(|name| directory.join(name))),
            // Nor is there anything beneath it.
            Ok(None) => break,
            Err(source) => {
                return Err(LaunchError::List {
                    what,
                    directory: directory.to_owned(),
                    source: source.into(),
                });
            }
        }
    }
    Ok(files)
}

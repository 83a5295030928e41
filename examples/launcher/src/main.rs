//! Starts a process of a built image: the entry point of every image that the lifecycle exports.
#![forbid(unsafe_code)]

#[cfg(test)]
#[path = "../tests/case/mod.rs"]
mod case;
#[cfg(test)]
mod replay;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cnb_build::launch::{ExecD, HostExecD, Launch, LaunchInputs, LaunchMetadata, base_environment, choose, prepare};
use cnb_detect::{Environment, os_text};
use cnb_order::{ApiVersion, BUILDPACK_APIS, PLATFORM_APIS};

fn main() -> ExitCode {
    let container = Environment::of(container_environment());
    let colour = !matches!(
        text(&container, "CNB_NO_COLOR").as_str(),
        "1" | "t" | "T" | "TRUE" | "true" | "True"
    );
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let mut warn = |line: &str| say("Warning: ", "33;1", line, colour);
    let (code, message) = match plan(&container, argv0, &args, &HostExecD, &mut warn) {
        // Returns only when the process could not be started.
        Ok(launch) => failed_to_launch(launch.exec()),
        Err(failure) => failure,
    };
    say("ERROR: ", "31;1", &message, colour);
    ExitCode::from(code)
}

fn failed_to_launch(error: impl std::fmt::Display) -> (u8, String) {
    (82, format!("failed to launch: {error}"))
}

/// Says what to execute, or with which code and message to end; `exec.d` programs are run on the way.
fn plan(
    container: &Environment,
    argv0: OsString,
    args: &[OsString],
    exec_d: &dyn ExecD,
    warn: &mut dyn FnMut(&str),
) -> Result<Launch, (u8, String)> {
    let platform_api = platform_api(container).map_err(|message| (11, message))?;
    let directory = |name: &str, default: &str| match container.get(name) {
        Some(value) if !value.is_empty() => PathBuf::from(value),
        _ => PathBuf::from(default),
    };
    let layers_dir = directory("CNB_LAYERS_DIR", "/layers");
    let metadata = read_metadata(&layers_dir).map_err(|message| (1, format!("failed to read metadata: {message}")))?;
    check_buildpack_apis(&metadata).map_err(|message| (12, message))?;
    if let Some(kind) = container.get("CNB_PROCESS_TYPE").filter(|kind| !kind.is_empty()) {
        let kind = kind.to_string_lossy();
        warn(&format!(
            "CNB_PROCESS_TYPE is not supported in Platform API {platform_api}"
        ));
        warn(&format!(
            "Run with ENTRYPOINT '{kind}' to invoke the '{kind}' process type"
        ));
    }
    let exec_env = match text(container, "CNB_EXEC_ENV") {
        exec_env if exec_env.is_empty() => "production".to_owned(),
        exec_env => exec_env,
    };
    choose(&metadata, platform_api, &exec_env, &argv0, args)
        .and_then(|chosen| {
            let inputs = LaunchInputs {
                layers_dir,
                app_dir: directory("CNB_APP_DIR", "/workspace"),
                argv0,
                env: base_environment(container.clone().into_list()),
            };
            prepare(&metadata, &chosen, &inputs, exec_d)
        })
        .map_err(failed_to_launch)
}

fn platform_api(container: &Environment) -> Result<ApiVersion, String> {
    let asked = text(container, "CNB_PLATFORM_API");
    if asked.trim().is_empty() {
        return Err(
            "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API \
                    version"
                .to_owned(),
        );
    }
    match asked.parse::<ApiVersion>() {
        Err(_) => Err(format!("failed to parse platform API '{asked}'")),
        Ok(api) if PLATFORM_APIS.supports(api) => Ok(api),
        Ok(_) => Err(format!(
            "failed to set platform API: platform API version '{asked}' is incompatible with the lifecycle"
        )),
    }
}

fn read_metadata(layers_dir: &Path) -> Result<LaunchMetadata, String> {
    let path = layers_dir.join("config/metadata.toml");
    let bytes = std::fs::read(&path).map_err(|error| {
        let verb = if error.kind() == ErrorKind::IsADirectory {
            "read"
        } else {
            "open"
        };
        format!("{verb} {}: {}", path.display(), os_text(&error))
    })?;
    let text = String::from_utf8(bytes).map_err(|_| "toml: invalid UTF-8".to_owned())?;
    LaunchMetadata::from_toml(&text).map_err(|error| error.to_string())
}

fn check_buildpack_apis(metadata: &LaunchMetadata) -> Result<(), String> {
    for (id, api) in &metadata.buildpacks {
        match api.parse::<ApiVersion>() {
            Err(_) => return Err(format!("failed to parse buildpack API '<nil>' for buildpack '{id}'")),
            Ok(version) if BUILDPACK_APIS.supports(version) => {}
            Ok(_) => {
                return Err(format!(
                    "failed to set API for buildpack '{id}': buildpack API version '{api}' is incompatible with the lifecycle"
                ));
            }
        }
    }
    Ok(())
}

/// The environment as the kernel passed it, with empty names; without `/proc`, as the standard library sees it.
fn container_environment() -> Vec<(OsString, OsString)> {
    // The kernel does not say how long it is.
    let mut raw = Vec::with_capacity(16 * 1024);
    match File::open("/proc/self/environ").and_then(|mut file| file.read_to_end(&mut raw)) {
        Ok(_) => entries(&raw),
        Err(_) => std::env::vars_os().collect(),
    }
}

/// Reads the kernel's form of an environment: `name=value`, each with a NUL behind it.
fn entries(raw: &[u8]) -> Vec<(OsString, OsString)> {
    let entry = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        Some((
            OsString::from_vec(entry[..at].to_vec()),
            OsString::from_vec(entry[at + 1..].to_vec()),
        ))
    };
    raw.split(|byte| *byte == 0).filter_map(entry).collect()
}

fn text(env: &Environment, name: &str) -> String {
    String::from_utf8_lossy(env.get(name).unwrap_or(OsStr::new("")).as_bytes()).into_owned()
}

fn say(prefix: &str, style: &str, line: &str, colour: bool) {
    let line = if colour {
        format!("\u{1b}[{style}m{prefix}\u{1b}[0m{line}\n")
    } else {
        format!("{prefix}{line}\n")
    };
    // Nobody is left to tell when standard output is gone.
    let _ = std::io::stdout().write_all(line.as_bytes());
}

//! What the phases that handle images share.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use cnb_layers::phase::{Log, LogLevel, os_error_text};
use cnb_layers::{Compression, Platform, Reference};

use crate::api::PlatformApi;
use crate::env::Env;
use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::{Level, Logger};
use crate::privileges;

impl Log for Logger {
    fn line(&self, level: LogLevel, text: &str) {
        let level = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warn => Level::Warn,
            LogLevel::Error => Level::Error,
        };
        if level == Level::Info && text.starts_with("Saving ") {
            self.start_saving(text);
        }
        Self::line(self, level, text);
        if level == Level::Debug && text.starts_with("\n*** Manifest Size: ") {
            self.stop_saving();
        }
    }
}

/// Returns the platform API in the terms of the library.
pub(crate) fn api(api: PlatformApi) -> cnb_layers::phase::PlatformApi {
    cnb_layers::phase::PlatformApi::new(api.minor()).expect("both know the same versions")
}

/// Returns the machine to choose images of an index for: this one.
pub(crate) fn platform() -> Platform {
    Platform::linux(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    })
}

/// Returns how many things this machine does at once.
pub(crate) fn parallelism() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Returns how layers are compressed, those of images and those that only a cache image has.
pub(crate) fn compression() -> Compression {
    Compression {
        threads: parallelism().get(),
        ..Compression::default()
    }
}

/// Returns a failure of the inputs.
pub(crate) fn inputs_failure(reason: impl std::fmt::Display) -> Failure {
    Failure::because(code::INVALID_ARGS, "resolve inputs", reason)
}

/// Takes the run image that was given by the old name of its flag, which wins over the environment.
pub(crate) fn take_deprecated_image(inputs: &mut Inputs, env: &Env) -> Result<(), Failure> {
    if inputs.deprecated_image.is_empty() {
        return Ok(());
    }
    let by_env = inputs.run_image == env.text("CNB_RUN_IMAGE").unwrap_or_default();
    if !inputs.run_image.is_empty() && !by_env {
        return Err(inputs_failure("supply only one of -run-image or (deprecated) -image"));
    }
    inputs.run_image = std::mem::take(&mut inputs.deprecated_image);
    Ok(())
}

/// Parses the name of an image.
pub(crate) fn parse(name: &str) -> Result<Reference, Failure> {
    Reference::parse(name).map_err(|_| inputs_failure(format_args!("could not parse reference: {name}")))
}

/// Returns the name of the image to make, which must be given.
pub(crate) fn output(inputs: &Inputs) -> Result<&str, Failure> {
    let output = inputs.positional.first().map_or("", String::as_str);
    if output.is_empty() {
        return Err(inputs_failure("image argument is required"));
    }
    Ok(output)
}

/// Checks that all names are those of images, and that those to be written are on one registry.
pub(crate) fn check_names<'a>(written: &[String], others: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
    let written: Vec<_> = written.iter().map(|name| parse(name)).collect::<Result<_, _>>()?;
    for name in others.into_iter().filter(|name| !name.is_empty()) {
        parse(name)?;
    }
    if written
        .iter()
        .any(|reference| reference.registry() != written[0].registry())
    {
        return Err(inputs_failure("writing to multiple registries is unsupported"));
    }
    Ok(())
}

/// Refuses what this lifecycle does not do.
pub(crate) fn refuse_daemon(inputs: &Inputs) -> Result<(), Failure> {
    if inputs.daemon {
        return Err(Failure::new(
            code::FAILED,
            "exporting to a docker daemon is not supported; export to a registry and pull the image",
        ));
    }
    Ok(())
}

/// Refuses experimental things unless the platform allows them.
pub(crate) fn check_experiments(inputs: &Inputs, env: &Env, log: &Logger) -> Result<(), Failure> {
    if inputs.layout {
        crate::detector::allow_experiment("export to OCI layout format", env, log)?;
    }
    Ok(())
}

/// Hands the directories to the user of the build and becomes that user.
pub(crate) fn drop_privileges(inputs: &Inputs, directories: &[&Path]) -> Result<(), Failure> {
    privileges::hand_over(directories, inputs.uid, inputs.gid).map_err(|(path, error)| {
        let reason = format!("chown {}: {}", path.display(), os_error_text(&error));
        Failure::because(code::FAILED, "chown volumes", reason)
    })?;
    privileges::become_user(inputs.uid, inputs.gid).map_err(|error| {
        let action = format!("exec as user {}:{}", inputs.uid, inputs.gid);
        Failure::because(code::FAILED, &action, os_error_text(&error))
    })
}

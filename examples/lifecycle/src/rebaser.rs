//! Puts an image onto another base.

use std::thread;

use cnb_layers::rebase::{RebaseError, RebaseInputs, rebase};

use crate::detector::Timer;
use crate::env::Env;
use crate::failure::{Failure, code, with_causes};
use crate::inputs::Inputs;
use crate::logger::Logger;
use crate::{files, images, phase};

/// Runs the rebaser with its inputs.
pub(crate) fn run(mut inputs: Inputs, env: &Env, log: &Logger) -> Result<(), Failure> {
    if inputs.positional.is_empty() {
        let reason = "at least one image argument is required";
        return Err(Failure::because(code::INVALID_ARGS, "parse arguments", reason));
    }
    phase::refuse_daemon(&inputs)?;
    phase::take_deprecated_image(&mut inputs, env)?;
    let output = phase::output(&inputs)?.to_owned();
    if inputs.previous_image.is_empty() {
        inputs.previous_image = output;
    }
    let others = [inputs.previous_image.as_str(), inputs.run_image.as_str()];
    phase::check_names(&inputs.positional, others)?;
    let registries = images::registries(&inputs, env)?;
    log.debug("Ensuring privileges...");
    phase::drop_privileges(&inputs, &[])?;
    log.debug("Executing command...");
    let timer = Timer::start("Rebaser", log);
    let platform = phase::platform();
    let rebasing = RebaseInputs {
        api: phase::api(inputs.api),
        app: &inputs.previous_image,
        names: &inputs.positional,
        run_image: Some(inputs.run_image.as_str()).filter(|name| !name.is_empty()),
        force: inputs.force && inputs.api.at_least(12),
        platform: &platform,
        wait: &thread::sleep,
    };
    let rebased = rebase(&rebasing, &registries, &registries, registries.client(), log);
    timer.stop(log);
    let report = rebased.map_err(|error| explain(&error))?;
    let written = files::write(&inputs.report, "report", &report.to_toml());
    written.map_err(|problem| Failure::because(code::REBASE, "write rebase report", problem))
}

fn explain(error: &RebaseError) -> Failure {
    let action = match error {
        RebaseError::RunImage(_) => return Failure::new(code::FAILED, with_causes(error)),
        RebaseError::NoApp
        | RebaseError::ReadApp(_)
        | RebaseError::Label { .. }
        | RebaseError::NoRunImageName
        | RebaseError::NoAccessibleRunImage => "set app image",
        _ => "rebase",
    };
    Failure::of(code::REBASE, action, error)
}

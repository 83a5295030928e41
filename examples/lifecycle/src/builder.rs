//! Build: runs the buildpacks of the group and writes metadata.toml.

use std::fs;
use std::path::Path;

use cnb_build::{BuildInputs, BuildMetadata};
use cnb_detect::{ModuleStore, read_problem};
use cnb_order::{ApiVersion, DetectedGroup, Plan, toml_text};

use crate::detector::{
    PhaseLog, Timer, base_environment, base_target, check_group_apis, read_analyzed, temp_dir, write,
};
use crate::env::Env;
use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::Logger;
use crate::signals::Signals;

/// Runs the builder with its inputs.
pub(crate) fn run(inputs: Inputs, env: &Env, signals: &Signals, log: &Logger) -> Result<(), Failure> {
    if !inputs.positional.is_empty() {
        return Err(Failure::because(
            code::INVALID_ARGS,
            "parse arguments",
            "received unexpected arguments",
        ));
    }
    log.debug("Ensuring privileges...");
    if rustix::process::getuid().is_root() {
        return Err(Failure::because(code::FAILED, "build", "refusing to run as root"));
    }
    log.debug("Executing command...");
    let group = read(&inputs.group, "group", DetectedGroup::from_toml)?;
    let plan = read(&inputs.plan, "plan", Plan::from_toml)?;
    check_group_apis(&group.buildpacks)?;
    build(&inputs, env, group, plan, signals, log).map(|_| ())
}

/// Builds a group and writes metadata.toml.
pub(crate) fn build(
    inputs: &Inputs,
    env: &Env,
    group: DetectedGroup,
    plan: Plan,
    signals: &Signals,
    log: &Logger,
) -> Result<BuildMetadata, Failure> {
    let analyzed = read_analyzed(&inputs.analyzed, log)
        .map_err(|reason| Failure::because(code::FAILED, "reading analyzed.toml", reason))?;
    let platform_api = ApiVersion::new(0, inputs.api.minor());
    let build_inputs = BuildInputs {
        layers_dir: inputs.layers.clone(),
        app_dir: inputs.app.clone(),
        platform_dir: inputs.platform.clone(),
        build_config_dir: Some(inputs.build_config.clone()),
        temp_dir: temp_dir(env),
        platform_api,
        exec_env: inputs.exec_env.clone(),
        env: base_environment(env),
        target: base_target(&analyzed),
    };
    let modules = ModuleStore::new(&inputs.buildpacks, &inputs.extensions);
    let timer = Timer::start("Builder", log);
    let mut lines = PhaseLog(log.clone());
    let built = signals.run(|runner| cnb_build::build(&group, plan, &build_inputs, &modules, runner, &mut lines));
    timer.stop(log);
    let metadata = built?.map_err(|error| Failure::because(error.exit_code(), "build", error))?;
    write(
        "metadata",
        &inputs.layers.join("config/metadata.toml"),
        &metadata.to_toml(platform_api),
    )?;
    Ok(metadata)
}

fn read<T>(path: &Path, what: &str, parse: impl Fn(&str) -> Result<T, cnb_order::DecodeError>) -> Result<T, Failure> {
    let failed = |reason: String| Failure::because(code::FAILED, &format!("read {what} file"), reason);
    let bytes = fs::read(path).map_err(|error| failed(read_problem(path, &error)))?;
    let parsed = toml_text(&bytes).and_then(parse);
    parsed.map_err(|error| failed(error.to_string()))
}

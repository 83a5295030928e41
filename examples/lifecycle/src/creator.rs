//! All phases of a build in one process.

use std::fs;

use cnb_layers::Seals;

use crate::env::Env;
use crate::exporter::Built;
use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::Logger;
use crate::signals::Signals;
use crate::{analyzer, builder, caches, detector, exporter, files, images, phase, restorer};

/// The exit code for a group that the creator cannot build.
const DETECT: i32 = 22;

/// Runs the creator with its inputs.
pub(crate) fn run(mut inputs: Inputs, env: &Env, signals: &Signals, log: &Logger) -> Result<(), Failure> {
    if inputs.positional.len() != 1 {
        let reason = format!("received {} arguments, but expected 1", inputs.positional.len());
        return Err(Failure::because(code::INVALID_ARGS, "parse arguments", reason));
    }
    phase::refuse_daemon(&inputs)?;
    phase::check_experiments(&inputs, env, log)?;
    let registries = images::registries(&inputs, env)?;
    phase::take_deprecated_image(&mut inputs, env)?;
    analyzer::fill(&mut inputs, &registries, log)?;
    caches::warn_without_cache(&inputs, log);
    let names = analyzer::check(&mut inputs, log)?;
    caches::warn_when_parallel_is_useless(&inputs, log);
    log.debug("Ensuring privileges...");
    let mut directories = Vec::new();
    directories.extend(inputs.cache_dir.as_deref());
    directories.extend(inputs.launch_cache.as_deref());
    directories.push(inputs.layers.as_path());
    phase::drop_privileges(&inputs, &directories)?;
    let env = home(&inputs, env)?;
    log.debug("Executing command...");
    let cache = caches::open(&inputs, &registries, log)?;

    log.phase("ANALYZING");
    let mut analyzed = analyzer::read(&inputs, &names, &registries, log)?;
    analyzer::write(&inputs, &analyzed, log)?;
    if let Some(image) = &mut analyzed.run_image
        && image.reference.is_empty()
    {
        // It may be pushed while the buildpacks run.
        image.reference.clone_from(&inputs.run_image);
    }

    log.phase("DETECTING");
    let detected = detector::select(&inputs, &env, signals, log, false)?;
    if !detected.group.extensions.is_empty() {
        let reason = "detected order contains extensions which is not supported by the creator";
        return Err(Failure::because(DETECT, "detect", reason));
    }
    let group = files::group(&inputs.group)?;

    let seals = inputs.trust_timestamps.then(Seals::new);
    if !inputs.skip_layers || inputs.api.at_least(10) {
        log.phase("RESTORING");
        restorer::bring_back(&inputs, &group, &analyzed, cache.as_deref(), seals.as_ref(), log)?;
    }

    log.phase("BUILDING");
    builder::build(&inputs, &env, detected.group, detected.plan, signals, log)?;

    log.phase("EXPORTING");
    let project = files::project(&inputs.project_metadata, log)?;
    let built = Built {
        names,
        group,
        analyzed,
        project,
        seals,
    };
    exporter::write_images(&inputs, &built, &env, &registries, cache.as_deref(), log)
}

/// Returns the environment with the home and the name of the user that the process has become.
fn home(inputs: &Inputs, env: &Env) -> Result<Env, Failure> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = inputs.uid.to_string();
    let entry = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, id, _, _, home, ..] if *id == uid => Some((*name, *home)),
            _ => None,
        }
    });
    let (name, home) = entry.ok_or_else(|| {
        let action = format!("set environment for user {uid}");
        Failure::because(code::FAILED, &action, format_args!("user: unknown userid {uid}"))
    })?;
    Ok(env.clone().with("HOME", home).with("USER", name))
}

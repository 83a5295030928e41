//! Reads the previous image and checks access to the registries.

use cnb_layers::analyze::{AnalyzeInputs, analyze, choose_run_image, choose_stack_run_image};
use cnb_layers::metadata::Analyzed;
use cnb_layers::phase::Home;
use cnb_layers::{AllowAll, LayoutImages, RegistryAccess, RegistryStore};
use std::path::Path;

use crate::detector::Timer;
use crate::env::Env;
use crate::failure::{Failure, code};
use crate::inputs::Inputs;
use crate::logger::{Level, Logger};
use crate::{caches, files, images, phase};

/// Runs the analyzer with its inputs.
pub(crate) fn run(mut inputs: Inputs, env: &Env, log: &Logger) -> Result<(), Failure> {
    if inputs.positional.len() != 1 {
        let reason = format!("received {} arguments, but expected 1", inputs.positional.len());
        return Err(Failure::because(code::INVALID_ARGS, "parse arguments", reason));
    }
    phase::refuse_daemon(&inputs)?;
    phase::check_experiments(&inputs, env, log)?;
    let registries = images::registries(&inputs, env)?;
    fill(&mut inputs, &registries, log)?;
    let names = check(&mut inputs, log)?;
    log.debug("Ensuring privileges...");
    let mut directories = vec![inputs.layers.as_path()];
    directories.extend(inputs.launch_cache.as_deref());
    phase::drop_privileges(&inputs, &directories)?;
    log.debug("Executing command...");
    let analyzed = read(&inputs, &names, &registries, log)?;
    write(&inputs, &analyzed, log)
}

/// Fills in the images that were not given.
pub(crate) fn fill(inputs: &mut Inputs, registries: &RegistryStore, log: &Logger) -> Result<(), Failure> {
    let output = phase::output(inputs)?.to_owned();
    if inputs.previous_image.is_empty() {
        inputs.previous_image.clone_from(&output);
    }
    if inputs.run_image.is_empty() {
        inputs.run_image = run_image(inputs, &output, registries, log)?;
    }
    Ok(())
}

/// Checks the names of all images and returns those that will be written.
pub(crate) fn check(inputs: &mut Inputs, log: &Logger) -> Result<Vec<String>, Failure> {
    caches::warn_of_launch_cache(inputs, log);
    let names: Vec<String> = inputs.positional.iter().chain(&inputs.tags).cloned().collect();
    let others = [&inputs.previous_image, &inputs.run_image, &inputs.cache_image];
    phase::check_names(&names, others.into_iter().map(String::as_str))?;
    if !is_layout(inputs) {
        return Ok(names);
    }
    inputs.previous_image = images::layout_path(inputs, &inputs.previous_image)?;
    inputs.run_image = images::layout_path(inputs, &inputs.run_image)?;
    names.iter().map(|name| images::layout_path(inputs, name)).collect()
}

/// Returns whether the images are on disk. Without a directory for them the analyzer looks into registries.
fn is_layout(inputs: &Inputs) -> bool {
    inputs.layout && !inputs.layout_dir.as_os_str().is_empty()
}

fn run_image(inputs: &Inputs, output: &str, registries: &RegistryStore, log: &Logger) -> Result<String, Failure> {
    let output = phase::parse(output)?;
    let access: &dyn RegistryAccess = if is_layout(inputs) {
        &AllowAll
    } else {
        registries.client()
    };
    let chosen = if inputs.api.at_least(12) {
        let run = files::run_toml(&inputs.run, log).map_err(phase::inputs_failure)?;
        choose_run_image(&run, &output, access)
    } else {
        let stack = files::stack_toml(&inputs.stack, log).map_err(phase::inputs_failure)?;
        choose_stack_run_image(&stack, &output, access)
    };
    chosen.map_err(phase::inputs_failure)
}

/// Reads the images.
pub(crate) fn read(
    inputs: &Inputs,
    names: &[String],
    registries: &RegistryStore,
    log: &Logger,
) -> Result<Analyzed, Failure> {
    let timer = Timer::start("Analyzer", log);
    let platform = phase::platform();
    let analysis = AnalyzeInputs {
        api: phase::api(inputs.api),
        names,
        previous_image: &inputs.previous_image,
        run_image: &inputs.run_image,
        cache_image: Some(inputs.cache_image.as_str()).filter(|name| !name.is_empty()),
        skip_layers: inputs.skip_layers,
        layers_dir: &inputs.layers,
        root: Path::new("/"),
        platform: &platform,
        home: if is_layout(inputs) {
            Home::Layout { ref_name: "" }
        } else {
            Home::Registry
        },
    };
    let analyzed = if is_layout(inputs) {
        let cache = (!inputs.cache_image.is_empty()).then_some(inputs.cache_image.as_str());
        let access = images::CacheAccess::new(cache, registries.client());
        analyze(&analysis, &LayoutImages, &LayoutImages, &access, log)
    } else {
        analyze(&analysis, registries, registries, registries.client(), log)
    };
    let analyzed = analyzed.map_err(|error| Failure::of(code::ANALYZE, error.action(), &error));
    timer.stop(log);
    analyzed
}

/// Writes analyzed.toml.
pub(crate) fn write(inputs: &Inputs, analyzed: &Analyzed, log: &Logger) -> Result<(), Failure> {
    if log.shows(Level::Debug) {
        log.debug("Run image info in analyzed metadata is: ");
        log.debug(describe(analyzed));
    }
    let text = analyzed.to_toml();
    let text = text.map_err(|error| format!("failed to write analyzed file: {error}"));
    let written = text.and_then(|text| files::write(&inputs.analyzed, "analyzed", &text));
    written.map_err(|problem| Failure::new(code::FAILED, problem))
}

fn describe(analyzed: &Analyzed) -> String {
    let Some(image) = &analyzed.run_image else {
        return "null".to_owned();
    };
    let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let target = image
        .target
        .as_ref()
        .and_then(|target| serde_json::to_string(target).ok());
    let target = target.map_or_else(String::new, |target| format!(",\"target\":{target}"));
    format!(
        "{{\"Reference\":{},\"Image\":{},\"Extend\":{}{target}}}",
        json(&image.reference),
        json(&image.image),
        image.extend
    )
}

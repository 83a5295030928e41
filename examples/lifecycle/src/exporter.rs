//! Makes the image and the cache of the next build.

use std::path::Path;
use std::thread;

use cnb_layers::cache::{Cache, CacheError};
use cnb_layers::export::{Export, ExportError, ExportInputs, SbomFiles, export_cache, run_image_names};
use cnb_layers::metadata::{Analyzed, BuildMetadata, Group, LauncherVersion, ProjectMetadata, Report, RunImageNames};
use cnb_layers::phase::{Home, Log, MemoryLog};
use cnb_layers::{ImageSource, ImageTarget, LayoutImages, Parents, Platform, RegistryStore, Seals, Timestamp};

use crate::detector::Timer;
use crate::env::Env;
use crate::failure::{Failure, code, with_causes};
use crate::inputs::Inputs;
use crate::logger::Logger;
use crate::{caches, files, images, phase};

/// Runs the exporter with its inputs.
pub(crate) fn run(inputs: Inputs, env: &Env, log: &Logger) -> Result<(), Failure> {
    if inputs.positional.is_empty() {
        let reason = "at least one image argument is required";
        return Err(Failure::because(code::INVALID_ARGS, "parse arguments", reason));
    }
    phase::refuse_daemon(&inputs)?;
    let analyzed = resolve(&inputs, env, log)?;
    phase::check_experiments(&inputs, env, log)?;
    let group = files::group(&inputs.group)?;
    files::check_buildpack_apis(&group)?;
    let project = files::project(&inputs.project_metadata, log)?;
    log.debug("Ensuring privileges...");
    let registries = images::registries(&inputs, env)?;
    let mut directories = vec![inputs.layers.as_path()];
    directories.extend(inputs.cache_dir.as_deref());
    directories.extend(inputs.launch_cache.as_deref());
    phase::drop_privileges(&inputs, &directories)?;
    log.debug("Executing command...");
    let cache = caches::open(&inputs, &registries, log)?;
    let names = if inputs.layout {
        let paths = inputs.positional.iter().map(|name| images::layout_path(&inputs, name));
        paths.collect::<Result<_, _>>()?
    } else {
        inputs.positional.clone()
    };
    write_images(
        &inputs,
        &Built {
            names,
            group,
            analyzed,
            project,
            seals: None,
        },
        env,
        &registries,
        cache.as_deref(),
        log,
    )
}

fn resolve(inputs: &Inputs, env: &Env, log: &Logger) -> Result<Analyzed, Failure> {
    if !inputs.deprecated_image.is_empty() {
        return Err(phase::inputs_failure("-image is unsupported"));
    }
    if inputs.run_image != env.text("CNB_RUN_IMAGE").unwrap_or_default() {
        return Err(phase::inputs_failure("-run-image is unsupported"));
    }
    phase::output(inputs)?;
    let analyzed = files::analyzed(&inputs.analyzed, log)
        .map_err(phase::inputs_failure)?
        .unwrap_or_default();
    let run_image = analyzed.run_image.as_ref().map_or("", |image| &image.reference);
    if run_image.is_empty() {
        return Err(phase::inputs_failure("run image not found in analyzed metadata"));
    }
    caches::warn_without_cache(inputs, log);
    caches::warn_of_launch_cache(inputs, log);
    phase::check_names(&inputs.positional, [run_image, &inputs.cache_image])?;
    Ok(analyzed)
}

/// What the phases before have left for the exporter.
pub(crate) struct Built {
    pub(crate) names: Vec<String>,
    pub(crate) group: Group,
    pub(crate) analyzed: Analyzed,
    pub(crate) project: ProjectMetadata,
    /// Which layers were restored in this run, if that is to spare reading them.
    pub(crate) seals: Option<Seals>,
}

/// Writes the image, the report and the cache.
pub(crate) fn write_images(
    inputs: &Inputs,
    built: &Built,
    env: &Env,
    registries: &RegistryStore,
    cache: Option<&dyn Cache>,
    log: &Logger,
) -> Result<(), Failure> {
    let platform = phase::platform();
    // The names are paths by now.
    let ref_name = phase::parse(&inputs.positional[0])?.identifier();
    let home = if inputs.layout {
        Home::Layout { ref_name: &ref_name }
    } else {
        Home::Registry
    };
    let exporting = export_inputs(inputs, built, env, &platform, home, log)?;
    let mut export = open(inputs, exporting, registries, log)?;
    if let Some(seals) = &built.seals {
        export = export.with_seals(seals);
    }
    match cache {
        Some(cache) if inputs.parallel => run_beside_cache(inputs, &export, cache, log),
        cache => run_before_cache(inputs, &export, cache, log),
    }
}

/// Returns what the export works on.
fn export_inputs<'a>(
    inputs: &'a Inputs,
    built: &'a Built,
    env: &Env,
    platform: &'a Platform,
    home: Home<'a>,
    log: &Logger,
) -> Result<ExportInputs<'a>, Failure> {
    Ok(ExportInputs {
        api: phase::api(inputs.api),
        names: &built.names,
        analyzed: &built.analyzed,
        group: &built.group,
        project: &built.project,
        run_image_names: names_of_run_image(inputs, &built.analyzed, log)?,
        layers_dir: &inputs.layers,
        app_dir: &inputs.app,
        root: Path::new("/"),
        launcher: &inputs.launcher,
        launcher_version: launcher_version(),
        sbom: sbom(inputs),
        process_type: &inputs.process_type,
        exec_env: &inputs.exec_env,
        uid: inputs.uid,
        gid: inputs.gid,
        parents: Parents::OnDisk,
        created: created(inputs, env, log)?,
        compression: phase::compression(),
        platform,
        home,
        wait: &thread::sleep,
    })
}

/// Opens the images that the export works with.
fn open<'a>(
    inputs: &Inputs,
    exporting: ExportInputs<'a>,
    registries: &'a RegistryStore,
    log: &Logger,
) -> Result<Export<'a>, Failure> {
    let (source, target): (&dyn ImageSource, &dyn ImageTarget) = if inputs.layout {
        (&LayoutImages, &LayoutImages)
    } else {
        (registries, registries)
    };
    let names = exporting.names;
    let export = Export::open(exporting, source, target, log).map_err(|error| match error {
        ExportError::Base(_) if inputs.layout => {
            let reason = format!("get run image top layer SHA: {}", with_causes(&error));
            Failure::because(code::EXPORT, "export", reason)
        }
        error => Failure::because(code::FAILED, "create new app image", with_causes(&error)),
    })?;
    if inputs.layout {
        log.info(format_args!("Using app image: {}", names[0]));
    } else if inputs.api.at_least(12) {
        return export
            .with_extended_run_image(&inputs.extended.join("run"))
            .map_err(|error| explain(&error));
    }
    Ok(export)
}

/// Makes the image, then the cache if there is one.
fn run_before_cache(
    inputs: &Inputs,
    export: &Export<'_>,
    cache: Option<&dyn Cache>,
    log: &Logger,
) -> Result<(), Failure> {
    let timer = Timer::start("Exporter", log);
    let exported = export.run(log);
    timer.stop(log);
    write_report(inputs, &exported.map_err(|error| explain(&error))?)?;
    if let Some(cache) = cache {
        warn_of_cache(fill(export, cache, log), log);
    }
    Ok(())
}

/// Makes the image and the cache at the same time.
fn run_beside_cache(inputs: &Inputs, export: &Export<'_>, cache: &dyn Cache, log: &Logger) -> Result<(), Failure> {
    let timer = Timer::start("Exporter", log);
    // Its lines come when those of the export have come.
    let cache_log = MemoryLog::default();
    let (exported, cached) = export.run_beside(|| fill(export, cache, &cache_log), log);
    timer.stop(log);
    for (level, line) in cache_log.lines() {
        Log::line(log, level, &line);
    }
    write_report(inputs, &exported.map_err(|error| explain(&error))?)?;
    warn_of_cache(cached, log);
    Ok(())
}

fn fill(export: &Export<'_>, cache: &dyn Cache, log: &dyn Log) -> Result<(), CacheError> {
    let timer = Timer::start("Cache", log);
    let cached = export_cache(export, cache, log);
    timer.stop(log);
    cached
}

fn warn_of_cache(cached: Result<(), CacheError>, log: &Logger) {
    if let Err(error) = cached {
        log.warn(format_args!("Failed to export cache: {}", with_causes(&error)));
    }
}

fn explain(error: &ExportError) -> Failure {
    Failure::of(code::EXPORT, "export", error)
}

fn write_report(inputs: &Inputs, report: &Report) -> Result<(), Failure> {
    let written = files::write(&inputs.report, "report", &report.to_toml());
    written.map_err(|problem| Failure::because(code::EXPORT, "write export report", problem))
}

/// Returns what the image says about where new versions of its base can be found.
fn names_of_run_image(inputs: &Inputs, analyzed: &Analyzed, log: &Logger) -> Result<RunImageNames, Failure> {
    let failed = |problem| Failure::new(code::FAILED, problem);
    if !inputs.api.at_least(12) {
        return Ok(files::stack_toml(&inputs.stack, log).map_err(failed)?.run_image);
    }
    let run = files::run_toml(&inputs.run, log).map_err(failed)?;
    // The exporter reads it again and says then what is wrong with it.
    let metadata = std::fs::read_to_string(inputs.layers.join("config/metadata.toml")).unwrap_or_default();
    let has_extensions = BuildMetadata::from_toml(&metadata).is_ok_and(|metadata| metadata.has_extensions());
    Ok(run_image_names(&run, analyzed, has_extensions))
}

fn sbom(inputs: &Inputs) -> SbomFiles<'_> {
    let lifecycle = Path::new("/cnb/lifecycle");
    let launcher = inputs.launcher_sbom.as_path();
    SbomFiles {
        lifecycle,
        launcher: (launcher != lifecycle).then_some(launcher),
    }
}

/// Returns the time that the image carries: `SOURCE_DATE_EPOCH`, or one that is always the same.
fn created(inputs: &Inputs, env: &Env, log: &Logger) -> Result<Timestamp, Failure> {
    let Some(text) = env.text("SOURCE_DATE_EPOCH").filter(|_| inputs.api.at_least(9)) else {
        return Ok(Timestamp::reproducible());
    };
    let Ok(seconds) = text.parse() else {
        log.warn("Ignoring invalid SOURCE_DATE_EPOCH");
        return Ok(Timestamp::reproducible());
    };
    Timestamp::from_unix_seconds(seconds).map_err(|_| {
        let reason = format!("SOURCE_DATE_EPOCH is {seconds}: Time.MarshalJSON: year outside of range [0,9999]");
        Failure::because(code::EXPORT, "export", reason)
    })
}

fn launcher_version() -> LauncherVersion {
    LauncherVersion {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..LauncherVersion::default()
    }
}

//! Detect: chooses the group of buildpacks and writes group.toml and plan.toml.

use std::fs;
use std::path::Path;

use cnb_detect::{
    ApiError, BaseTarget, DetectError, DetectInputs, Detected, Environment, GenerateInputs, Log, ModuleStore, os_text,
    read_problem,
};
use cnb_layers::phase;
use cnb_order::{Analyzed, ApiVersion, Entry, ModuleKind, Order, RunInfo, SystemBuildpacks, toml_text};

use crate::env::Env;
use crate::failure::{Failure, code};
use crate::files;
use crate::inputs::Inputs;
use crate::logger::{Level, Logger};
use crate::signals::Signals;

/// Runs the detector with its inputs.
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
        return Err(Failure::because(code::FAILED, "detect", "refusing to run as root"));
    }
    log.debug("Executing command...");
    select(&inputs, env, signals, log, true).map(|_| ())
}

/// Selects the group and writes both files; `alone` when no other phase runs in this process.
pub(crate) fn select(
    inputs: &Inputs,
    env: &Env,
    signals: &Signals,
    log: &Logger,
    alone: bool,
) -> Result<Detected, Failure> {
    let init = |reason: String| Failure::because(code::FAILED, "initialize detector", reason);
    let mut lines = PhaseLog(log.clone());
    let analyzed = read_analyzed(&inputs.analyzed, log).map_err(init)?;
    let mut order = read_order(inputs).map_err(init)?;
    if inputs.api.at_least(15)
        && let Some(system) = read_system(&inputs.system, log).map_err(init)?
    {
        cnb_detect::merge_system(&mut order, &system, &mut lines);
    }
    let modules = ModuleStore::new(&inputs.buildpacks, &inputs.extensions);
    let groups = order.groups.iter().chain(&order.extensions);
    cnb_detect::check_apis(groups.flat_map(|group| &group.entries), &modules).map_err(|error| match error {
        ApiError::Lookup(error) => init(error.to_string()),
        error => Failure::new(code::BUILDPACK_API, error.to_string()),
    })?;
    if alone && !order.extensions.is_empty() && !inputs.api.at_least(13) {
        allow_experiment("Dockerfiles", env, log)?;
    }
    let detect_inputs = detect_inputs(inputs, env, &analyzed);
    let timer = Timer::start("Detector", log);
    let detected = signals.run(|runner| cnb_detect::detect(&order, &detect_inputs, &modules, runner, &mut lines));
    timer.stop(log);
    let detected = detected?.map_err(|error| explain(&error, log))?;
    write("group", &inputs.group, &detected.group.to_toml())?;
    write("plan", &inputs.plan, &detected.plan.to_toml())?;
    if alone && !detected.group.extensions.is_empty() {
        generate(inputs, env, analyzed, &detected, &modules, signals, log)?;
    }
    Ok(detected)
}

/// Runs the extensions, and writes what they change of both files.
fn generate(
    inputs: &Inputs,
    env: &Env,
    analyzed: Analyzed,
    detected: &Detected,
    modules: &ModuleStore,
    signals: &Signals,
    log: &Logger,
) -> Result<(), Failure> {
    let generate_inputs = GenerateInputs {
        app_dir: inputs.app.clone(),
        platform_dir: inputs.platform.clone(),
        build_config_dir: Some(inputs.build_config.clone()),
        generated_dir: inputs.generated.clone(),
        temp_dir: temp_dir(env),
        platform_api: ApiVersion::new(0, inputs.api.minor()),
        env: base_environment(env),
        target: base_target(&analyzed),
        run_images: read_run(&inputs.run, log)?,
    };
    let timer = Timer::start("Generator", log);
    let mut lines = PhaseLog(log.clone());
    let generated = signals.run(|runner| {
        cnb_detect::generate(
            &detected.group.extensions,
            detected.plan.clone(),
            analyzed,
            &generate_inputs,
            modules,
            runner,
            &mut lines,
        )
    });
    timer.stop(log);
    let generated = generated?.map_err(|error| Failure::because(error.exit_code(), "build", error))?;
    if let Some(run) = &generated.analyzed.run_image {
        let target = match &run.target {
            Some(target) => format!(",\"target\":{}", cnb_order::go_json_of(target).unwrap_or_default()),
            None => String::new(),
        };
        let text = |text: &str| cnb_order::go_json(&serde_json::Value::from(text));
        log.debug(format_args!(
            "Run image info in analyzed metadata is: \n{{\"Reference\":{},\"Image\":{},\"Extend\":{}{target}}}",
            text(&run.reference),
            text(&run.image),
            run.extend
        ));
    }
    write("analyzed", &inputs.analyzed, &generated.analyzed.to_toml())?;
    write("plan", &inputs.plan, &generated.plan.to_toml())
}

fn read_run(path: &Path, log: &Logger) -> Result<RunInfo, Failure> {
    let failed = |reason: String| Failure::because(code::FAILED, "read run file", reason);
    match read_text(path) {
        Ok(text) => RunInfo::from_toml(&text).map_err(|error| failed(error.to_string())),
        Err((std::io::ErrorKind::NotFound, _)) => {
            log.info(format_args!("No run metadata found at path \"{}\"", path.display()));
            Ok(RunInfo::default())
        }
        Err((_, message)) => Err(failed(message)),
    }
}

fn explain(error: &DetectError, log: &Logger) -> Failure {
    if matches!(
        error,
        DetectError::NoDetection { .. } | DetectError::ModulesFailed { .. }
    ) {
        log.error("No buildpack groups passed detection.");
    }
    if matches!(error, DetectError::NoDetection { .. }) {
        log.error("Please check that you are running against the correct path.");
    }
    Failure::because(error.exit_code(), "detect", error)
}

fn detect_inputs(inputs: &Inputs, env: &Env, analyzed: &Analyzed) -> DetectInputs {
    DetectInputs {
        app_dir: inputs.app.clone(),
        platform_dir: inputs.platform.clone(),
        build_config_dir: Some(inputs.build_config.clone()),
        temp_dir: temp_dir(env),
        platform_api: ApiVersion::new(0, inputs.api.minor()),
        exec_env: inputs.exec_env.clone(),
        env: base_environment(env),
        target: base_target(analyzed),
    }
}

/// Returns the directory for temporary files.
pub(crate) fn temp_dir(env: &Env) -> std::path::PathBuf {
    env.get("TMPDIR").map_or_else(|| "/tmp".into(), Into::into)
}

/// Returns those variables of this process that modules may see.
pub(crate) fn base_environment(env: &Env) -> Environment {
    Environment::inherited(env.iter().map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// Returns what the application will run on, as far as the analyzer and this machine know it.
pub(crate) fn base_target(analyzed: &Analyzed) -> BaseTarget {
    let os_release = fs::read("/etc/os-release")
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| format!("open /etc/os-release: {}", os_text(&error)));
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    BaseTarget::new(analyzed.target(), arch, os_release)
}

fn read_text(path: &Path) -> Result<String, (std::io::ErrorKind, String)> {
    let bytes = fs::read(path).map_err(|error| (error.kind(), read_problem(path, &error)))?;
    let text = toml_text(&bytes).map_err(|error| (std::io::ErrorKind::InvalidData, error.to_string()))?;
    Ok(text.to_owned())
}

/// Reads analyzed.toml; a missing file is a warning.
pub(crate) fn read_analyzed(path: &Path, log: &Logger) -> Result<Analyzed, String> {
    match read_text(path) {
        Ok(text) => Analyzed::from_toml(&text).map_err(|error| format!("failed to read analyzed file: {error}")),
        Err((std::io::ErrorKind::NotFound, _)) => {
            log.warn(format_args!(
                "No analyzed metadata found at path \"{}\"",
                path.display()
            ));
            Ok(Analyzed::default())
        }
        Err((_, message)) => Err(format!("failed to read analyzed file: {message}")),
    }
}

fn read_order(inputs: &Inputs) -> Result<Order, String> {
    let path = inputs.order_path(Path::exists);
    let wrap = |message: String| format!("reading order: failed to read order file: {message}");
    let text = read_text(&path).map_err(|(_, message)| wrap(message))?;
    Order::from_toml(&text).map_err(|error| wrap(error.to_string()))
}

fn read_system(path: &Path, log: &Logger) -> Result<Option<SystemBuildpacks>, String> {
    let wrap = |message: String| format!("reading system: failed to read system file: {message}");
    match read_text(path) {
        Ok(text) => SystemBuildpacks::from_toml(&text)
            .map(Some)
            .map_err(|error| wrap(error.to_string())),
        Err((std::io::ErrorKind::NotFound, _)) => {
            log.debug(format_args!(
                "No system buildpacks found at path \"{}\"",
                path.display()
            ));
            Ok(None)
        }
        Err((_, message)) => Err(wrap(message)),
    }
}

/// Refuses an experimental feature unless `CNB_EXPERIMENTAL_MODE` allows it.
pub(crate) fn allow_experiment(feature: &str, env: &Env, log: &Logger) -> Result<(), Failure> {
    let line = format!("Platform requested experimental feature '{feature}'");
    match env.text("CNB_EXPERIMENTAL_MODE").as_deref() {
        Some("quiet") => {}
        None | Some("error") => {
            log.error(line);
            return Err(Failure::new(
                code::FAILED,
                "experimental features are disabled by CNB_EXPERIMENTAL_MODE=error",
            ));
        }
        Some(_) => log.warn(line),
    }
    Ok(())
}

/// Checks the APIs that group.toml gives.
pub(crate) fn check_group_apis(entries: &[Entry]) -> Result<(), Failure> {
    for entry in entries {
        let name = entry.full_name();
        let kind = if entry.kind == ModuleKind::Buildpack {
            "buildpack"
        } else {
            "extension"
        };
        match entry.api.parse::<ApiVersion>() {
            Err(_) => {
                let message = format!("failed to parse buildpack API '<nil>' for {kind} '{name}'");
                return Err(Failure::new(code::BUILDPACK_API, message));
            }
            Ok(version) if !cnb_order::BUILDPACK_APIS.supports(version) => {
                let message = format!(
                    "failed to set API for {} '{name}': buildpack API version '{}' is incompatible with the lifecycle",
                    entry.kind.title(),
                    entry.api
                );
                return Err(Failure::new(code::BUILDPACK_API, message));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Writes a file, making its directory; `what` names it in messages.
pub(crate) fn write(what: &str, path: &Path, text: &str) -> Result<(), Failure> {
    files::write(path, what, text).map_err(|problem| Failure::new(code::FAILED, problem))
}

/// Hands the lines of the libraries to the phase's log.
pub(crate) struct PhaseLog(pub(crate) Logger);

fn level(level: cnb_detect::Level) -> Level {
    match level {
        cnb_detect::Level::Debug => Level::Debug,
        cnb_detect::Level::Info => Level::Info,
        cnb_detect::Level::Warn => Level::Warn,
        cnb_detect::Level::Error => Level::Error,
    }
}

impl Log for PhaseLog {
    fn log(&mut self, importance: cnb_detect::Level, text: &str) {
        self.0.line(level(importance), text);
    }

    fn always(&mut self, importance: cnb_detect::Level, text: &str) {
        self.0.clone().at(Level::Debug).line(level(importance), text);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}

/// The debug lines about how long a phase takes.
pub(crate) struct Timer {
    what: String,
    started: std::time::Instant,
}

impl Timer {
    /// Starts, and says so.
    pub(crate) fn start(what: impl Into<String>, log: &dyn phase::Log) -> Self {
        let what = what.into();
        log.line(phase::LogLevel::Debug, &format!("Timer: {what} started at {}", now()));
        Self {
            what,
            started: std::time::Instant::now(),
        }
    }

    /// Stops, and says how long it took.
    pub(crate) fn stop(self, log: &dyn phase::Log) {
        let (what, took) = (self.what, self.started.elapsed());
        let line = format!("Timer: {what} ran for {took:?} and ended at {}", now());
        log.line(phase::LogLevel::Debug, &line);
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_place_of_a_file_can_be_opened_but_not_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (_, problem) = read_text(directory.path()).expect_err("it is a directory");
        assert_eq!(problem, format!("read {}: is a directory", directory.path().display()));
    }
}

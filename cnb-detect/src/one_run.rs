//! One run of `bin/detect`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cnb_order::{ApiVersion, BuildPlan, Entry, ModuleDescriptor, ModuleKind, parse_toml};

use crate::{
    BaseTarget, Captured, Command, DetectInputs, Environment, Exit, Log, ModuleStore, Runner, TempDir, os_text,
    read_written,
};

/// The most output of one module that is kept.
const MOST_OUTPUT: usize = 10 << 20;

/// What one run of `bin/detect` gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DetectRun {
    /// 0 passed, 100 declined, -1 an error described by `error`, all else an error of the module's own.
    pub code: i32,
    /// Shared with the log, which has it again for every group.
    pub output: Arc<str>,
    pub error: Arc<str>,
    pub plan: BuildPlan,
}

impl DetectRun {
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self {
            code: -1,
            error: Arc::from(error.into()),
            ..Self::default()
        }
    }
}

/// A run that is ready to start on any thread, or already decided.
pub(crate) enum Prepared {
    Decided(DetectRun),
    Ready(Box<Ready>),
}

pub(crate) struct Ready {
    kind: ModuleKind,
    /// The id that the descriptor gives, for messages.
    id: String,
    command: Command,
    plan_path: PathBuf,
    // Removes the plan's directory when the run is over.
    _directory: TempDir,
}

/// Makes everything that the run of one module needs.
pub(crate) fn prepare(
    entry: &Entry,
    descriptor: &ModuleDescriptor,
    inputs: &DetectInputs,
    modules: &ModuleStore,
    target: &mut BaseTarget,
    log: &mut dyn Log,
) -> Prepared {
    let root = modules.root(entry);
    let program = root.join("bin").join("detect");
    if entry.kind == ModuleKind::Extension && is_missing(&program) {
        return Prepared::Decided(without_executable(descriptor, &root));
    }
    let Some(api) = descriptor.api_version() else {
        return Prepared::Decided(DetectRun::failed(format!(
            "failed to parse buildpack API '{}' for {} '{}'",
            descriptor.api(),
            entry.kind.word(),
            entry.full_name()
        )));
    };
    let mut variables = Environment::new();
    target.set_variables(&mut variables, log);
    let env = match module_environment(descriptor, inputs) {
        Ok(env) => env,
        Err(error) => return Prepared::Decided(DetectRun::failed(error.to_string())),
    };
    let (directory, plan_path) = match make_plan(&inputs.temp_dir) {
        Ok(made) => made,
        Err(error) => return Prepared::Decided(DetectRun::failed(error)),
    };
    let env = with_variables(env, api, entry.kind, &root, inputs, &plan_path, &variables);
    let command = Command {
        program,
        args: vec![inputs.platform_dir.clone().into(), plan_path.clone().into()],
        env: env.into_list(),
        directory: inputs.app_dir.clone(),
    };
    Prepared::Ready(Box::new(Ready {
        kind: entry.kind,
        id: descriptor.info().id.to_string(),
        command,
        plan_path,
        _directory: directory,
    }))
}

/// Makes an empty plan.toml in a directory of its own.
fn make_plan(temp_dir: &Path) -> Result<(TempDir, PathBuf), String> {
    let directory = TempDir::new(temp_dir, "plan.").map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            return format!("stat {}: {}", temp_dir.display(), os_text(&error));
        }
        format!("mkdir {}: {}", temp_dir.join("plan.0").display(), os_text(&error))
    })?;
    let path = directory.path().join("plan.toml");
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match made {
        Ok(_) => Ok((directory, path)),
        Err(error) => Err(format!("open {}: {}", path.display(), os_text(&error))),
    }
}

fn module_environment(
    descriptor: &ModuleDescriptor,
    inputs: &DetectInputs,
) -> Result<Environment, crate::EnvFileError> {
    let platform = inputs.platform_dir.join("env");
    let config = inputs.build_config_dir.as_ref().map(|directory| directory.join("env"));
    let platform = if descriptor.info().clear_env {
        None
    } else {
        Some(platform.as_path())
    };
    inputs.env.for_module(platform, config.as_deref())
}

fn with_variables(
    mut env: Environment,
    api: ApiVersion,
    kind: ModuleKind,
    root: &Path,
    inputs: &DetectInputs,
    plan_path: &Path,
    target: &Environment,
) -> Environment {
    env.set(
        if kind == ModuleKind::Buildpack {
            "CNB_BUILDPACK_DIR"
        } else {
            "CNB_EXTENSION_DIR"
        },
        root,
    );
    if api.at_least(8) {
        env.set("CNB_PLATFORM_DIR", &inputs.platform_dir);
        env.set("CNB_BUILD_PLAN_PATH", plan_path);
    }
    if api.at_least(10) {
        for (name, value) in target.iter() {
            env.set(name, value);
        }
    }
    if api.at_least(12) && !inputs.exec_env.is_empty() {
        env.set("CNB_EXEC_ENV", &inputs.exec_env);
    }
    env
}

impl Ready {
    /// Runs `bin/detect` and reads the plan it wrote.
    pub(crate) fn run(self, runner: &dyn Runner) -> DetectRun {
        let mut output = Captured::new(MOST_OUTPUT);
        let exit = runner.run(&self.command, &mut output);
        let output = Arc::from(output.into_text());
        let (code, error) = match exit {
            Ok(Exit::Code(0)) => {
                return match read_plan(&self.plan_path).and_then(|plan| check(self.kind, &self.id, plan)) {
                    Ok(plan) => DetectRun {
                        code: 0,
                        output,
                        error: Arc::default(),
                        plan,
                    },
                    Err(error) => DetectRun {
                        code: -1,
                        output,
                        error: error.into(),
                        plan: BuildPlan::default(),
                    },
                };
            }
            Ok(Exit::Code(code)) => (code, String::new()),
            Ok(Exit::Signal { .. }) => (-1, String::new()),
            Err(error) => (-1, error.to_string()),
        };
        DetectRun {
            code,
            output,
            error: error.into(),
            plan: BuildPlan::default(),
        }
    }
}

/// An extension without `bin/detect` passes; what it provides may lie in a file.
fn without_executable(descriptor: &ModuleDescriptor, root: &Path) -> DetectRun {
    let path = root.join("detect").join("plan.toml");
    if is_missing(&path) {
        return DetectRun::default();
    }
    match read_plan(&path).and_then(|plan| check(descriptor.kind(), descriptor.info().id.as_str(), plan)) {
        Ok(plan) => DetectRun {
            plan,
            ..DetectRun::default()
        },
        Err(error) => DetectRun::failed(error),
    }
}

/// Says whether nothing is there, or only a link to nothing.
pub(crate) fn is_missing(path: &Path) -> bool {
    matches!(fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn read_plan(path: &Path) -> Result<BuildPlan, String> {
    let bytes = read_written(path).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory => format!("read {}: is a directory", path.display()),
        ErrorKind::InvalidInput | ErrorKind::FileTooLarge => format!("the build plan {} {error}", path.display()),
        _ => format!("open {}: {}", path.display(), os_text(&error)),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| format!("toml: invalid UTF-8 in {}", path.display()))?;
    parse_toml(&text)
        .and_then(|_| BuildPlan::from_toml(&text))
        .map_err(|error| error.to_string())
}

fn check(kind: ModuleKind, id: &str, plan: BuildPlan) -> Result<BuildPlan, String> {
    let requires = || plan.alternatives().flat_map(|section| &section.requires);
    if kind == ModuleKind::Extension {
        if requires().next().is_some() {
            return Err(format!("extension {id} outputs \"requires\" which is not allowed"));
        }
    } else if requires().any(|require| !require.version.is_empty()) {
        return Err(format!(
            "buildpack {id} has a \"version\" key which is not supported. \"metadata.version\" should be used instead"
        ));
    }
    Ok(plan)
}

//! Generate: runs the image extensions that detection selected and works out what they want of the images.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cnb_order::{
    Analyzed, AnalyzedRunImage, ApiVersion, BuildpackId, BuildpackPlan, Entry, Fields, Lookup, ModuleDescriptor,
    ModuleKind, Plan, RunInfo, parse_toml,
};

use crate::dockerfile::Dockerfile;
use crate::one_run::is_missing;
use crate::{
    BaseTarget, Command, Environment, Exit, Level, Log, ModuleStore, Output, RunError, Runner, TempDir, os_text,
    read_written,
};

/// What generate works on.
#[derive(Clone, Debug)]
pub struct GenerateInputs {
    /// The source; the working directory of the extensions.
    pub app_dir: PathBuf,
    /// The platform's directory, with the user's variables in `env/`.
    pub platform_dir: PathBuf,
    /// The operator's directory, with variables in `env/`.
    pub build_config_dir: Option<PathBuf>,
    /// Where the Dockerfiles go.
    pub generated_dir: PathBuf,
    /// Where plan files are made, and below Platform API 0.13 the extensions' output.
    pub temp_dir: PathBuf,
    /// The Platform API.
    pub platform_api: ApiVersion,
    /// What extensions inherit, before the variables of platform and operator.
    pub env: Environment,
    /// What the application will run on.
    pub target: BaseTarget,
    /// The run images that the builder knows.
    pub run_images: RunInfo,
}

/// What is left to do after generate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// What was analyzed, with another run image if an extension wants one.
    pub analyzed: Analyzed,
    /// The plan without what the extensions provide.
    pub plan: Plan,
}

/// Why generate fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A `bin/generate` ended with an error.
    #[error("{exit}")]
    Failed {
        /// `id@version` of the extension.
        extension: String,
        /// How it ended.
        exit: Exit,
    },
    /// A `bin/generate` could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Anything else: a missing extension, an unreadable file, a Dockerfile against the rules.
    #[error("{message}")]
    Other {
        /// What, and where.
        message: String,
    },
}

impl GenerateError {
    /// Returns the exit code of the detector for it.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Failed { .. } | Self::Run(_) => 91,
            Self::Other { .. } => 92,
        }
    }

    fn other(message: impl ToString) -> Self {
        Self::Other {
            message: message.to_string(),
        }
    }

    fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::other(format!("{operation} {path}: {}", os_text(&error)))
    }
}

/// The Dockerfiles of one extension.
struct Found {
    /// As its descriptor has it.
    id: BuildpackId,
    directory: PathBuf,
    run: Option<Dockerfile>,
    has_build: bool,
    has_config: bool,
}

/// Runs `bin/generate` of each extension and applies what their run Dockerfiles say to `analyzed`.
///
/// The last run Dockerfile that names another base image decides; those in front of it are put aside as `.ignore`.
///
/// # Errors
/// At the first problem; 91 is the exit code when an extension failed, 92 otherwise.
///
/// # Specification
/// Image Extension Specification, "Phase: Generation", in the interpretation of the reference lifecycle.
pub fn generate(
    extensions: &[Entry],
    plan: Plan,
    analyzed: Analyzed,
    inputs: &GenerateInputs,
    modules: &ModuleStore,
    runner: &dyn Runner,
    log: &mut dyn Log,
) -> Result<Generated, GenerateError> {
    let in_place = inputs.platform_api.at_least(13);
    let temporary = if in_place {
        None
    } else {
        let made = TempDir::new(&inputs.temp_dir, "cnb-extensions-generated.");
        Some(made.map_err(GenerateError::file("mkdir", &inputs.temp_dir))?)
    };
    let parent = temporary
        .as_ref()
        .map_or(inputs.generated_dir.as_path(), TempDir::path)
        .to_owned();
    let mut generator = Generator {
        inputs,
        modules,
        runner,
        log,
        target: inputs.target.clone(),
        plan,
    };
    let mut outputs = Vec::new();
    for extension in extensions {
        let name = extension.full_name();
        generator.debug(&format!("Running generate for extension {name}"));
        outputs.push(generator.extension(extension, &parent)?);
        generator.debug(&format!("Finished running generate for extension {name}"));
    }
    generator.debug("Checking run image");
    let (analyzed, first_used) = generator.run_image(analyzed, &outputs);
    generator.debug("Copying Dockerfiles");
    for (at, output) in outputs.iter().enumerate() {
        if in_place {
            if at < first_used {
                put_aside(&inputs.generated_dir.join(output.id.escaped()).join("run.Dockerfile"))?;
            }
        } else {
            generator.copy(output, at < first_used)?;
        }
    }
    Ok(Generated {
        analyzed,
        plan: generator.plan,
    })
}

struct Generator<'a> {
    inputs: &'a GenerateInputs,
    modules: &'a ModuleStore,
    runner: &'a dyn Runner,
    log: &'a mut dyn Log,
    target: BaseTarget,
    plan: Plan,
}

struct Passing<'a>(&'a mut dyn Log);

impl Output for Passing<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.raw(bytes);
    }
}

impl Generator<'_> {
    fn debug(&mut self, text: &str) {
        self.log.log(Level::Debug, text);
    }

    fn extension(&mut self, extension: &Entry, parent: &Path) -> Result<Found, GenerateError> {
        self.debug("Looking up extension");
        let descriptor = self.modules.descriptor(extension).map_err(GenerateError::other)?;
        self.debug("Finding plan");
        let plan = self.plan.for_module(ModuleKind::Extension, &extension.id);
        self.debug("Invoking command");
        let id = &descriptor.info().id;
        if !id.names_a_directory() {
            return Err(GenerateError::other(format!(
                "extension id '{id}' cannot name a directory"
            )));
        }
        let escaped = id.escaped();
        self.debug("Creating plan directory");
        let temp = TempDir::new(&self.inputs.temp_dir, &format!("{escaped}-"))
            .map_err(GenerateError::file("mkdir", &self.inputs.temp_dir))?;
        let plan_dir = temp.path().join(&escaped);
        fs::create_dir(&plan_dir).map_err(GenerateError::file("mkdir", &plan_dir))?;
        self.debug("Preparing paths");
        let mut directory = parent.join(&escaped);
        fs::create_dir_all(&directory).map_err(GenerateError::file("mkdir", &directory))?;
        let plan_path = plan_dir.join("plan.toml");
        fs::write(&plan_path, plan.to_toml()).map_err(GenerateError::file("open", &plan_path))?;
        self.debug("Running generate command");
        let root = self.modules.root(extension);
        let program = root.join("bin").join("generate");
        if is_missing(&program) {
            directory = root.join("generate");
        } else {
            self.run(extension, &descriptor, program, &directory, &plan_path)?;
            self.debug("Reading output files");
        }
        let output = self.read(id, directory)?;
        self.forget(&plan);
        Ok(output)
    }

    /// What an extension was asked for it provides.
    fn forget(&mut self, plan: &BuildpackPlan) {
        let met: Vec<String> = plan.entries.iter().map(|entry| entry.name.clone()).collect();
        self.plan = self.plan.without(&met);
    }

    fn run(
        &mut self,
        extension: &Entry,
        descriptor: &ModuleDescriptor,
        program: PathBuf,
        output: &Path,
        plan: &Path,
    ) -> Result<(), GenerateError> {
        let inputs = self.inputs;
        let platform = inputs.platform_dir.join("env");
        let config = inputs.build_config_dir.as_ref().map(|directory| directory.join("env"));
        let platform = if descriptor.info().clear_env {
            None
        } else {
            Some(platform.as_path())
        };
        let mut env = inputs
            .env
            .for_module(platform, config.as_deref())
            .map_err(GenerateError::other)?;
        env.set("CNB_EXTENSION_DIR", self.modules.root(extension));
        env.set("CNB_BP_PLAN_PATH", plan);
        env.set("CNB_OUTPUT_DIR", output);
        env.set("CNB_PLATFORM_DIR", &inputs.platform_dir);
        if descriptor.api_version().is_some_and(|api| api.at_least(10)) {
            self.target.set_variables(&mut env, self.log);
        }
        let command = Command {
            program,
            args: vec![output.into(), inputs.platform_dir.clone().into(), plan.into()],
            env: env.into_list(),
            directory: inputs.app_dir.clone(),
        };
        let exit = self.runner.run(&command, &mut Passing(self.log))?;
        if exit.success() {
            Ok(())
        } else {
            Err(GenerateError::Failed {
                extension: extension.full_name(),
                exit,
            })
        }
    }

    fn read(&mut self, id: &BuildpackId, directory: PathBuf) -> Result<Found, GenerateError> {
        let has_config = check_config(&directory.join("extend-config.toml"))?;
        let run = self.dockerfile(id, &directory, "run.Dockerfile", Dockerfile::check_run)?;
        let build = self.dockerfile(id, &directory, "build.Dockerfile", Dockerfile::check_build)?;
        let mut contexts = 0;
        let shared = directory.join("context");
        if shared.is_dir() {
            self.debug(&format!("found shared extension context \"{}\"", shared.display()));
            contexts += 1;
        }
        for kind in ["build", "run"] {
            let context = directory.join(format!("context.{kind}"));
            if context.is_dir() {
                if shared.is_dir() {
                    return Err(GenerateError::other(
                        "image-specific context dir is provided together with a shared context",
                    ));
                }
                self.debug(&format!("found {kind} extension context \"{}\"", context.display()));
                contexts += 1;
            }
        }
        self.debug(&format!("Found '{contexts}' Build Contexts for processing"));
        Ok(Found {
            id: id.clone(),
            directory,
            run,
            has_build: build.is_some(),
            has_config,
        })
    }

    fn dockerfile(
        &mut self,
        id: &BuildpackId,
        directory: &Path,
        name: &str,
        check: impl Fn(&Dockerfile) -> Result<(), String>,
    ) -> Result<Option<Dockerfile>, GenerateError> {
        let path = directory.join(name);
        let text = match read_written(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(GenerateError::file("open", &path)(error)),
        };
        let broken =
            |problem: String| GenerateError::other(format!("failed to parse {name} for extension {id}: {problem}"));
        let parsed = Dockerfile::parse(&text).map_err(broken)?;
        check(&parsed).map_err(broken)?;
        for (instruction, line) in &parsed.not_recommended {
            self.log.log(
                Level::Warn,
                &format!("{name} command {instruction} on line {line} is not recommended"),
            );
        }
        self.debug(&format!("Found {name} for processing"));
        Ok(Some(parsed))
    }

    /// Returns what analyzed.toml will say, and the first extension whose run Dockerfile counts.
    fn run_image(&mut self, mut analyzed: Analyzed, outputs: &[Found]) -> (Analyzed, usize) {
        let mut extend = false;
        let mut new_base = None;
        let mut first_used = 0;
        for (at, output) in outputs.iter().enumerate().rev() {
            let Some(run) = &output.run else { continue };
            extend |= run.extends;
            if let Some(base) = run.new_base() {
                let id = &output.id;
                self.debug(&format!(
                    "Found a run.Dockerfile from extension '{id}' setting run image to '{base}' "
                ));
                new_base = Some(base.to_owned());
                first_used = at;
                break;
            }
        }
        let run_image = analyzed.run_image.clone().unwrap_or_default();
        match new_base {
            Some(base) if !self.inputs.platform_api.at_least(12) || base != run_image.image => {
                let known = self
                    .inputs
                    .run_images
                    .images
                    .iter()
                    .flat_map(|image| std::iter::once(&image.image).chain(&image.mirrors));
                if !known.into_iter().any(|known| comparable(known) == comparable(&base)) {
                    self.log.log(
                        Level::Warn,
                        &format!("new runtime base image '{base}' not found in run metadata"),
                    );
                }
                self.debug(&format!("Updating analyzed metadata with new run image '{base}'"));
                analyzed.run_image = Some(AnalyzedRunImage {
                    reference: base.clone(),
                    image: base,
                    extend,
                    target: None,
                });
            }
            _ if extend => {
                self.debug("Updating analyzed metadata to indicate run image extension");
                analyzed.run_image = Some(AnalyzedRunImage {
                    extend: true,
                    ..run_image
                });
            }
            _ => {}
        }
        (analyzed, first_used)
    }

    /// The layout below Platform API 0.13: `<generated>/{run,build}/<id>/Dockerfile`.
    fn copy(&mut self, output: &Found, run_unused: bool) -> Result<(), GenerateError> {
        for (kind, there) in [("run", output.run.is_some()), ("build", output.has_build)] {
            if !there {
                continue;
            }
            let from = output.directory.join(format!("{kind}.Dockerfile"));
            let target = self.inputs.generated_dir.join(kind).join(output.id.escaped());
            fs::create_dir_all(&target).map_err(GenerateError::file("mkdir", &target))?;
            let to = target.join("Dockerfile");
            self.debug(&format!("Copying {} to {}", from.display(), to.display()));
            fs::copy(&from, &to).map_err(GenerateError::file("open", &from))?;
            if output.has_config {
                let config = output.directory.join("extend-config.toml");
                fs::copy(&config, target.join("extend-config.toml")).map_err(GenerateError::file("open", &config))?;
            }
            if kind == "run" && run_unused {
                put_aside(&to)?;
            }
        }
        Ok(())
    }
}

fn put_aside(path: &Path) -> Result<(), GenerateError> {
    let mut target = path.as_os_str().to_owned();
    target.push(".ignore");
    match fs::rename(path, target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(GenerateError::file("rename", path)(error)),
        _ => Ok(()),
    }
}

/// Checks extend-config.toml: some build arguments are the lifecycle's own.
fn check_config(path: &Path) -> Result<bool, GenerateError> {
    let text = match read_written(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(GenerateError::file("open", path)(error)),
    };
    let wrong = |error: cnb_order::DecodeError| GenerateError::other(format!("reading extend config: {error}"));
    let table = parse_toml(&text).map_err(wrong)?;
    let fields = Fields::of(&table, &text);
    for side in ["build", "run"] {
        let Some(side) = fields.table(side).map_err(wrong)? else {
            continue;
        };
        for name in side
            .list("args", |arg| arg.text("value").and_then(|_| arg.text("name")))
            .map_err(wrong)?
            .unwrap_or_default()
        {
            if matches!(name.as_str(), "build_id" | "user_id" | "group_id") {
                return Err(GenerateError::other(format!(
                    "validating extend config: invalid content: arg with name \"{name}\" is not allowed"
                )));
            }
        }
    }
    Ok(true)
}

/// An image's name without digest, with the default registry and tag filled in.
fn comparable(name: &str) -> String {
    let name = name.split('@').next().unwrap_or_default();
    let host = name
        .split_once('/')
        .map(|(host, _)| host)
        .filter(|host| host.contains(['.', ':']) || *host == "localhost");
    let (host, path) = match host {
        Some(host) => (host, &name[host.len() + 1..]),
        None => ("index.docker.io", name),
    };
    let host = if host == "docker.io" { "index.docker.io" } else { host };
    let path = if host == "index.docker.io" && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    let tag = if path.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        ""
    } else {
        ":latest"
    };
    format!("{host}/{path}{tag}")
}

//! The build phase: runs the buildpacks of the group one after the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cnb_detect::{
    Action, BaseTarget, Command, Environment, LayerUse, Level, Log, ModuleStore, Output, Runner, TempDir, os_text,
    read_written,
};
use cnb_order::{
    ApiVersion, BuildpackPlan, DetectedGroup, Entry, Lookup, ModuleDescriptor, ModuleKind, Plan, TargetData,
};

use crate::error::in_file;
use crate::sbom::{self, SbomFile};
use crate::{
    BomEntry, BuildError, BuildMetadata, BuildToml, Label, LaunchToml, LayerMetadata, Process, ProcessList, Slice, bom,
};

/// What the build phase works on.
#[derive(Clone, Debug)]
pub struct BuildInputs {
    /// Where the layers go.
    pub layers_dir: PathBuf,
    /// The application; the working directory of the buildpacks.
    pub app_dir: PathBuf,
    /// The platform's directory, with the user's variables in `env/`.
    pub platform_dir: PathBuf,
    /// The operator's directory, with variables in `env/`.
    pub build_config_dir: Option<PathBuf>,
    /// Where the plan files are made.
    pub temp_dir: PathBuf,
    /// The Platform API.
    pub platform_api: ApiVersion,
    /// The execution environment, such as `production`.
    pub exec_env: String,
    /// What buildpacks inherit, before layers, platform and operator change it.
    pub env: Environment,
    /// What the application will run on.
    pub target: BaseTarget,
}

impl BuildInputs {
    /// Takes the directories; everything else gets a default, as in [`cnb_detect::DetectInputs::new`].
    pub fn new(
        layers_dir: impl Into<PathBuf>,
        app_dir: impl Into<PathBuf>,
        platform_dir: impl Into<PathBuf>,
        temp_dir: PathBuf,
    ) -> Self {
        Self {
            layers_dir: layers_dir.into(),
            app_dir: app_dir.into(),
            platform_dir: platform_dir.into(),
            build_config_dir: None,
            temp_dir,
            platform_api: ApiVersion::new(0, 15),
            exec_env: "production".to_owned(),
            env: Environment::new(),
            target: BaseTarget::new(TargetData::default(), "amd64", Ok(String::new())),
        }
    }
}

/// Runs `bin/build` of each buildpack of the group and gathers what they contribute.
///
/// Layers for the build change the environment of later buildpacks; layers for nothing are renamed to `<layer>.ignore`;
/// SBOM files are copied to `<layers>/sbom`. What the buildpacks print goes to the log at level info as it comes. The result
/// is not written; [`BuildMetadata::to_toml`] gives the text of `<layers>/config/metadata.toml`.
///
/// # Errors
/// At the first problem; 51 is the exit code when a buildpack failed, 52 otherwise.
///
/// # Specification
/// Buildpack API 0.12, "Phase #3: Build", in the interpretation of the reference lifecycle.
pub fn build(
    group: &DetectedGroup,
    plan: Plan,
    inputs: &BuildInputs,
    modules: &ModuleStore,
    runner: &dyn Runner,
    log: &mut dyn Log,
) -> Result<BuildMetadata, BuildError> {
    let sbom_dir = inputs.layers_dir.join("sbom");
    remove_all(&sbom_dir).map_err(BuildError::file("remove", &sbom_dir))?;
    let mut phase = Phase {
        inputs,
        modules,
        runner,
        log,
        env: inputs.env.clone(),
        target: inputs.target.clone(),
        plan,
        processes: ProcessList::default(),
        gathered: Gathered::default(),
    };
    phase.target.complete(phase.log);
    for entry in &group.buildpacks {
        phase.log.log(
            Level::Debug,
            &format!("Running build for buildpack {}", entry.full_name()),
        );
        phase.buildpack(entry).map_err(|error| BuildError::In {
            buildpack: entry.full_name(),
            source: Box::new(error),
        })?;
        phase.log.log(
            Level::Debug,
            &format!("Finished running build for buildpack {}", entry.full_name()),
        );
    }
    let Phase {
        log,
        processes,
        mut gathered,
        ..
    } = phase;
    if inputs.platform_api.at_least(8) {
        log.log(Level::Debug, "Copying SBOM files");
        sbom::copy(&gathered.sbom, &sbom_dir)?;
    }
    if inputs.platform_api.at_least(9) {
        log.log(Level::Debug, "Creating SBOM files for legacy BOM");
        write_legacy(&sbom_dir.join("launch"), &std::mem::take(&mut gathered.launch_bom))?;
        write_legacy(&sbom_dir.join("build"), &gathered.build_bom)?;
    }
    log.log(Level::Debug, "Listing processes");
    let (processes, default_process_type) = processes.finish();
    Ok(BuildMetadata {
        bom: gathered.launch_bom,
        buildpacks: group.buildpacks.clone(),
        extensions: group.extensions.clone(),
        labels: gathered.labels,
        processes: Some(processes),
        slices: gathered.slices,
        default_process_type,
    })
}

/// Removes whatever is there, if anything.
fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn write_legacy(directory: &Path, bom: &[BomEntry]) -> Result<(), BuildError> {
    bom::check_numbers(bom)?;
    let path = directory.join("sbom.legacy.json");
    fs::create_dir_all(directory).map_err(BuildError::file("mkdir", directory))?;
    fs::write(&path, BomEntry::list_to_json(bom) + "\n").map_err(BuildError::file("open", path))
}

#[derive(Default)]
struct Gathered {
    launch_bom: Vec<BomEntry>,
    build_bom: Vec<BomEntry>,
    labels: Vec<Label>,
    slices: Vec<Slice>,
    /// With the escaped id of the buildpack.
    sbom: Vec<(String, SbomFile)>,
}

struct Phase<'a> {
    inputs: &'a BuildInputs,
    modules: &'a ModuleStore,
    runner: &'a dyn Runner,
    log: &'a mut dyn Log,
    /// Changed by the layers of each buildpack.
    env: Environment,
    target: BaseTarget,
    /// What is left for later buildpacks.
    plan: Plan,
    processes: ProcessList,
    gathered: Gathered,
}

/// One buildpack while it is built.
struct Current<'a> {
    entry: &'a Entry,
    descriptor: &'a ModuleDescriptor,
    api: ApiVersion,
    /// `<layers>/<escaped id>`
    layers: PathBuf,
    plan: BuildpackPlan,
}

impl Phase<'_> {
    fn debug(&mut self, text: &str) {
        self.log.log(Level::Debug, text);
    }

    fn buildpack(&mut self, entry: &Entry) -> Result<(), BuildError> {
        self.debug("Looking up buildpack");
        // Here all are buildpacks, whatever the file says.
        let entry = &Entry {
            kind: ModuleKind::Buildpack,
            ..entry.clone()
        };
        let descriptor = self.modules.descriptor(entry)?;
        self.debug("Finding plan");
        let plan = self.plan.for_module(ModuleKind::Buildpack, &entry.id);
        let id = &descriptor.info().id;
        if !id.names_a_directory() {
            return Err(BuildError::rule(format!(
                "buildpack id '{id}' cannot name a directory of layers"
            )));
        }
        let api = descriptor.api_version().ok_or_else(|| BuildError::Api {
            buildpack: entry.full_name(),
            api: descriptor.api().to_owned(),
        })?;
        let layers = self.inputs.layers_dir.join(id.escaped());
        let current = Current {
            entry,
            descriptor: &descriptor,
            api,
            layers,
            plan,
        };
        self.run(&current)?;
        self.debug("Processing layers");
        let all = read_layers(&current.layers)?;
        self.debug("Updating environment");
        self.apply_layers(&current.layers, &all)?;
        self.debug("Reading output files");
        let (met, processes) = self.read_outputs(&current, &all)?;
        self.debug("Updating buildpack processes");
        self.plan = self.plan.without(&met);
        self.debug("Updating process list");
        if let Some(warning) = self.processes.add(&processes) {
            self.log.log(Level::Warn, &warning);
        }
        Ok(())
    }

    fn run(&mut self, current: &Current<'_>) -> Result<(), BuildError> {
        let escaped = current.descriptor.info().id.escaped();
        self.debug("Creating plan directory");
        let temp = TempDir::new(&self.inputs.temp_dir, &format!("{escaped}-"))
            .map_err(BuildError::file("mkdir", &self.inputs.temp_dir))?;
        let plan_dir = temp.path().join(&escaped);
        fs::create_dir(&plan_dir).map_err(BuildError::file("mkdir", &plan_dir))?;
        self.debug("Preparing paths");
        fs::create_dir_all(&current.layers).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let not_directory = io::Error::from_raw_os_error(rustix::io::Errno::NOTDIR.raw_os_error());
                BuildError::file("mkdir", &current.layers)(not_directory)
            }
            _ => BuildError::file("mkdir", &current.layers)(error),
        })?;
        let plan_path = plan_dir.join("plan.toml");
        fs::write(&plan_path, current.plan.to_toml()).map_err(BuildError::file("open", &plan_path))?;
        self.debug("Running build command");
        let root = self.modules.root(current.entry);
        let env = self.environment(current, &root, &plan_path)?;
        let command = Command {
            program: root.join("bin").join("build"),
            args: vec![
                current.layers.clone().into(),
                self.inputs.platform_dir.clone().into(),
                plan_path.into(),
            ],
            env: env.into_list(),
            directory: self.inputs.app_dir.clone(),
        };
        let exit = self.runner.run(&command, &mut Passing { log: &mut *self.log })?;
        if exit.success() {
            Ok(())
        } else {
            Err(BuildError::Failed {
                buildpack: current.entry.full_name(),
                exit,
            })
        }
    }

    fn environment(&mut self, current: &Current<'_>, root: &Path, plan: &Path) -> Result<Environment, BuildError> {
        let platform = self.inputs.platform_dir.join("env");
        let config = self
            .inputs
            .build_config_dir
            .as_ref()
            .map(|directory| directory.join("env"));
        let platform = if current.descriptor.info().clear_env {
            None
        } else {
            Some(platform.as_path())
        };
        let mut env = self.env.for_module(platform, config.as_deref())?;
        env.set("CNB_BUILDPACK_DIR", root);
        if current.api.at_least(8) {
            env.set("CNB_PLATFORM_DIR", &self.inputs.platform_dir);
            env.set("CNB_BP_PLAN_PATH", plan);
            env.set("CNB_LAYERS_DIR", &current.layers);
        }
        if current.api.at_least(10) {
            self.target.set_variables(&mut env, self.log);
        }
        if current.api.at_least(12) && !self.inputs.exec_env.is_empty() {
            env.set("CNB_EXEC_ENV", &self.inputs.exec_env);
        }
        Ok(env)
    }

    fn apply_layers(&mut self, directory: &Path, layers: &[(String, LayerMetadata)]) -> Result<(), BuildError> {
        for (name, metadata) in layers {
            if metadata.types.build {
                let layer = directory.join(name);
                self.env.apply_layer_root(&layer, LayerUse::Build)?;
                self.env.apply(&layer.join("env"), Action::Override)?;
                self.env.apply(&layer.join("env.build"), Action::Override)?;
            }
        }
        Ok(())
    }

    fn read_outputs(
        &mut self,
        current: &Current<'_>,
        layers: &[(String, LayerMetadata)],
    ) -> Result<(Vec<String>, Vec<Process>), BuildError> {
        let info = current.descriptor.info();
        let build_path = current.layers.join("build.toml");
        let mut build = match read(&build_path)? {
            Some(text) => BuildToml::from_toml(&text).map_err(|source| BuildError::Decode {
                path: build_path,
                source,
            })?,
            None => BuildToml::default(),
        };
        // The reference looks at this list twice.
        self.check_bom(&build.bom, &current.layers)?;
        self.check_bom(&build.bom, &current.layers)?;
        let met = build.met(&current.plan)?;
        let layer = |name: &str| {
            layers
                .iter()
                .find(|(have, _)| have == name)
                .map(|(_, metadata)| metadata.clone())
        };
        let files = sbom::find(&current.layers, layer, &info.sbom_formats, &info.full_name())?;
        self.gathered
            .sbom
            .extend(files.into_iter().map(|file| (info.id.escaped(), file)));
        let launch_path = current.layers.join("launch.toml");
        let mut launch = match read(&launch_path)? {
            Some(text) => {
                LaunchToml::from_toml(&text, current.api, info.id.as_str()).map_err(|source| BuildError::Decode {
                    path: launch_path,
                    source,
                })?
            }
            None => LaunchToml::default(),
        };
        self.check_bom(&launch.bom, &current.layers)?;
        launch.check()?;
        if !current.api.at_least(8) {
            for process in launch
                .processes
                .iter_mut()
                .filter(|process| !process.working_dir.is_empty())
            {
                self.log.log(
                    Level::Warn,
                    &format!(
                        "Warning: process working directory isn't supported in this buildpack api version. \
                         Ignoring working directory for process '{}'",
                        process.kind
                    ),
                );
                process.working_dir.clear();
            }
        }
        for entry in build.bom.iter_mut().chain(&mut launch.bom) {
            entry.buildpack = (info.id.clone(), info.version.clone());
        }
        self.gathered.build_bom.append(&mut build.bom);
        self.gathered.launch_bom.append(&mut launch.bom);
        self.gathered.labels.append(&mut launch.labels);
        self.gathered.slices.append(&mut launch.slices);
        Ok((met, launch.processes))
    }

    fn check_bom(&mut self, bom: &[BomEntry], layers: &Path) -> Result<(), BuildError> {
        if !bom.is_empty() && !sbom::any(layers)? {
            self.log.log(
                Level::Warn,
                "BOM table is deprecated in this buildpack api version, though it remains supported for backwards \
                 compatibility. Buildpack authors should write BOM information to <layer>.sbom.<ext>, launch.sbom.<ext>, or \
                 build.sbom.<ext>.",
            );
        }
        bom::check(bom)
    }
}

/// Hands the output of buildpacks to the log as it is.
struct Passing<'a> {
    log: &'a mut dyn Log,
}

impl Output for Passing<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.log.raw(bytes);
    }
}

fn read(path: &Path) -> Result<Option<String>, BuildError> {
    match read_written(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| BuildError::rule(format!("toml: invalid UTF-8 in {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => {
                BuildError::file("read", path)(error)
            }
            _ => BuildError::file("open", path)(error),
        }),
    }
}

/// Returns what is in a directory; nothing when a buildpack removed it.
pub(crate) fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, BuildError> {
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.and_then(Iterator::collect),
    };
    found.map_err(BuildError::file("open", directory))
}

/// Reads the metadata of all layers in byte order of the file names, and renames the directories of those that are for
/// nothing.
fn read_layers(directory: &Path) -> Result<Vec<(String, LayerMetadata)>, BuildError> {
    let mut names = Vec::new();
    for entry in entries(directory)? {
        let is_directory = entry
            .file_type()
            .map_err(BuildError::file("lstat", entry.path()))?
            .is_dir();
        if let Ok(file) = entry.file_name().into_string()
            && let Some(name) = file.strip_suffix(".toml")
            && !is_directory
            && !matches!(name, "" | "." | "..")
        {
            names.push((file.clone(), name.to_owned()));
        }
    }
    names.sort();
    let mut layers = Vec::new();
    for (file, name) in names {
        let path = directory.join(&file);
        let broken = |reason: String| BuildError::Layer {
            message: format!("failed to decode layer metadata file: {reason}"),
        };
        let text = read(&path)
            .map_err(|error| broken(error.to_string()))?
            .unwrap_or_default();
        let metadata = LayerMetadata::from_toml(&text, &path.display().to_string())
            .map_err(|error| broken(in_file(&error, &path)))?;
        let types = metadata.types;
        if !(types.build || types.launch || types.cache) {
            ignore(&directory.join(&name))?;
        }
        layers.push((name, metadata));
    }
    Ok(layers)
}

fn ignore(layer: &Path) -> Result<(), BuildError> {
    if fs::symlink_metadata(layer).is_err() {
        return Ok(());
    }
    let mut target = layer.as_os_str().to_owned();
    target.push(".ignore");
    let renamed = match fs::symlink_metadata(&target) {
        // The system would replace an empty directory.
        Ok(found) if found.is_dir() => Err(io::Error::from_raw_os_error(rustix::io::Errno::EXIST.raw_os_error())),
        _ => fs::rename(layer, &target),
    };
    renamed.map_err(|error| BuildError::Layer {
        message: format!(
            "failed to rename layer directory: rename {} {}: {}",
            layer.display(),
            Path::new(&target).display(),
            os_text(&error)
        ),
    })
}

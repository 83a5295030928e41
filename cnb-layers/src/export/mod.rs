//! Making the image: layers, config, labels, report.
//!
//! [`Export`] puts the layers of the buildpacks, the application and the launcher above the run image and
//! saves the result. A layer that the previous image has is hashed and not sent; any other is read once,
//! on its way to the registry. [`export_cache`] then fills the cache of the next build.

mod cached;
mod error;
mod extended;
mod layers;
mod sbom;

pub use cached::export_cache;
pub use error::ExportError;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry_auth::Reference;

use crate::layers_dir::{LayerTomlError, layers_of, log_directory};
use crate::metadata::{
    Analyzed, BuildMetadata, BuildpackLayers, DecodeError, Group, LauncherVersion, LayerMetadata, LifecycleMetadata,
    ProjectMetadata, Report, RunImageMetadata, RunImageNames, RunToml, labels, read_store,
};
use crate::open::open_base;
use crate::phase::{Log, LogExt as _, PlatformApi};
use crate::save::{SaveError, save};
use crate::{
    Compression, DiffId, Image, ImageDraft, ImageSource, ImageTarget, Layer, Platform, Timestamp, directory_layer,
    launcher_layer, process_types_layer, slice_layers,
};
use layers::Stack;

/// What an export works on. Paths are absolute and as the image names them.
pub struct ExportInputs<'a> {
    /// The platform API.
    pub api: PlatformApi,
    /// The names to save the image under; the first is the main one.
    pub names: &'a [String],
    /// What the analyzer found out.
    pub analyzed: &'a Analyzed,
    /// The buildpacks of this build.
    pub group: &'a Group,
    /// Where the source came from.
    pub project: &'a ProjectMetadata,
    /// Where to look for new versions of the run image.
    pub run_image_names: RunImageNames,
    /// The layers directory.
    pub layers_dir: &'a Path,
    /// The application directory.
    pub app_dir: &'a Path,
    /// Where the root of the two lies on disk: `/` unless in a test.
    pub root: &'a Path,
    /// The launcher, on disk.
    pub launcher: &'a Path,
    /// What the label says about the launcher.
    pub launcher_version: LauncherVersion,
    /// The bills of materials of lifecycle and launcher.
    pub sbom: SbomFiles<'a>,
    /// The process type to start by default; empty: the one that buildpacks chose.
    pub process_type: &'a str,
    /// The execution environment; empty: none.
    pub exec_env: &'a str,
    /// The owner of what the buildpacks and the application bring.
    pub uid: i64,
    /// The group of what the buildpacks and the application bring.
    pub gid: i64,
    /// What is known of the directories above those that become layers.
    pub parents: crate::Parents<'a>,
    /// The time that image and history carry.
    pub created: Timestamp,
    /// How layers are compressed.
    pub compression: Compression,
    /// The machine to choose images of an index for.
    pub platform: &'a Platform,
    /// Waits before another attempt to open the run image.
    pub wait: &'a (dyn Fn(Duration) + Sync),
}

/// Where the bills of materials of lifecycle and launcher come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SbomFiles<'a> {
    /// The directory with `lifecycle.sbom.*` and `launcher.sbom.*`, on disk.
    pub lifecycle: &'a Path,
    /// A directory whose bills of materials take the place of the launcher's, under their own names.
    pub launcher: Option<&'a Path>,
}

/// An export that has opened its images; see [`Export::open`] and [`Export::run`].
pub struct Export<'a> {
    inputs: ExportInputs<'a>,
    source: &'a dyn ImageSource,
    target: &'a dyn ImageTarget,
    base: Image,
    base_reference: Reference,
    previous: Option<(Image, Reference)>,
    extended: Option<extended::Extended>,
    /// The layers made in this run, for the cache.
    made: BTreeMap<String, MadeLayer>,
}

/// A layer made in this run: where its blob is.
pub(crate) struct MadeLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) placed: Option<(Reference, Layer)>,
}

impl<'a> Export<'a> {
    /// Opens the run image and the previous image.
    ///
    /// # Errors
    /// [`ExportError::Base`] and the like, when they cannot be opened.
    pub fn open(
        inputs: ExportInputs<'a>,
        source: &'a dyn ImageSource,
        target: &'a dyn ImageTarget,
        log: &dyn Log,
    ) -> Result<Self, ExportError> {
        let run_image = inputs.analyzed.run_image.as_ref().map_or("", |image| &image.reference);
        let previous = match inputs.analyzed.previous_image.as_deref() {
            None | Some("") => None,
            Some(name) => {
                log.info(format_args!("Reusing layers from image '{name}'"));
                let reference = parse(name)?;
                let image = source
                    .image(&reference, inputs.platform)
                    .map_err(ExportError::Previous)?;
                image.map(|image| (image, reference))
            }
        };
        let base_reference = parse(run_image)?;
        let base = open_base(&base_reference, source, inputs.platform, inputs.wait, log).map_err(ExportError::Base)?;
        let base_reference = base_reference.with_digest(base.digest());
        Ok(Self {
            inputs,
            source,
            target,
            base,
            base_reference,
            previous,
            extended: None,
            made: BTreeMap::new(),
        })
    }

    /// Makes the image and saves it under its names, which move last.
    ///
    /// # Errors
    /// See [`ExportError`]. Unless it is [`ExportError::Save`], no name has changed.
    pub fn run(&mut self, log: &dyn Log) -> Result<Report, ExportError> {
        let api = self.inputs.api;
        if api.at_least(11) {
            sbom::copy(self.disk_layers().as_path(), self.inputs.sbom, log)?;
        }
        let build = self.build_metadata()?;
        let top_layer = self.base.top_layer().map_or_else(String::new, ToString::to_string);
        let mut metadata = LifecycleMetadata {
            run_image: RunImageMetadata {
                top_layer,
                reference: self.base_reference.to_string(),
                names: if api.at_least(12) {
                    self.inputs.run_image_names.clone()
                } else {
                    RunImageNames::default()
                },
            },
            stack: Some(self.inputs.run_image_names.clone()),
            ..LifecycleMetadata::default()
        };
        let main = self.inputs.names.first().map_or("", String::as_str);
        let mut stack = Stack::new(&self.base, &self.base_reference, parse(main)?, main.to_owned());
        self.add_extensions(&mut stack)?;
        self.add_buildpacks(&mut stack, &mut metadata, log)?;
        self.add_sbom(&mut stack, &mut metadata, log)?;
        self.add_app(&mut stack, &build, &mut metadata, log)?;
        self.add_launcher(&mut stack, &build, &mut metadata, log)?;
        let (mut draft, layers) = stack.finish(self.inputs.created.clone(), api.at_least(12));
        if let Some(settings) = self.extended_settings() {
            *draft.container_mut() = settings.clone();
        }
        self.set_labels(&mut draft, &metadata, &build, log);
        self.configure(&mut draft, &build, log)?;
        let mut report = Report::default();
        if !api.at_least(9) {
            self.add_old_bom(&mut report)?;
        }
        let image = draft.finish();
        let saved = save(&image, &layers, self.inputs.names, None, self.source, self.target, log)?;
        Ok(report.with_image(saved))
    }

    fn disk_layers(&self) -> PathBuf {
        self.disk(self.inputs.layers_dir)
    }

    fn disk(&self, path: &Path) -> PathBuf {
        self.inputs.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn build_metadata(&self) -> Result<BuildMetadata, ExportError> {
        let path = self.inputs.layers_dir.join("config/metadata.toml");
        let text = fs::read_to_string(self.disk(&path)).map_err(|source| ExportError::ReadBuildMetadata {
            path: path.clone(),
            source,
        })?;
        BuildMetadata::from_toml(&text).map_err(ExportError::BuildMetadata)
    }

    fn previous_buildpack(&self, id: &str) -> Option<&BuildpackLayers> {
        self.inputs.analyzed.metadata.buildpack(id)
    }

    fn add_buildpacks(
        &mut self,
        stack: &mut Stack,
        metadata: &mut LifecycleMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let mut all = Vec::new();
        let group = self.inputs.group;
        for buildpack in &group.buildpacks {
            let disk = self.disk_layers();
            log_directory(self.inputs.layers_dir, &disk, buildpack, log);
            let named = self.inputs.layers_dir.join(buildpack.directory());
            log.debug(format_args!("Processing buildpack directory: {}", named.display()));
            let found = layers_of(&disk, buildpack).map_err(|source| ExportError::ReadLayers {
                buildpack: buildpack.id.clone(),
                source,
            })?;
            let mut known = BuildpackLayers {
                key: buildpack.id.clone(),
                version: buildpack.version.clone(),
                store: self.store(buildpack)?,
                ..BuildpackLayers::default()
            };
            let mut malformed = Vec::new();
            for layer in found {
                let id = layer.identifier();
                let toml = match layer.toml() {
                    Ok(toml) => toml,
                    Err(LayerTomlError::Decode(problem @ DecodeError::NotANumber(_))) => {
                        return Err(ExportError::Unlabelable(problem));
                    }
                    Err(_) => {
                        malformed.push(id);
                        continue;
                    }
                };
                if !toml.types.launch {
                    continue;
                }
                log.debug(format_args!(
                    "Processing launch layer: {}",
                    named.join(&layer.name).display()
                ));
                let before = self
                    .previous_buildpack(&buildpack.id)
                    .and_then(|found| found.layers.get(&layer.name));
                let before = before.map(|layer| layer.sha.clone());
                let created_by = format!(
                    "Layer: '{}', Created by buildpack: {}@{}",
                    layer.name, buildpack.id, buildpack.version
                );
                let sha = if layer.has_contents() {
                    let dir = self.inputs.layers_dir.join(buildpack.directory()).join(&layer.name);
                    let content = self.directory(&dir)?;
                    self.add_or_reuse(stack, &id, &content, before.as_deref(), created_by, log)?
                        .to_string()
                } else if toml.types.cache {
                    return Err(ExportError::NoContents { layer: id });
                } else {
                    let sha = before.ok_or(ExportError::NotInPrevious { layer: id.clone() })?;
                    self.reuse(stack, &id, &sha, created_by, log)?;
                    sha
                };
                let entry = LayerMetadata {
                    sha,
                    data: toml.metadata,
                    build: toml.types.build,
                    launch: toml.types.launch,
                    cache: toml.types.cache,
                };
                known.layers.insert(layer.name, entry);
            }
            if !malformed.is_empty() {
                return Err(ExportError::Malformed { layers: malformed });
            }
            all.push(known);
        }
        metadata.buildpacks = (!all.is_empty()).then_some(all);
        Ok(())
    }

    fn store(&self, buildpack: &crate::metadata::GroupBuildpack) -> Result<Option<serde_json::Value>, ExportError> {
        let path = self.disk_layers().join(buildpack.directory()).join("store.toml");
        match fs::read_to_string(path) {
            Ok(text) => read_store(&text).map(Some).map_err(|source| ExportError::Store {
                buildpack: buildpack.id.clone(),
                source,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ExportError::ReadLayers {
                buildpack: buildpack.id.clone(),
                source,
            }),
        }
    }

    fn directory(&self, dir: &Path) -> Result<crate::LayerBuilder, ExportError> {
        let inputs = &self.inputs;
        let layer = directory_layer(inputs.root, dir, &inputs.parents, inputs.uid, inputs.gid);
        layer.map_err(ExportError::CreateLayer)
    }

    fn add_sbom(
        &mut self,
        stack: &mut Stack,
        metadata: &mut LifecycleMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let dir = self.inputs.layers_dir.join("sbom/launch");
        if !self.inputs.api.at_least(8) || fs::metadata(self.disk(&dir)).is_err() {
            return Ok(());
        }
        log.debug(format_args!("Found SBOM of type launch for at {}", dir.display()));
        let content = self.directory(&dir)?;
        let before = self.inputs.analyzed.metadata.sbom.clone();
        let created_by = "Software Bill-of-Materials".to_owned();
        let id = "buildpacksio/lifecycle:launch.sbom";
        let diff_id = self.add_or_reuse(stack, id, &content, before.as_deref(), created_by, log)?;
        metadata.sbom = Some(diff_id.to_string());
        Ok(())
    }

    fn add_app(
        &mut self,
        stack: &mut Stack,
        build: &BuildMetadata,
        metadata: &mut LifecycleMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let inputs = &self.inputs;
        let slices = slice_layers(
            inputs.root,
            inputs.app_dir,
            &build.slices,
            &inputs.parents,
            inputs.uid,
            inputs.gid,
        )
        .map_err(ExportError::CreateApp)?;
        log.debug("Adding app layers");
        let before = inputs.analyzed.metadata.app.clone().unwrap_or_default();
        let (total, mut reused) = (slices.len(), 0);
        let mut shas = Vec::new();
        for (index, slice) in slices.iter().enumerate() {
            let created_by = match total {
                1 => "Application Layer".to_owned(),
                _ => format!("Application Slice: {}", index + 1),
            };
            let (diff_id, was_there) = self.add_slice(stack, slice, &before, created_by, log)?;
            log.debug(format_args!("Layer 'slice-{}' SHA: {diff_id}", index + 1));
            reused += usize::from(was_there);
            shas.push(diff_id.to_string());
        }
        if reused > 0 {
            log.info(format_args!("Reused {reused}/{total} app layer(s)"));
        }
        if total > reused {
            log.info(format_args!("Added {}/{total} app layer(s)", total - reused));
        }
        metadata.app = Some(shas);
        Ok(())
    }

    fn add_launcher(
        &mut self,
        stack: &mut Stack,
        build: &BuildMetadata,
        metadata: &mut LifecycleMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let before = self.inputs.analyzed.metadata.clone();
        let launcher = self.inputs.launcher;
        if let Err(source) = fs::metadata(launcher) {
            return Err(ExportError::NoLauncher {
                path: launcher.to_owned(),
                source,
            });
        }
        let content = launcher_layer(launcher);
        let id = "buildpacksio/lifecycle:launcher";
        let created_by = "Buildpacks Application Launcher".to_owned();
        metadata.launcher = self
            .add_or_reuse(stack, id, &content, Some(&before.launcher), created_by, log)?
            .to_string();

        let content = self.directory(&self.inputs.layers_dir.join("config"))?;
        let id = "buildpacksio/lifecycle:config";
        let created_by = "Buildpacks Launcher Config".to_owned();
        metadata.config = self
            .add_or_reuse(stack, id, &content, Some(&before.config), created_by, log)?
            .to_string();

        let types = build.process_types();
        if !types.is_empty() {
            let content = process_types_layer(&types).map_err(ExportError::ProcessTypes)?;
            let id = "buildpacksio/lifecycle:process-types";
            let created_by = "Buildpacks Process Types".to_owned();
            metadata.process_types = self
                .add_or_reuse(stack, id, &content, Some(&before.process_types), created_by, log)?
                .to_string();
        }
        Ok(())
    }

    fn set_labels(&self, draft: &mut ImageDraft, metadata: &LifecycleMetadata, build: &BuildMetadata, log: &dyn Log) {
        let inputs = &self.inputs;
        let mut set = |name: &str, value: String| {
            log.info(format_args!("Adding label '{name}'"));
            draft.set_label(name, value);
        };
        set(labels::LIFECYCLE_METADATA, metadata.to_label());
        set(
            labels::BUILD_METADATA,
            build.to_label(&inputs.launcher_version, inputs.api),
        );
        set(labels::PROJECT_METADATA, inputs.project.to_label());
        for (name, value) in &build.labels {
            set(name, value.clone());
        }
        if inputs.api.at_least(15) && !inputs.exec_env.is_empty() {
            set(labels::EXEC_ENV, inputs.exec_env.to_owned());
        }
    }

    fn configure(&self, draft: &mut ImageDraft, build: &BuildMetadata, log: &dyn Log) -> Result<(), ExportError> {
        let inputs = &self.inputs;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let config = draft.container_mut();
        for (name, value) in [
            ("CNB_LAYERS_DIR", text(inputs.layers_dir)),
            ("CNB_APP_DIR", text(inputs.app_dir)),
            ("CNB_PLATFORM_API", inputs.api.to_string()),
            ("CNB_DEPRECATION_MODE", "quiet".to_owned()),
        ] {
            log.debug(format_args!("Setting {name}={value}"));
            config.set_env(name, &value);
        }
        log.debug("Prepending /cnb/process and /cnb/lifecycle to PATH");
        // The reference does not see a variable whose value has an equals sign in it.
        let path = config
            .env("PATH")
            .filter(|path| !path.contains('='))
            .unwrap_or_default();
        let path = format!("/cnb/process:/cnb/lifecycle:{path}");
        config.set_env("PATH", &path);
        config.working_dir = text(inputs.app_dir);
        log.debug(format_args!("Setting WORKDIR: '{}'", config.working_dir));
        config.cmd = Vec::new();
        let default = default_process(inputs.process_type, build)?;
        config.entrypoint = vec![match default.as_str() {
            "" => {
                log.info("no default process type");
                "/cnb/lifecycle/launcher".to_owned()
            }
            name => {
                log.info(format_args!("Setting default process type '{name}'"));
                format!("/cnb/process/{name}")
            }
        }];
        log.debug(format_args!("Setting ENTRYPOINT: '{}'", config.entrypoint[0]));
        Ok(())
    }

    fn add_old_bom(&self, report: &mut Report) -> Result<(), ExportError> {
        for buildpack in &self.inputs.group.buildpacks {
            let path = self.disk_layers().join(buildpack.directory()).join("build.toml");
            match fs::read_to_string(path) {
                Ok(text) => report
                    .add_bom(&text, &buildpack.id, &buildpack.version)
                    .map_err(ExportError::BuildToml)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(ExportError::ReadLayers {
                        buildpack: buildpack.id.clone(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Decides which process starts by default; empty: none.
fn default_process(asked_for: &str, build: &BuildMetadata) -> Result<String, ExportError> {
    if asked_for.is_empty() {
        return Ok(build.default_process_type.clone());
    }
    if build.process_types().iter().any(|known| known == asked_for) {
        return Ok(asked_for.to_owned());
    }
    Err(ExportError::NoSuchProcess {
        name: asked_for.to_owned(),
    })
}

/// Chooses what the label says about where the run image comes from.
///
/// That is the entry of run.toml that has the name the build used; for an image that extensions chose and
/// run.toml does not know, the name alone; else the first entry.
pub fn run_image_names(run: &RunToml, analyzed: &Analyzed, has_extensions: bool) -> RunImageNames {
    let used = analyzed.run_image.as_ref().map_or("", |image| image.image.as_str());
    let Some(first) = run.images.first() else {
        return RunImageNames::default();
    };
    match run.images.iter().find(|names| names.contain(used)) {
        Some(names) => names.clone(),
        None if has_extensions => RunImageNames {
            image: used.to_owned(),
            mirrors: Vec::new(),
        },
        None => first.clone(),
    }
}

fn parse(name: &str) -> Result<Reference, ExportError> {
    Reference::parse(name).map_err(|_| ExportError::Reference(name.to_owned()))
}

impl From<SaveError> for ExportError {
    fn from(error: SaveError) -> Self {
        Self::Save(error)
    }
}

//! Which layers the image gets, in which order, and what the label says about each.

use std::fs;
use std::io;
use std::path::Path;

use cnb_order::toml_text;

use super::{Export, ExportError};
use crate::layers_dir::{LayerDir, layers_of, log_directory};
use crate::metadata::{
    BuildMetadata, BuildpackLayers, Data, DecodeError, GroupBuildpack, LayerMetadata, LifecycleMetadata, read_store,
};
use crate::phase::{LogExt as _, LogLevel, MemoryLog};
use crate::{LayerBuilder, LayerContent, directory_layer, launcher_layer, process_types_layer, slice_layers};

/// The layers of the image above the run image's.
///
/// What goes wrong while they are looked for comes after them: the layers before it are made and logged first, as if
/// each was made where it is found.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What is to be logged after the last layer.
    pub(super) notes: Notes,
    pub(super) failure: Option<ExportError>,
}

/// A layer to come.
pub(super) struct Step {
    /// What is to be logged before it.
    pub(super) notes: Notes,
    /// Its name in logs.
    pub(super) id: String,
    /// Its entry in the image's history.
    pub(super) created_by: String,
    pub(super) what: What,
    /// Where its diff id belongs.
    pub(super) slot: Slot,
}

/// Lines for the log.
pub(super) type Notes = Vec<(LogLevel, String)>;

/// Where a layer comes from.
pub(super) enum What {
    /// It is made from this, unless the previous image has one with one of these diff ids.
    Make {
        content: Box<dyn LayerContent>,
        before: Vec<String>,
    },
    /// The previous image has it.
    Reuse { sha: String },
}

/// The place of a layer in the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// It has none.
    Extension,
    Buildpack {
        buildpack: usize,
        layer: String,
    },
    Sbom,
    App,
    Launcher,
    Config,
    ProcessTypes,
}

impl Slot {
    /// Writes a layer's diff id to its place.
    pub(super) fn fill(self, metadata: &mut LifecycleMetadata, sha: String) {
        match self {
            Self::Extension => {}
            Self::Buildpack { buildpack, layer } => {
                let known = metadata.buildpacks.iter_mut().flatten().nth(buildpack);
                if let Some(layer) = known.and_then(|known| known.layers.get_mut(&layer)) {
                    layer.sha = sha;
                }
            }
            Self::Sbom => metadata.sbom = Some(sha),
            Self::App => metadata.app.get_or_insert_default().push(sha),
            Self::Launcher => metadata.launcher = sha,
            Self::Config => metadata.config = sha,
            Self::ProcessTypes => metadata.process_types = sha,
        }
    }
}

/// A plan in the making.
struct Planner {
    plan: Plan,
    log: MemoryLog,
}

impl Planner {
    fn debug(&self, text: impl std::fmt::Display) {
        (&self.log as &dyn crate::phase::Log).debug(text);
    }

    fn step(&mut self, id: impl Into<String>, created_by: impl Into<String>, what: What, slot: Slot) {
        let step = Step {
            notes: std::mem::take(&mut self.log).lines(),
            id: id.into(),
            created_by: created_by.into(),
            what,
            slot,
        };
        self.plan.steps.push(step);
    }
}

fn make(content: Box<dyn LayerContent>, before: impl IntoIterator<Item = String>) -> What {
    What::Make {
        content,
        before: before.into_iter().filter(|sha| !sha.is_empty()).collect(),
    }
}

impl Export<'_> {
    /// Finds out which layers the image gets, and fills in what the label says about them but the diff ids.
    pub(super) fn plan(&self, build: &BuildMetadata, metadata: &mut LifecycleMetadata) -> Plan {
        let mut planner = Planner {
            plan: Plan::default(),
            log: MemoryLog::default(),
        };
        let mut find = || -> Result<(), ExportError> {
            for (content, created_by) in self.extension_layers() {
                planner.step("", created_by, make(Box::new(content), []), Slot::Extension);
            }
            self.plan_buildpacks(&mut planner, metadata)?;
            self.plan_sbom(&mut planner)?;
            self.plan_app(&mut planner, build, metadata)?;
            self.plan_launcher(&mut planner, build)
        };
        let failure = find().err();
        Plan {
            notes: planner.log.lines(),
            failure,
            ..planner.plan
        }
    }

    fn plan_buildpacks(&self, planner: &mut Planner, metadata: &mut LifecycleMetadata) -> Result<(), ExportError> {
        let mut all = Vec::new();
        for (number, buildpack) in self.inputs.group.buildpacks.iter().enumerate() {
            all.push(self.plan_buildpack(planner, number, buildpack)?);
        }
        metadata.buildpacks = (!all.is_empty()).then_some(all);
        Ok(())
    }

    fn plan_buildpack(
        &self,
        planner: &mut Planner,
        number: usize,
        buildpack: &GroupBuildpack,
    ) -> Result<BuildpackLayers, ExportError> {
        let disk = self.disk_layers();
        log_directory(self.inputs.layers_dir, &disk, buildpack, &planner.log);
        let named = self.inputs.layers_dir.join(buildpack.directory());
        planner.debug(format_args!("Processing buildpack directory: {}", named.display()));
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
            let Ok(toml) = layer.toml() else {
                malformed.push(layer.identifier());
                continue;
            };
            if !toml.types.launch {
                continue;
            }
            let path = named.join(layer.file_name());
            planner.debug(format_args!("Processing launch layer: {}", path.display()));
            let what = self.buildpack_layer(buildpack, &layer, &path, toml.types.cache)?;
            let created_by = format!(
                "Layer: '{}', Created by buildpack: {}@{}",
                layer.name, buildpack.id, buildpack.version
            );
            let slot = Slot::Buildpack {
                buildpack: number,
                layer: layer.name.clone(),
            };
            planner.step(layer.identifier(), created_by, what, slot);
            let entry = LayerMetadata {
                sha: String::new(),
                data: toml.metadata,
                build: toml.types.build,
                launch: toml.types.launch,
                cache: toml.types.cache,
            };
            known.layers.insert(layer.name, entry);
        }
        if malformed.is_empty() {
            Ok(known)
        } else {
            Err(ExportError::Malformed { layers: malformed })
        }
    }

    fn buildpack_layer(
        &self,
        buildpack: &GroupBuildpack,
        layer: &LayerDir,
        path: &Path,
        is_cached: bool,
    ) -> Result<What, ExportError> {
        let known = self.inputs.analyzed.metadata.buildpack(&buildpack.id);
        let before = known.and_then(|known| known.layers.get(&layer.name));
        let before = before.map(|layer| layer.sha.clone());
        if layer.has_contents() {
            return Ok(make(self.restorable(path)?, before));
        }
        let layer = layer.identifier();
        if is_cached {
            return Err(ExportError::NoContents { layer });
        }
        let sha = before.ok_or(ExportError::NotInPrevious { layer })?;
        Ok(What::Reuse { sha })
    }

    fn store(&self, buildpack: &GroupBuildpack) -> Result<Option<Data>, ExportError> {
        let path = self.inputs.layers_dir.join(buildpack.directory()).join("store.toml");
        match fs::read(self.disk(&path)) {
            Ok(bytes) => {
                let text = toml_text(&bytes).map_err(DecodeError::from);
                let store = text.and_then(read_store).map_err(|source| ExportError::Store {
                    buildpack: buildpack.id.clone(),
                    source,
                });
                store.map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ExportError::ReadStore {
                buildpack: buildpack.id.clone(),
                path,
                source,
            }),
        }
    }

    pub(super) fn directory(&self, dir: &Path) -> Result<LayerBuilder, ExportError> {
        let inputs = &self.inputs;
        let layer = directory_layer(inputs.root, dir, &inputs.parents, inputs.uid, inputs.gid);
        layer.map_err(ExportError::CreateLayer)
    }

    /// Returns the layer of a directory that may have been restored in this run.
    pub(super) fn restorable(&self, dir: &Path) -> Result<Box<dyn LayerContent>, ExportError> {
        let layer = self.directory(dir)?;
        Ok(match self.seals {
            Some(seals) => seals.apply(&self.disk(dir), layer),
            None => Box::new(layer),
        })
    }

    fn plan_sbom(&self, planner: &mut Planner) -> Result<(), ExportError> {
        let dir = self.inputs.layers_dir.join("sbom/launch");
        if !self.inputs.api.at_least(8) || fs::metadata(self.disk(&dir)).is_err() {
            return Ok(());
        }
        planner.debug(format_args!("Found SBOM of type launch for at {}", dir.display()));
        let what = make(
            Box::new(self.directory(&dir)?),
            self.inputs.analyzed.metadata.sbom.clone(),
        );
        let id = "buildpacksio/lifecycle:launch.sbom";
        planner.step(id, "Software Bill-of-Materials", what, Slot::Sbom);
        Ok(())
    }

    fn plan_app(
        &self,
        planner: &mut Planner,
        build: &BuildMetadata,
        metadata: &mut LifecycleMetadata,
    ) -> Result<(), ExportError> {
        let inputs = &self.inputs;
        let (root, dir) = (inputs.root, inputs.app_dir);
        let slices = slice_layers(root, dir, &build.slices, &inputs.parents, inputs.uid, inputs.gid);
        let slices = slices.map_err(ExportError::CreateApp)?;
        planner.debug("Adding app layers");
        metadata.app = Some(Vec::new());
        let before = inputs.analyzed.metadata.app.clone().unwrap_or_default();
        let total = slices.len();
        for (number, slice) in (1..).zip(slices) {
            let created_by = match total {
                1 => "Application Layer".to_owned(),
                _ => format!("Application Slice: {number}"),
            };
            let what = make(Box::new(slice), before.clone());
            planner.step(format!("slice-{number}"), created_by, what, Slot::App);
        }
        Ok(())
    }

    fn plan_launcher(&self, planner: &mut Planner, build: &BuildMetadata) -> Result<(), ExportError> {
        let before = &self.inputs.analyzed.metadata;
        let launcher = self.inputs.launcher;
        if let Err(source) = fs::metadata(launcher) {
            return Err(ExportError::NoLauncher {
                path: launcher.to_owned(),
                source,
            });
        }
        let mut step = |name: &str, created_by: &str, content, before: &String, slot| {
            let what = make(Box::new(content), [before.clone()]);
            planner.step(format!("buildpacksio/lifecycle:{name}"), created_by, what, slot);
        };
        let (content, created_by) = (launcher_layer(launcher), "Buildpacks Application Launcher");
        step("launcher", created_by, content, &before.launcher, Slot::Launcher);
        let content = self.directory(&self.inputs.layers_dir.join("config"))?;
        let created_by = "Buildpacks Launcher Config";
        step("config", created_by, content, &before.config, Slot::Config);
        let types = build.process_types();
        if !types.is_empty() {
            let content = process_types_layer(&types).map_err(ExportError::ProcessTypes)?;
            let created_by = "Buildpacks Process Types";
            let before = &before.process_types;
            step("process-types", created_by, content, before, Slot::ProcessTypes);
        }
        Ok(())
    }
}

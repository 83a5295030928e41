//! Making the image: layers, config, labels, report.
//!
//! [`Export`] puts the layers of the buildpacks, the application and the launcher above the run image and
//! saves the result. A layer that the previous image has is hashed and not sent; any other is read once,
//! on its way to the registry. Several are on their way at once, as many as the budget of memory allows (see
//! [`Compression::memory`]). [`export_cache`] then fills the cache of the next build.

mod cached;
mod config;
mod error;
mod extended;
mod layers;
mod made;
mod make;
mod plan;
mod sbom;

pub use cached::export_cache;
pub use error::ExportError;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cnb_order::toml_text;
use registry_auth::Reference;

use crate::metadata::{
    Analyzed, BuildMetadata, DecodeError, Group, LauncherVersion, LifecycleMetadata, ProjectMetadata, Report,
    RunImageMetadata, RunImageNames, RunToml,
};
use crate::open::{open_base, open_once};
use crate::phase::{Home, Log, LogExt as _, PlatformApi};
use crate::save::{SaveError, Saving, save};
use crate::store::REF_NAME;
use crate::{Compression, Image, ImageSource, ImageTarget, LayoutImages, Platform, Seals, Timestamp};
use layers::Stack;
use made::{Made, Running};

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
    /// Where the images are.
    pub home: Home<'a>,
    /// Waits before another attempt to open the run image.
    pub wait: &'a (dyn Fn(Duration) + Sync),
}

/// The digest that the label has for every run image in a layout: in the reference, that of an image without content.
/// Nothing goes by it, but labels are to be the same.
const UNREAD: &str = "sha256:9bff545fd88403019875bc484da593c84761e6c89bae9058b76d1054d54548d0";

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
    cancel: Option<&'a AtomicBool>,
    seals: Option<&'a Seals>,
    /// The layers made in this run, for the cache.
    made: Made,
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
                let reference = parse(name)?;
                let said = match inputs.home {
                    Home::Registry => name,
                    // The reference does not say which version it finds at a path.
                    Home::Layout { .. } => name.split('@').next().unwrap_or(name),
                };
                log.info(format_args!("Reusing layers from image '{said}'"));
                let image = source
                    .image(&reference, inputs.platform)
                    .map_err(ExportError::Previous)?;
                image.map(|image| (image, reference))
            }
        };
        let base_reference = parse(run_image)?;
        let base = match inputs.home {
            Home::Registry => open_base(&base_reference, source, inputs.platform, inputs.wait, log),
            // Nobody pushes it there right now.
            Home::Layout { .. } => open_once(&base_reference, source, inputs.platform),
        };
        let base = base.map_err(ExportError::Base)?;
        let base_reference = base_reference.with_digest(base.digest());
        Ok(Self {
            inputs,
            source,
            target,
            base,
            base_reference,
            previous,
            extended: None,
            cancel: None,
            seals: None,
            made: Made::default(),
        })
    }

    /// Ends the export early once `cancel` is set: at the next bytes of each layer that is on its way, or after the
    /// walk over one that is sealed. What takes the bytes may have to be waited for. When all layers are there, the names
    /// move, and it is too late.
    #[must_use]
    pub fn with_cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Does not read layers whose seal is whole, where their diff id is all that is needed. See [`Seals`] for the risk.
    #[must_use]
    pub fn with_seals(mut self, seals: &'a Seals) -> Self {
        self.seals = Some(seals);
        self
    }

    /// Returns [`ExportError::Cancelled`] if the export has been cancelled.
    fn check_cancel(&self) -> Result<(), ExportError> {
        match self.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(ExportError::Cancelled),
            _ => Ok(()),
        }
    }

    /// Makes the image and saves it under its names, which move last.
    ///
    /// # Errors
    /// See [`ExportError`]. Unless it is [`ExportError::Save`], no name has changed.
    pub fn run(&self, log: &dyn Log) -> Result<Report, ExportError> {
        self.run_started(self.made.start(), log)
    }

    /// Makes the image as [`run`](Self::run) does, and does something else meanwhile: fills a cache, with
    /// [`export_cache`], which waits for each layer that is still to be made.
    ///
    /// # Errors
    /// As [`run`](Self::run), beside what came of the other.
    ///
    /// # Panics
    /// When `beside` does.
    pub fn run_beside<T: Send>(
        &self,
        beside: impl FnOnce() -> T + Send,
        log: &dyn Log,
    ) -> (Result<Report, ExportError>, T) {
        let running = self.made.start();
        std::thread::scope(|scope| {
            let other = scope.spawn(beside);
            let report = self.run_started(running, log);
            match other.join() {
                Ok(other) => (report, other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn run_started(&self, running: Running<'_>, log: &dyn Log) -> Result<Report, ExportError> {
        let api = self.inputs.api;
        if api.at_least(11) {
            sbom::copy(self.disk_layers().as_path(), self.inputs.sbom, log)?;
        }
        let build = self.build_metadata()?;
        let top_layer = self.base.top_layer().map_or_else(String::new, ToString::to_string);
        let mut metadata = LifecycleMetadata {
            run_image: RunImageMetadata {
                top_layer,
                reference: self.base_name(),
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
        let plan = self.plan(&build, &mut metadata);
        self.make_all(plan, &mut stack, &mut metadata, log)?;
        drop(running);
        let (mut draft, layers) = stack.finish(self.inputs.created.clone(), api.at_least(12));
        if let Some(settings) = self.extended_settings() {
            *draft.container_mut() = settings.clone();
        }
        self.set_labels(&mut draft, &metadata, &build, log)?;
        self.configure(&mut draft, &build, log)?;
        let mut report = Report::default();
        if !api.at_least(9) {
            self.add_old_bom(&mut report)?;
        }
        if let Home::Layout { ref_name } = self.inputs.home {
            draft.annotations_mut().insert(REF_NAME.to_owned(), ref_name.to_owned());
        }
        let image = draft.finish();
        self.check_cancel()?;
        let saving = Saving {
            image: &image,
            layers: &layers,
            names: self.inputs.names,
            home: self.inputs.home,
            current: None,
        };
        let saved = save(saving, self.source, self.target, log)?;
        Ok(report.with_image(saved))
    }

    /// Returns what the label says the run image is.
    fn base_name(&self) -> String {
        match self.inputs.home {
            Home::Registry => self.base_reference.to_string(),
            Home::Layout { .. } => {
                let path = LayoutImages::name(&self.base_reference);
                format!("{}@{UNREAD}", path.split('@').next().unwrap_or_default())
            }
        }
    }

    fn disk_layers(&self) -> PathBuf {
        self.disk(self.inputs.layers_dir)
    }

    fn disk(&self, path: &Path) -> PathBuf {
        self.inputs.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn build_metadata(&self) -> Result<BuildMetadata, ExportError> {
        let path = self.inputs.layers_dir.join("config/metadata.toml");
        let bytes = fs::read(self.disk(&path)).map_err(|source| ExportError::ReadBuildMetadata { path, source })?;
        let text = toml_text(&bytes).map_err(DecodeError::from);
        text.and_then(BuildMetadata::from_toml)
            .map_err(ExportError::BuildMetadata)
    }
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

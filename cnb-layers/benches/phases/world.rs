//! What a build leaves on disk, and the phases that work on it.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use cnb_layers::analyze::{AnalyzeInputs, analyze};
use cnb_layers::cache::Cache;
use cnb_layers::export::{Export, ExportInputs, SbomFiles, export_cache};
use cnb_layers::metadata::{Analyzed, Group, GroupBuildpack, LauncherVersion, ProjectMetadata, RunImageNames};
use cnb_layers::phase::{NoLog, PlatformApi};
use cnb_layers::restore::{RestoreInputs, restore};
use cnb_layers::{
    AllowAll, BaseImage, Compression, ImageSource, ImageTarget, LayerBuilder, Parents, Platform, Reference,
    RegistryAccess, Timestamp,
};

use crate::data::Set;

/// A data set as the layers of one buildpack, below a root.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) set: Set,
}

impl World {
    pub(crate) fn new(root: &Path, set: Set) -> Self {
        Self {
            root: root.to_owned(),
            set,
        }
    }

    /// Writes everything, unless it is there.
    pub(crate) fn write(&self, shrink: usize) {
        if self.root.join("complete").exists() {
            return;
        }
        for number in 0..self.set.layers() {
            self.set.write(number, &self.layer(number), shrink);
            let flags = "[types]\nlaunch = true\ncache = true\nbuild = true\n";
            self.file(&format!("layers/acme_bp/layer{number}.toml"), flags);
        }
        self.file("workspace/main.sh", "echo hello\n");
        self.file("cnb/launcher", "#!launcher\n");
        let process = "[[processes]]\ntype = \"web\"\ncommand = [\"sh\"]\nargs = []\ndirect = true\n";
        self.file(
            "layers/config/metadata.toml",
            &format!("{process}buildpack-id = \"acme/bp\"\n"),
        );
        self.file("complete", "");
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("there is room");
        fs::write(path, text).expect("there is room");
    }

    /// The directory of a layer.
    pub(crate) fn layer(&self, number: usize) -> PathBuf {
        self.root.join(format!("layers/acme_bp/layer{number}"))
    }

    pub(crate) fn analyze(
        &self,
        app: &str,
        run_image: &str,
        source: &dyn ImageSource,
        target: &dyn ImageTarget,
        access: Option<&dyn RegistryAccess>,
    ) -> Analyzed {
        let names = [app.to_owned()];
        let inputs = AnalyzeInputs {
            api: PlatformApi::NEWEST,
            names: &names,
            previous_image: app,
            run_image,
            cache_image: None,
            skip_layers: false,
            layers_dir: Path::new("/layers"),
            root: &self.root,
            platform: &Platform::linux_amd64(),
        };
        analyze(&inputs, source, target, access.unwrap_or(&AllowAll), &NoLog).expect("it can be analyzed")
    }

    pub(crate) fn export(
        &self,
        app: &str,
        analyzed: &Analyzed,
        source: &dyn ImageSource,
        target: &dyn ImageTarget,
        cache: Option<&dyn Cache>,
    ) {
        let (lifecycle, launcher) = (self.root.join("cnb"), self.root.join("cnb/launcher"));
        let run_image = analyzed.run_image.as_ref().map_or("", |image| &image.image);
        let names = [app.to_owned()];
        let group = group();
        let inputs = ExportInputs {
            api: PlatformApi::NEWEST,
            names: &names,
            analyzed,
            group: &group,
            project: &ProjectMetadata::default(),
            run_image_names: RunImageNames {
                image: run_image.to_owned(),
                mirrors: Vec::new(),
            },
            layers_dir: Path::new("/layers"),
            app_dir: Path::new("/workspace"),
            root: &self.root,
            launcher: &launcher,
            launcher_version: LauncherVersion::default(),
            sbom: SbomFiles {
                lifecycle: &lifecycle,
                launcher: None,
            },
            process_type: "web",
            exec_env: "production",
            uid: 1000,
            gid: 1000,
            parents: Parents::Given(&|_| (0o755, 1000, 1000)),
            created: Timestamp::reproducible(),
            compression: compression(),
            platform: &Platform::linux_amd64(),
            wait: &|_| (),
        };
        let mut export = Export::open(inputs, source, target, &NoLog).expect("the images are there");
        export.run(&NoLog).expect("it can be exported");
        if let Some(cache) = cache {
            export_cache(&export, cache, &NoLog).expect("the cache can be written");
        }
    }

    /// Restores into an empty layers directory below `root`.
    pub(crate) fn restore(&self, root: &Path, analyzed: &Analyzed, cache: &dyn Cache) {
        let inputs = RestoreInputs {
            api: PlatformApi::NEWEST,
            layers_dir: Path::new("/layers"),
            root,
            group: &group(),
            metadata: &analyzed.metadata,
            skip_layers: false,
            parallelism: NonZeroUsize::new(threads()).expect("there is a processor"),
        };
        restore(&inputs, Some(cache), &NoLog).expect("the directory can be written");
        for number in 0..self.set.layers() {
            let restored = root.join(format!("layers/acme_bp/layer{number}"));
            assert!(restored.is_dir(), "layer {number} was not restored");
        }
    }
}

fn group() -> Group {
    Group {
        buildpacks: vec![GroupBuildpack {
            id: "acme/bp".into(),
            version: "1".into(),
            api: "0.10".into(),
        }],
        extensions: Vec::new(),
    }
}

pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn compression() -> Compression {
    Compression {
        threads: threads(),
        ..Compression::default()
    }
}

/// Pushes a base image of two small layers.
pub(crate) fn push_base(target: &dyn ImageTarget, name: &str, content: &str) {
    let tag = Reference::parse(name).expect("it is a name");
    let layer = |path: &str, text: &str| LayerBuilder::new().file(path, 0o644, 0, 0, text);
    BaseImage::new(Platform::linux_amd64())
        .layer("os", layer("etc/os-release", "ID=acme\n"))
        .layer("motd", layer("etc/motd", content))
        .env("PATH", "/usr/bin")
        .push(target, &[tag], Compression::default())
        .expect("the base image can be written");
}

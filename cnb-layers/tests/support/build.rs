//! What a build leaves on disk, below a root, and the phases that work on it.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use cnb_layers::analyze::{AnalyzeInputs, analyze};
use cnb_layers::cache::Cache;
use cnb_layers::export::{Export, ExportError, ExportInputs, SbomFiles};
use cnb_layers::metadata::{Analyzed, Group, GroupBuildpack, LauncherVersion, ProjectMetadata, RunImageNames};
use cnb_layers::phase::{Home, Log, PlatformApi};
use cnb_layers::restore::{RestoreInputs, restore};
use cnb_layers::{
    BaseImage, Compression, ImageSource, ImageTarget, LayerBuilder, Parents, Platform, Reference, RegistryAccess,
    Seals, Timestamp,
};

/// A build of one buildpack, with what the platform says about it.
pub struct Build {
    pub root: PathBuf,
    pub api: PlatformApi,
    /// The names to save the image under.
    pub names: Vec<String>,
    pub run_image: String,
    pub group: Group,
    pub platform: Platform,
    pub compression: Compression,
    /// The execution environment; empty: none.
    pub exec_env: &'static str,
    project: ProjectMetadata,
    lifecycle: PathBuf,
    launcher: PathBuf,
}

impl Build {
    /// A build of `buildpack` below `root`, for the image `app` on `run_image`. Nothing is written yet.
    pub fn new(root: &Path, buildpack: &str, app: &str, run_image: &str) -> Self {
        Self {
            root: root.to_owned(),
            api: PlatformApi::NEWEST,
            names: vec![app.to_owned()],
            run_image: run_image.to_owned(),
            group: Group {
                buildpacks: vec![GroupBuildpack {
                    id: buildpack.to_owned(),
                    version: "1".to_owned(),
                    api: "0.10".to_owned(),
                }],
                extensions: Vec::new(),
            },
            platform: Platform::linux_amd64(),
            compression: Compression::default(),
            exec_env: "production",
            project: ProjectMetadata::default(),
            lifecycle: root.join("cnb"),
            launcher: root.join("cnb/launcher"),
        }
    }

    pub fn disk(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.disk(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("there is room");
        fs::write(path, text).expect("there is room");
    }

    /// Writes the application, the launcher, and one process named `web`.
    pub fn write_app(&self) {
        self.write("workspace/main.sh", "echo hello\n");
        self.write("cnb/launcher", "#!launcher\n");
        let buildpack = &self.group.buildpacks[0].id;
        let process = "[[processes]]\ntype = \"web\"\ncommand = [\"run\"]\nargs = []\ndirect = true\n";
        self.write(
            "layers/config/metadata.toml",
            format!("{process}buildpack-id = \"{buildpack}\"\n"),
        );
    }

    /// Writes the flags of a layer: `types` are the lines below `[types]`.
    pub fn write_layer_toml(&self, layer: &str, types: &str) {
        let directory = self.group.buildpacks[0].directory();
        self.write(
            &format!("layers/{directory}/{layer}.toml"),
            format!("[types]\n{types}\n"),
        );
    }

    pub fn analyze(
        &self,
        source: &dyn ImageSource,
        target: &dyn ImageTarget,
        access: &dyn RegistryAccess,
        log: &dyn Log,
    ) -> Analyzed {
        let inputs = AnalyzeInputs {
            api: self.api,
            names: &self.names,
            previous_image: &self.names[0],
            run_image: &self.run_image,
            cache_image: None,
            skip_layers: false,
            layers_dir: Path::new("/layers"),
            root: &self.root,
            platform: &self.platform,
            home: Home::Registry,
        };
        let analyzed = analyze(&inputs, source, target, access, log).expect("all is there");
        // Phases are separate processes: what counts is what the file holds.
        Analyzed::from_toml(&analyzed.to_toml().expect("TOML can hold it")).expect("it is what we wrote")
    }

    /// Opens an export, which has not begun yet.
    pub fn open<'a>(
        &'a self,
        analyzed: &'a Analyzed,
        source: &'a dyn ImageSource,
        target: &'a dyn ImageTarget,
        log: &dyn Log,
    ) -> Result<Export<'a>, ExportError> {
        let inputs = ExportInputs {
            api: self.api,
            names: &self.names,
            analyzed,
            group: &self.group,
            project: &self.project,
            run_image_names: RunImageNames {
                image: self.run_image.clone(),
                mirrors: Vec::new(),
            },
            layers_dir: Path::new("/layers"),
            app_dir: Path::new("/workspace"),
            root: &self.root,
            launcher: &self.launcher,
            launcher_version: LauncherVersion::default(),
            sbom: SbomFiles {
                lifecycle: &self.lifecycle,
                launcher: None,
            },
            process_type: "web",
            exec_env: self.exec_env,
            uid: 1000,
            gid: 1000,
            parents: Parents::Given(&|_| (0o755, 1000, 1000)),
            created: Timestamp::reproducible(),
            compression: self.compression,
            platform: &self.platform,
            home: Home::Registry,
            wait: &|_| (),
        };
        Export::open(inputs, source, target, log)
    }

    /// Restores into the layers directory below `root`.
    pub fn restore(&self, root: &Path, analyzed: &Analyzed, cache: &dyn Cache, log: &dyn Log) {
        self.restore_sealed(root, analyzed, cache, None, log);
    }

    /// As [`restore`](Self::restore), with a place for the seals of the layers.
    pub fn restore_sealed(
        &self,
        root: &Path,
        analyzed: &Analyzed,
        cache: &dyn Cache,
        seals: Option<&Seals>,
        log: &dyn Log,
    ) {
        fs::create_dir_all(root.join("layers")).expect("there is room");
        let inputs = RestoreInputs {
            api: self.api,
            layers_dir: Path::new("/layers"),
            root,
            group: &self.group,
            metadata: &analyzed.metadata,
            skip_layers: false,
            parallelism: NonZeroUsize::new(self.compression.threads).expect("there are threads"),
            seals,
        };
        restore(&inputs, Some(cache), log).expect("the layers directory can be written");
    }
}

/// A run image of two layers, of which the first is always the same.
pub fn run_image(motd: &str) -> BaseImage {
    let file = |path: &str, text: &str| LayerBuilder::new().file(path, 0o644, 0, 0, text);
    BaseImage::new(Platform::linux_amd64())
        .layer("os", file("etc/os-release", "ID=acme\n"))
        .layer("motd", file("etc/motd", motd))
        .env("PATH", "/usr/bin")
}

pub fn reference(name: &str) -> Reference {
    Reference::parse(name).expect("it is a name")
}

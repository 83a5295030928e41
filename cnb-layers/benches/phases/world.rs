//! What a build leaves on disk, and the phases that work on it.

use std::path::{Path, PathBuf};

use cnb_layers::cache::Cache;
use cnb_layers::export::export_cache;
use cnb_layers::metadata::Analyzed;
use cnb_layers::phase::NoLog;
use cnb_layers::{AllowAll, Compression, ImageSource, ImageTarget, RegistryAccess, Seals};

use crate::build::{Build, reference, run_image};
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
        }
        self.write_types();
        self.build("app", "base").write("complete", "");
    }

    /// Writes what the buildpack says of its layers, and the application.
    pub(crate) fn write_types(&self) {
        let build = self.build("app", "base");
        for number in 0..self.set.layers() {
            build.write_layer_toml(&format!("layer{number}"), "launch = true\ncache = true\nbuild = true");
        }
        build.write_app();
    }

    /// The build that has left this, for the image `app`.
    fn build(&self, app: &str, run_image: &str) -> Build {
        let mut build = Build::new(&self.root, "acme/bp", app, run_image);
        build.compression = compression();
        build
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
        let build = self.build(app, run_image);
        build.analyze(source, target, access.unwrap_or(&AllowAll), &NoLog)
    }

    pub(crate) fn export(
        &self,
        app: &str,
        analyzed: &Analyzed,
        source: &dyn ImageSource,
        target: &dyn ImageTarget,
        cache: Option<&dyn Cache>,
        seals: Option<&Seals>,
    ) {
        let run_image = analyzed.run_image.as_ref().map_or("", |image| &image.image);
        let build = self.build(app, run_image);
        let export = build.open(analyzed, source, target, &NoLog);
        let mut export = export.expect("the images are there");
        if let Some(seals) = seals {
            export = export.with_seals(seals);
        }
        export.run(&NoLog).expect("it can be exported");
        if let Some(cache) = cache {
            export_cache(&export, cache, &NoLog).expect("the cache can be written");
        }
    }

    /// Restores into an empty layers directory below `root`.
    pub(crate) fn restore(&self, root: &Path, analyzed: &Analyzed, cache: &dyn Cache, seals: Option<&Seals>) {
        let build = self.build("app", "base");
        build.restore_sealed(root, analyzed, cache, seals, &NoLog);
        for number in 0..self.set.layers() {
            let restored = root.join(format!("layers/acme_bp/layer{number}"));
            assert!(restored.is_dir(), "layer {number} was not restored");
        }
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
    let pushed = run_image(content).push(target, &[reference(name)], Compression::default());
    pushed.expect("the base image can be written");
}

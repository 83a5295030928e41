//! Layers that image extensions have added to the run image.

use std::fs;
use std::io;
use std::path::Path;

use super::{Export, ExportError};
use crate::{ContainerConfig, Image, ImageError, ImageSource as _, LayoutStore, RewrittenTar};

/// A run image that extensions have extended.
pub(super) struct Extended {
    image: Image,
    layout: LayoutStore,
}

impl Export<'_> {
    /// Takes the run image that image extensions have extended, from the directory `dir` in which the extender has
    /// left it: an OCI layout named after the image's digest, without the blobs of the run image. A directory that is
    /// empty or missing means that nothing was extended.
    ///
    /// Its layers come directly above the run image's; when the run image of analyzed.toml has `extend = true`, its
    /// environment, user and labels take the place of the run image's.
    ///
    /// # Errors
    /// [`ExportError::Extended`] when there is anything else in the directory.
    pub fn with_extended_run_image(mut self, dir: &Path) -> Result<Self, ExportError> {
        let failed = |problem: String| ExportError::Extended {
            path: dir.to_owned(),
            problem,
        };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let entries = entries.map_err(|error| failed(error.to_string()))?;
        let [entry] = entries.as_slice() else {
            return match entries.len() {
                0 => Ok(self),
                count => Err(failed(format!("there are {count} images and not one"))),
            };
        };
        let opened = || -> Result<(Option<Image>, LayoutStore), ImageError> {
            let layout = LayoutStore::open(entry.path())?;
            let index = layout.index()?;
            let [manifest] = index.manifests.as_slice() else {
                return Ok((None, layout));
            };
            let reference = self.base_reference.with_digest(&manifest.digest);
            Ok((layout.image(&reference, self.inputs.platform)?, layout))
        };
        let (image, layout) = opened().map_err(ExportError::ReadExtended)?;
        let image = image.ok_or_else(|| failed("the layout does not hold exactly one image".to_owned()))?;
        self.extended = Some(Extended { image, layout });
        Ok(self)
    }

    /// Returns the layers of the extensions, those whose blobs are there, with what history says of each.
    pub(super) fn extension_layers(&self) -> Vec<(RewrittenTar, String)> {
        let Some(extended) = &self.extended else {
            return Vec::new();
        };
        let config = extended.image.config();
        let mut history = config.history.iter().filter(|entry| !entry.empty_layer);
        let blobs = extended.layout.dir().join("blobs/sha256");
        let layers = extended.image.layers().into_iter().map(|layer| {
            let created_by = history
                .next()
                .map_or_else(String::new, |entry| entry.created_by.clone());
            (blobs.join(layer.descriptor.digest.hex()), created_by)
        });
        let there = layers.filter(|(blob, _)| blob.is_file());
        there
            .map(|(blob, created_by)| (RewrittenTar(blob), created_by))
            .collect()
    }

    /// Returns the settings that take the place of the run image's.
    pub(super) fn extended_settings(&self) -> Option<&ContainerConfig> {
        let extends = self
            .inputs
            .analyzed
            .run_image
            .as_ref()
            .is_some_and(|image| image.extend);
        let extended = self.extended.as_ref().filter(|_| extends)?;
        Some(&extended.image.config().config)
    }
}

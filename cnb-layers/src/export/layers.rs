//! Adding layers to the image, or reusing those of the previous one.

use registry_auth::Reference;

use super::{Export, ExportError, MadeLayer};
use crate::phase::{Log, LogExt as _, with_causes};
use crate::save::{Placed, SaveError};
use crate::{
    DiffId, History, Image, ImageDraft, Layer, LayerContent, Timestamp, UploadError, diff_id, media_type, upload_layer,
};

/// The layers of the image in the making.
pub(super) struct Stack {
    base: Image,
    layers: Vec<Placed>,
    /// The history of the layers above the base.
    history: Vec<String>,
    /// Where new layers go.
    output: Reference,
    /// The name of that as the user gave it.
    name: String,
}

impl Stack {
    pub(super) fn new(base: &Image, reference: &Reference, output: Reference, name: String) -> Self {
        let placed = |layer| Placed {
            layer,
            from: reference.clone(),
        };
        Self {
            base: base.clone(),
            layers: base.layers().into_iter().map(placed).collect(),
            history: Vec::new(),
            output,
            name,
        }
    }

    fn push(&mut self, layer: Layer, from: Reference, created_by: String) {
        self.layers.push(Placed { layer, from });
        self.history.push(created_by);
    }

    /// Makes the image of base and layers. Without `with_history`, only the times of the history remain.
    pub(super) fn finish(self, created: Timestamp, with_history: bool) -> (ImageDraft, Vec<Placed>) {
        let mut draft = ImageDraft::of(&self.base);
        draft.normalize_history();
        let above = self.base.layers().len();
        for (placed, created_by) in self.layers[above..].iter().zip(self.history) {
            draft.push_layer(placed.layer.clone(), History::new(created.clone(), created_by));
        }
        let config = draft.config_mut();
        for entry in &mut config.history {
            if !with_history {
                *entry = History::default();
            }
            entry.created = created.clone();
        }
        config.created = created;
        config.container.clear();
        (draft, self.layers)
    }
}

impl Export<'_> {
    /// Adds a layer, unless the previous image has the same: then that one is used again.
    pub(super) fn add_or_reuse(
        &mut self,
        stack: &mut Stack,
        id: &str,
        content: &dyn LayerContent,
        before: Option<&str>,
        created_by: String,
        log: &dyn Log,
    ) -> Result<DiffId, ExportError> {
        let before = before.filter(|sha| !sha.is_empty());
        if let Some(sha) = before {
            let (now, _) = diff_id(content).map_err(ExportError::CreateLayer)?;
            if now.as_str() == sha {
                log.debug(format_args!("Reusing tarball for layer {id:?} with SHA: {now}"));
                self.reuse(stack, id, sha, created_by, log)?;
                return Ok(now);
            }
        }
        let made = self.upload(stack, content, created_by)?;
        log.debug(format_args!("Reusing tarball for layer {id:?} with SHA: {made}"));
        log.info(format_args!("Adding layer '{id}'"));
        log.debug(format_args!("Layer '{id}' SHA: {made}"));
        self.remember(id, &made, stack);
        Ok(made)
    }

    /// Uses a layer of the previous image again.
    pub(super) fn reuse(
        &mut self,
        stack: &mut Stack,
        id: &str,
        sha: &str,
        created_by: String,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        log.info(format_args!("Reusing layer '{id}'"));
        log.debug(format_args!("Layer '{id}' SHA: {sha}"));
        let (layer, from) = self.previous_layer(sha).ok_or_else(|| self.not_reusable(id, sha))?;
        let diff_id = layer.diff_id.clone();
        stack.push(layer, from, created_by);
        self.remember(id, &diff_id, stack);
        Ok(())
    }

    /// Adds a slice of the application, or uses any of the previous ones again that is the same.
    pub(super) fn add_slice(
        &mut self,
        stack: &mut Stack,
        content: &dyn LayerContent,
        before: &[String],
        created_by: String,
        _log: &dyn Log,
    ) -> Result<(DiffId, bool), ExportError> {
        if !before.is_empty() {
            let (now, _) = diff_id(content).map_err(ExportError::CreateApp)?;
            if before.iter().any(|sha| sha == now.as_str()) {
                let found = self.previous_layer(now.as_str());
                let (layer, from) = found.ok_or_else(|| self.not_reusable("app", now.as_str()))?;
                stack.push(layer, from, created_by);
                return Ok((now, true));
            }
        }
        let made = self.upload(stack, content, created_by).map_err(|error| match error {
            ExportError::CreateLayer(error) => ExportError::CreateApp(error),
            other => other,
        })?;
        Ok((made, false))
    }

    fn not_reusable(&self, id: &str, sha: &str) -> ExportError {
        match self.previous {
            Some(_) => ExportError::NotReusable {
                layer: id.to_owned(),
                sha: sha.to_owned(),
            },
            None => ExportError::NoPrevious { sha: sha.to_owned() },
        }
    }

    fn previous_layer(&self, sha: &str) -> Option<(Layer, Reference)> {
        let (image, reference) = self.previous.as_ref()?;
        Some((image.layer(&sha.parse().ok()?)?, reference.clone()))
    }

    pub(super) fn upload(
        &self,
        stack: &mut Stack,
        content: &dyn LayerContent,
        created_by: String,
    ) -> Result<DiffId, ExportError> {
        let repository = stack.output.repository().clone();
        let uploaded = upload_layer(
            self.target,
            &repository,
            content,
            media_type::DOCKER_LAYER_GZIP,
            self.inputs.compression,
        );
        let (layer, _) = uploaded.map_err(|error| match error {
            UploadError::Layer(error) => ExportError::CreateLayer(error),
            UploadError::NoTag => {
                ExportError::Save(SaveError(vec![(stack.name.clone(), UploadError::NoTag.to_string())]))
            }
            UploadError::Store(error) => ExportError::Save(SaveError(vec![(stack.name.clone(), with_causes(&error))])),
        })?;
        let diff_id = layer.diff_id.clone();
        let from = stack.output.clone();
        stack.push(layer, from, created_by);
        Ok(diff_id)
    }

    fn remember(&mut self, id: &str, diff_id: &DiffId, stack: &Stack) {
        let placed = stack
            .layers
            .last()
            .map(|placed| (placed.from.clone(), placed.layer.clone()));
        self.made.insert(
            id.to_owned(),
            MadeLayer {
                diff_id: diff_id.clone(),
                placed,
            },
        );
    }
}

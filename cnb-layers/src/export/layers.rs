//! Adding layers to the image, or reusing those of the previous one.

use registry_auth::Reference;

use super::made::MadeLayer;
use super::make::Outcome;
use super::plan::{Slot, Step};
use super::{Export, ExportError};
use crate::phase::{Log, LogExt as _};
use crate::save::Placed;
use crate::{History, Image, ImageDraft, Layer, Timestamp};

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

    /// Returns where new layers go.
    pub(super) fn output(&self) -> &Reference {
        &self.output
    }

    /// Returns the name of that as the user gave it.
    pub(super) fn name(&self) -> &str {
        &self.name
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
    /// Adds a layer to the image, and says what became of it.
    pub(super) fn add(
        &self,
        step: &Step,
        outcome: Outcome,
        stack: &mut Stack,
        log: &dyn Log,
    ) -> Result<MadeLayer, ExportError> {
        let (id, is_slice) = (&step.id, step.slot == Slot::App);
        let sha = match &outcome {
            Outcome::Made(layer) => layer.diff_id.to_string(),
            Outcome::Reuse(sha) | Outcome::Unchanged(sha) => sha.clone(),
        };
        if !is_slice && step.slot != Slot::Extension {
            if !matches!(outcome, Outcome::Reuse(_)) {
                log.debug(format_args!(
                    "Reusing tarball for layer {} with SHA: {sha}",
                    cnb_order::go_quoted(id)
                ));
            }
            match &outcome {
                Outcome::Made(_) => log.info(format_args!("Adding layer '{id}'")),
                _ => log.info(format_args!("Reusing layer '{id}'")),
            }
            log.debug(format_args!("Layer '{id}' SHA: {sha}"));
        }
        let (layer, from) = match outcome {
            Outcome::Made(layer) => (*layer, stack.output.clone()),
            Outcome::Reuse(_) | Outcome::Unchanged(_) => {
                let id = if is_slice { "app" } else { id };
                self.previous_layer(&sha).ok_or_else(|| self.not_reusable(id, &sha))?
            }
        };
        if is_slice {
            log.debug(format_args!("Layer '{id}' SHA: {sha}"));
        }
        let made = MadeLayer {
            diff_id: layer.diff_id.clone(),
            placed: (from.clone(), layer.clone()),
        };
        stack.push(layer, from, step.created_by.clone());
        Ok(made)
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
}

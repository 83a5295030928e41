//! Making layers, several at once, and adding them to the image in their order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use registry_auth::Repository;

use super::layers::Stack;
use super::plan::{Notes, Plan, Slot, Step, What};
use super::{Export, ExportError};
use crate::layer::Cancellable;
use crate::metadata::LifecycleMetadata;
use crate::phase::{Log, LogExt as _, with_causes};
use crate::pipeline::{Slots, upload_layer_in};
use crate::save::SaveError;
use crate::{Compression, ImageTarget, Layer, LayerContent as _, UploadError, diff_id, media_type};

/// What became of a layer that was to be made.
pub(super) enum Outcome {
    /// The previous image is said to have it.
    Reuse(String),
    /// It is the same as one of the previous image.
    Unchanged(String),
    /// It has been made and stored.
    Made(Box<Layer>),
}

impl Export<'_> {
    /// Makes the layers of a plan and adds them to the image.
    ///
    /// As many are made at once as the memory allows, but logged, added, and failed in their order: who looks on sees
    /// no difference from one after the other, except that layers after one that fails may have been stored.
    pub(super) fn make_all(
        &self,
        plan: Plan,
        stack: &mut Stack,
        metadata: &mut LifecycleMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let at_once = self.inputs.compression.layers_at_once();
        let maker = Maker {
            target: self.target,
            repository: stack.output().repository().clone(),
            name: stack.name().to_owned(),
            compression: self.inputs.compression,
            slots: Slots::new(at_once),
            cancel: self.cancel.unwrap_or(&NEVER),
        };
        let new = plan.steps.iter().filter(|step| matches!(step.what, What::Make { .. }));
        // One more goes on while others wait until the target has stored what they made.
        let workers = (at_once + 1).min(new.count()).max(1);
        let slices = plan.steps.iter().filter(|step| step.slot == Slot::App).count();
        let mut app = Slices::of(slices);
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let (tell, told) = channel();
            for _ in 0..workers {
                let (tell, steps, maker, next, stop) = (tell.clone(), &plan.steps, &maker, &next, &stop);
                scope.spawn(move || maker.work(steps, next, stop, &tell));
            }
            drop(tell);
            let mut told = InOrder::new(told);
            let mut add_all = || -> Result<(), ExportError> {
                for (number, step) in plan.steps.iter().enumerate() {
                    write_notes(&step.notes, log);
                    // Without an answer a worker has panicked, which goes on at the end of the scope.
                    let Some(outcome) = told.get(number) else { return Ok(()) };
                    let outcome = outcome?;
                    let is_new = matches!(outcome, Outcome::Made(_));
                    let layer = self.add(step, outcome, stack, log)?;
                    step.slot.clone().fill(metadata, layer.diff_id.to_string());
                    match step.slot {
                        Slot::Extension => {}
                        Slot::App => app.count(is_new, log),
                        _ => self.made.add(step.id.clone(), layer),
                    }
                }
                Ok(())
            };
            let added = add_all();
            stop.fetch_or(added.is_err(), Ordering::Relaxed);
            added
        })?;
        write_notes(&plan.notes, log);
        plan.failure.map_or(Ok(()), Err)
    }
}

fn write_notes(notes: &Notes, log: &dyn Log) {
    for (level, text) in notes {
        log.line(*level, text);
    }
}

/// Receives what comes in any order and returns it by number.
struct InOrder<T> {
    told: Receiver<(usize, T)>,
    early: BTreeMap<usize, T>,
}

impl<T> InOrder<T> {
    fn new(told: Receiver<(usize, T)>) -> Self {
        let early = BTreeMap::new();
        Self { told, early }
    }

    /// Waits for what has this number; `None` when nobody is left who could send it.
    fn get(&mut self, number: usize) -> Option<T> {
        loop {
            if let Some(found) = self.early.remove(&number) {
                return Some(found);
            }
            let (number, found) = self.told.recv().ok()?;
            self.early.insert(number, found);
        }
    }
}

/// Counts the slices of the application, and says at the last what became of them.
struct Slices {
    total: usize,
    added: usize,
    reused: usize,
}

impl Slices {
    fn of(total: usize) -> Self {
        let (added, reused) = (0, 0);
        Self { total, added, reused }
    }

    fn count(&mut self, is_new: bool, log: &dyn Log) {
        self.added += usize::from(is_new);
        self.reused += usize::from(!is_new);
        if self.added + self.reused < self.total {
            return;
        }
        if self.reused > 0 {
            log.info(format_args!("Reused {}/{} app layer(s)", self.reused, self.total));
        }
        if self.added > 0 {
            log.info(format_args!("Added {}/{} app layer(s)", self.added, self.total));
        }
    }
}

/// Makes layers, on any number of threads.
struct Maker<'a> {
    target: &'a dyn ImageTarget,
    repository: Repository,
    /// The image's name as the user gave it.
    name: String,
    compression: Compression,
    /// For those that are read, hashed and compressed.
    slots: Slots,
    cancel: &'a AtomicBool,
}

/// The flag of an export that cannot be cancelled.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Maker<'_> {
    /// Takes one layer after the other, until none is left or one has failed. Numbers are taken in order, so all
    /// layers before one that fails are finished.
    fn work(
        &self,
        steps: &[Step],
        next: &AtomicUsize,
        stop: &AtomicBool,
        tell: &Sender<(usize, Result<Outcome, ExportError>)>,
    ) {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = steps.get(number) else { return };
            let made = self.make(step);
            let outcome = if self.cancel.load(Ordering::Relaxed) {
                Err(ExportError::Cancelled)
            } else {
                made
            };
            stop.fetch_or(outcome.is_err(), Ordering::Relaxed);
            if tell.send((number, outcome)).is_err() {
                return;
            }
        }
    }

    /// Makes one layer, unless the previous image has the same.
    fn make(&self, step: &Step) -> Result<Outcome, ExportError> {
        let (content, before) = match &step.what {
            What::Reuse { sha } => return Ok(Outcome::Reuse(sha.clone())),
            What::Make { content, before } => (content.as_ref(), before),
        };
        let content = &Cancellable {
            content,
            cancel: self.cancel,
        };
        let failed = |error| match step.slot {
            Slot::App => ExportError::CreateApp(error),
            _ => ExportError::CreateLayer(error),
        };
        if !before.is_empty() {
            let now = match content.known_diff_id() {
                Some(known) => known,
                None => {
                    let _slot = self.slots.take();
                    diff_id(content).map_err(failed)?.0
                }
            };
            if before.iter().any(|sha| sha == now.as_str()) {
                return Ok(Outcome::Unchanged(now.to_string()));
            }
        }
        let media_type = media_type::DOCKER_LAYER_GZIP;
        let refused = |problem| ExportError::Save(SaveError(vec![(self.name.clone(), problem)]));
        let made = upload_layer_in(
            &self.slots,
            self.target,
            &self.repository,
            content,
            media_type,
            self.compression,
        );
        match made {
            Ok((layer, _)) => Ok(Outcome::Made(Box::new(layer))),
            Err(UploadError::Layer(error)) => Err(failed(error)),
            Err(UploadError::Store(error)) => Err(refused(with_causes(&error))),
            Err(error @ UploadError::NoTag) => Err(refused(error.to_string())),
        }
    }
}

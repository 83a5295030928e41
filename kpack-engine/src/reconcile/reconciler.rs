//! [`Reconciler`]: one step for one object.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::{
    Key, ReconcileError, ReconcileOptions, build, builder, buildpacks, image, lifecycle, source_resolver, stack,
};
use crate::{Kind, Resources};

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When to look at the object again without any event.
    pub again_after: Option<Duration>,
}

/// Brings objects from where they are to where they should be.
#[derive(Clone)]
pub struct Reconciler {
    resources: Arc<dyn Resources>,
    options: Arc<ReconcileOptions>,
}

impl Reconciler {
    /// Makes a reconciler; it starts nothing.
    pub fn new(resources: Arc<dyn Resources>, options: ReconcileOptions) -> Self {
        Self {
            resources,
            options: Arc::new(options),
        }
    }

    /// Returns the options.
    pub fn options(&self) -> &ReconcileOptions {
        &self.options
    }

    /// Takes one step for the object of that key; nothing when there is none or its kind needs no work.
    ///
    /// # Errors
    /// When the step could not be finished: it should be tried again, later and later.
    pub fn reconcile(&self, key: &Key) -> Result<Outcome, ReconcileError> {
        let context = Context {
            resources: &*self.resources,
            options: &self.options,
        };
        match key.kind {
            Kind::Image => image::reconcile(context, key),
            Kind::Build => build::reconcile(context, key),
            Kind::SourceResolver => source_resolver::reconcile(context, key),
            Kind::Builder => builder::reconcile(context, key),
            Kind::ClusterBuilder => builder::reconcile_cluster(context, key),
            Kind::ClusterStore => buildpacks::reconcile_store(context, key),
            Kind::Buildpack => buildpacks::reconcile(context, key),
            Kind::ClusterBuildpack => buildpacks::reconcile_cluster(context, key),
            Kind::ClusterStack => stack::reconcile(context, key),
            Kind::ClusterLifecycle => lifecycle::reconcile(context, key),
            _ => Ok(Outcome::default()),
        }
    }
}

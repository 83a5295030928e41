//! ClusterLifecycle: which lifecycle its image holds.

use rebuild_policy::{
    ClusterLifecycle, ClusterLifecycleStatus, ResolvedLifecycle, not_ready_conditions, ready_conditions,
};

use super::buildpacks::cluster_account;
use super::context::Context;
use super::{Key, Outcome, ReconcileError};

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(object) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let object: ClusterLifecycle = object;
    let account = cluster_account(context, object.spec.service_account_ref.as_ref())?;
    let now = context.now();
    let (lifecycle, conditions, result) = match context.options.warehouse.lifecycle(&object.spec.image, &account) {
        Ok(found) => (found, ready_conditions(&now), Ok(Outcome::default())),
        Err(error) => {
            let conditions = not_ready_conditions(&error.message, &now);
            (ResolvedLifecycle::default(), conditions, Err(error.into()))
        }
    };
    let status = ClusterLifecycleStatus {
        observed_generation: object.metadata.generation,
        conditions,
        lifecycle,
    };
    context.write_status(&object, status)?;
    result
}

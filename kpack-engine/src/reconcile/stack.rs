//! ClusterStack: which images it stands for.

use rebuild_policy::{ClusterStack, ClusterStackStatus, not_ready_conditions, ready_conditions};

use super::buildpacks::cluster_account;
use super::context::Context;
use super::{Key, Outcome, ReconcileError};

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(stack) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let stack: ClusterStack = stack;
    let account = cluster_account(context, stack.spec.service_account_ref.as_ref())?;
    let now = context.now();
    let (found, conditions, result) = match context.options.warehouse.stack(&stack.spec, &account) {
        Ok(found) => (found, ready_conditions(&now), Ok(Outcome::default())),
        Err(error) => {
            let conditions = not_ready_conditions(&error.message, &now);
            (ClusterStackStatus::default(), conditions, Err(error.into()))
        }
    };
    let status = ClusterStackStatus {
        observed_generation: stack.metadata.generation,
        conditions,
        ..found
    };
    context.write_status(&stack, status)?;
    result
}

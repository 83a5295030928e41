//! SourceResolver: what the source is now, looked at again and again.

use rebuild_policy::{ConditionStatus, Conditions, SourceResolver, resolved_status};

use super::context::Context;
use super::{Key, Outcome, ReconcileError, SourceError};

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(resolver) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let resolver: SourceResolver = resolver;
    let source = &resolver.spec.source;
    if source.git.is_none() && source.blob.is_none() && source.registry.is_none() {
        return Err(SourceError::new("invalid source type").into());
    }
    let account = context.account(key.namespace(), &resolver.spec.service_account)?;
    let found = context.options.sources.resolve(source, &account)?;
    let unknown = found.git.as_ref().is_some_and(|git| git.kind == "Unknown");
    let status = resolved_status(&resolver, found, context.options.path_aware, &context.now());
    let polling = status.conditions.condition_status("ActivePolling") == ConditionStatus::True;
    context.write_status(&resolver, status)?;
    // In the reference a new source that cannot be reached is not looked at again for 10 hours.
    let again_after = (polling || unknown).then_some(context.options.poll_interval);
    Ok(Outcome { again_after })
}

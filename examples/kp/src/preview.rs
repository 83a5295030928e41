//! What a change would do to images, told by a dry run.

use jiff::Timestamp;
use rebuild_policy::{Plan, PlanOptions, Present, Proposal, plan};
use serde_json::Value;

use crate::{
    cluster::{
        BUILD, BUILDER, CLUSTER_BUILDER, CLUSTER_LIFECYCLE, CLUSTER_STACK, CLUSTER_STORE, Cluster, IMAGE,
        SOURCE_RESOLVER,
    },
    print::Printer,
};

/// Tells which images would be rebuilt or rebased if `object` were written; nothing when it is written, or when no image
/// is concerned.
///
/// A preview that cannot be made (no right to list builds, say) is told as such and fails nothing.
pub(crate) fn preview(cluster: &Cluster, printer: &Printer, object: &Value) {
    if !printer.is_dry_run() {
        return;
    }
    match affected(cluster, object) {
        Ok(Some(text)) => printer.detail(&text),
        Ok(None) => {}
        Err(error) => printer.detail(&format!("cannot tell which images would be affected: {error:#}")),
    }
}

fn affected(cluster: &Cluster, object: &Value) -> anyhow::Result<Option<String>> {
    let images = cluster.list(IMAGE, "", "")?;
    if images.is_empty() {
        return Ok(None);
    }
    let mut present = Present::from_objects(&images)?;
    let kinds = [
        BUILD,
        SOURCE_RESOLVER,
        BUILDER,
        CLUSTER_BUILDER,
        CLUSTER_STACK,
        CLUSTER_STORE,
        CLUSTER_LIFECYCLE,
    ];
    for kind in kinds {
        for object in cluster.list(kind, "", "")? {
            present.add(&object)?;
        }
    }
    let proposal = Proposal::from_objects([object])?;
    let options = PlanOptions {
        threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
        ..PlanOptions::at(Timestamp::now())
    };
    let plan: Plan<'_> = plan(&present, &proposal, &options);
    let concerns_any = plan.work().any(|planned| planned.caused);
    Ok(concerns_any.then(|| format!("\n{plan}\n")))
}

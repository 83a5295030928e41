//! What all commands do with a resource: create, patch, wait, delete, list.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::{
    cluster::{CLUSTER_LIFECYCLE, CLUSTER_STACK, Cluster, Kind, merge_patch},
    print::{Printer, out},
    shape,
};

/// Returns an object with the head of its kind.
pub(crate) fn new(kind: Kind, namespace: &str, name: &str, spec: Value) -> Value {
    let mut object =
        json!({"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec});
    if kind.namespaced {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// Writes the annotation that `kubectl apply` compares with later.
pub(crate) fn remember_as_applied(object: &mut Value) -> anyhow::Result<()> {
    let text = shape::compact(object)?;
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(text);
    Ok(())
}

/// Creates the object unless this is a dry run, which only asks whether the server has its kind at all; prints it if asked to, and returns it.
pub(crate) fn create(cluster: &Cluster, printer: &Printer, kind: Kind, object: &Value) -> anyhow::Result<Value> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let object = shape::complete(object)?;
    let object = if printer.is_dry_run() {
        cluster.check_serves(kind)?;
        object
    } else {
        cluster.create(kind, namespace, &object)?
    };
    printer.objects(std::slice::from_ref(&object))?;
    Ok(object)
}

/// Sends what differs between `before` and `after`, if anything does; returns the object and
/// whether it changed.
pub(crate) fn patch(
    cluster: &Cluster,
    printer: &Printer,
    kind: Kind,
    before: &Value,
    after: Value,
) -> anyhow::Result<(Value, bool)> {
    let difference = merge_patch(before, &after);
    let changed = difference.as_object().is_none_or(|map| !map.is_empty());
    if !changed || printer.is_dry_run() {
        printer.objects(std::slice::from_ref(&after))?;
        return Ok((after, changed));
    }
    let (namespace, name) = (text(before, "/metadata/namespace"), text(before, "/metadata/name"));
    let object = cluster.patch(kind, namespace, name, &difference)?;
    // Of these kinds the reference shows what it asked for, of all others what the server made of it.
    let shows_wish = kind == CLUSTER_STACK || kind == CLUSTER_LIFECYCLE;
    printer.objects(&[if shows_wish { after } else { object.clone() }])?;
    Ok((object, changed))
}

/// Creates an object, waits until it is ready and says so.
pub(crate) fn create_ready(cluster: &Cluster, printer: &Printer, kind: Kind, object: &Value) -> anyhow::Result<()> {
    let object = create(cluster, printer, kind, object)?;
    wait_ready(cluster, printer, kind, &object)?;
    printer.result(&format!(
        "{} \"{}\" created",
        kind.said,
        text(&object, "/metadata/name")
    ));
    Ok(())
}

/// Changes an object, waits until it is ready again and says what was done to it: `patched` or `updated`.
pub(crate) fn patch_ready(
    cluster: &Cluster,
    printer: &Printer,
    kind: Kind,
    before: &Value,
    after: Value,
    done: &str,
) -> anyhow::Result<()> {
    let (object, changed) = patch(cluster, printer, kind, before, after)?;
    wait_ready(cluster, printer, kind, &object)?;
    printer.change(
        &format!("{} \"{}\" {done}", kind.said, text(&object, "/metadata/name")),
        changed,
    );
    Ok(())
}

/// Deletes an object and says so.
pub(crate) fn delete(cluster: &Cluster, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<()> {
    cluster.delete(kind, namespace, name)?;
    out(&format!("{} \"{name}\" deleted\n", kind.said));
    Ok(())
}

/// Returns a condition of a status.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == name)
}

/// Returns the status text of a condition: `True`, `False`, `Unknown`.
pub(crate) fn condition_status<'a>(object: &'a Value, name: &str) -> &'a str {
    condition(object, name)
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or("Unknown")
}

/// Returns text of a field, empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Waits until the engine has decided whether this generation of the object is ready.
///
/// Fails when it is not, and after ten minutes.
pub(crate) fn wait_ready(cluster: &Cluster, printer: &Printer, kind: Kind, object: &Value) -> anyhow::Result<()> {
    wait_until_ready(cluster, printer, kind, object, |_| true)
}

/// As [`wait_ready`]; what the engine decided counts only when `is_current` says so of the object.
pub(crate) fn wait_until_ready(
    cluster: &Cluster,
    printer: &Printer,
    kind: Kind,
    object: &Value,
    is_current: impl Fn(&Value) -> bool,
) -> anyhow::Result<()> {
    if printer.is_dry_run() {
        return Ok(());
    }
    let name = text(object, "/metadata/name");
    let namespace = text(object, "/metadata/namespace");
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
    let deadline = Instant::now() + Duration::from_secs(600);
    let decided = |object: &Value| -> Option<anyhow::Result<()>> {
        if object["status"]["observedGeneration"].as_i64().unwrap_or(0) < generation {
            return None;
        }
        if !is_current(object) {
            return None;
        }
        match condition_status(object, "Ready") {
            "True" => Some(Ok(())),
            "False" => {
                let message = condition(object, "Ready").map_or("", |condition| text(condition, "/message"));
                Some(Err(anyhow::anyhow!("{} \"{name}\" not ready: {message}", kind.name)))
            }
            _ => None,
        }
    };
    if let Some(answer) = decided(object) {
        return answer;
    }
    // The watch begins with the object as it is, so no change can fall between reading and watching.
    while Instant::now() < deadline {
        let watch = cluster.watch(
            kind,
            namespace,
            &format!("{}&timeoutSeconds=60", Cluster::by_name(name)),
            None,
        )?;
        for event in watch {
            let Ok((event, object)) = event else { break };
            if event == "DELETED" {
                bail!("{} \"{name}\" was deleted before it was ready", kind.name);
            }
            if let Some(answer) = decided(&object) {
                return answer;
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        cluster
            .get(kind, namespace, name)
            .context("the watch for readiness ended")?;
    }
    bail!("timed out waiting for {} \"{name}\" to be ready", kind.name)
}

/// Lists a kind and sorts it by name; nothing to list is an error, as scripts expect.
pub(crate) fn list_sorted(cluster: &Cluster, kind: Kind, namespace: &str, nothing: &str) -> anyhow::Result<Vec<Value>> {
    let mut items = cluster.list(kind, namespace, "")?;
    if items.is_empty() {
        bail!("{nothing}");
    }
    items.sort_by(|a, b| text(a, "/metadata/name").cmp(text(b, "/metadata/name")));
    Ok(items)
}

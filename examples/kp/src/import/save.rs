//! Saving what was imported: what is there is changed, what is not is created, and each is waited for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    cluster::{
        CLUSTER_BUILDER, CLUSTER_BUILDPACK, CLUSTER_LIFECYCLE, CLUSTER_STACK, CLUSTER_STORE, Cluster, Kind, merge_patch,
    },
    print::Printer,
    resource::{text, wait_until_ready},
    store,
};

/// Saves the objects in their order, and returns what the server made of each.
pub(super) fn all(cluster: &Cluster, printer: &Printer, objects: &[Value]) -> anyhow::Result<Vec<Value>> {
    let mut generations = BTreeMap::new();
    let mut answers = Vec::new();
    for object in objects {
        let kind = kind(object);
        let saved = save(cluster, kind, object)?;
        // A builder is ready when it has seen the store and the stack as they were just saved.
        let seen = |builder: &Value, of: Kind, reference: &str, field: &str| {
            let wanted = generations.get(&(of.name, text(object, reference).to_owned()));
            wanted.is_none_or(|wanted| builder["status"][field].as_i64().unwrap_or(0) >= *wanted)
        };
        wait_until_ready(cluster, printer, kind, &saved, |builder| {
            kind != CLUSTER_BUILDER
                || (seen(builder, CLUSTER_STORE, "/spec/store/name", "observedStoreGeneration")
                    && seen(builder, CLUSTER_STACK, "/spec/stack/name", "observedStackGeneration"))
        })?;
        let generation = saved["metadata"]["generation"].as_i64().unwrap_or(0);
        generations.insert((kind.name, text(object, "/metadata/name").to_owned()), generation);
        answers.push(saved);
    }
    Ok(answers)
}

fn kind(object: &Value) -> Kind {
    let kinds = [CLUSTER_LIFECYCLE, CLUSTER_BUILDPACK, CLUSTER_STORE, CLUSTER_STACK];
    kinds
        .into_iter()
        .find(|kind| object["kind"] == kind.name)
        .unwrap_or(CLUSTER_BUILDER)
}

fn save(cluster: &Cluster, kind: Kind, object: &Value) -> anyhow::Result<Value> {
    let name = text(object, "/metadata/name");
    let Some(existing) = cluster.find(kind, "", name)? else {
        return cluster.create(kind, "", &crate::shape::complete(object)?);
    };
    let mut updated = existing.clone();
    if kind == CLUSTER_STORE {
        for source in object["spec"]["sources"].as_array().into_iter().flatten() {
            store::put(&mut updated, text(source, "/image"));
        }
    } else {
        updated["spec"] = object["spec"].clone();
    }
    for (key, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
        updated["metadata"]["annotations"][key] = json!(value);
    }
    cluster.patch(kind, "", name, &merge_patch(&existing, &updated))
}

//! [`Wake`]: who is woken by a change.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Key;
use crate::{ApiError, Change, Kind, Object, Resources, Selector, WatchEvent, WatchFilter};

/// Tells which objects a change concerns.
///
/// - The object itself, when anything but its status changed.
/// - The Image that controls a Build, SourceResolver or cache claim; the Build that controls a Pod.
/// - The Images that use a builder; the builders that use a stack, store, lifecycle or (all of them) a buildpack.
/// - Whatever is not ready and uses a service account or secret that changed.
#[derive(Debug, Default)]
pub struct Wake {
    /// What was seen of each object, without its status.
    seen: HashMap<Key, Value>,
}

impl Wake {
    /// The changes to look at.
    pub fn filter() -> WatchFilter {
        WatchFilter::kinds(Kind::all().filter(|kind| {
            kind.is_kpack()
                || matches!(
                    kind,
                    Kind::Pod | Kind::PersistentVolumeClaim | Kind::ServiceAccount | Kind::Secret
                )
        }))
    }

    /// Returns the keys to reconcile because of a change.
    ///
    /// # Errors
    /// When objects that may be concerned cannot be listed.
    pub fn keys(&mut self, event: &WatchEvent, resources: &dyn Resources) -> Result<Vec<Key>, ApiError> {
        let object = &event.object;
        let mut keys = Vec::new();
        if object.kind().is_kpack() && self.is_news(event) {
            keys.push(Key::of(object));
        }
        keys.extend(controller(object));
        keys.extend(dependents(object, resources)?);
        Ok(keys)
    }

    /// Whether more than the status changed. A deleted object needs no work, but those around it may.
    fn is_news(&mut self, event: &WatchEvent) -> bool {
        let key = Key::of(&event.object);
        if event.change == Change::Deleted {
            self.seen.remove(&key);
            return false;
        }
        let wanted = wanted(&event.object);
        self.seen.insert(key, wanted.clone()) != Some(wanted)
    }
}

/// An object without its status and what changes with every write.
fn wanted(object: &Object) -> Value {
    let metadata = object.metadata();
    let part = |name: &str| metadata.get(name).cloned().unwrap_or_default();
    json!([
        object.pointer("/spec"),
        part("uid"),
        part("generation"),
        part("labels"),
        part("annotations"),
        part("deletionTimestamp"),
    ])
}

fn controller(object: &Object) -> Option<Key> {
    let owners = object.owners();
    let owner = owners.iter().find(|owner| owner.controller)?;
    let kind = Kind::of_object(&owner.api_version, &owner.kind)?;
    let works = match object.kind() {
        Kind::Build | Kind::SourceResolver | Kind::PersistentVolumeClaim => kind == Kind::Image,
        Kind::Pod => kind == Kind::Build,
        _ => false,
    };
    works.then(|| Key::new(kind, object.namespace(), &owner.name))
}

fn dependents(object: &Object, resources: &dyn Resources) -> Result<Vec<Key>, ApiError> {
    let name = object.name();
    let refers = |pointer: &'static str| move |other: &Object| other.text(pointer) == Some(name);
    match object.kind() {
        Kind::Builder | Kind::ClusterBuilder => {
            let kind = object.kind().name();
            select(resources, &[Kind::Image], object.namespace(), |image| {
                image.text("/spec/builder/name") == Some(name) && image.text("/spec/builder/kind") == Some(kind)
            })
        }
        Kind::ClusterStack => builders(resources, refers("/spec/stack/name")),
        Kind::ClusterStore => builders(resources, refers("/spec/store/name")),
        Kind::ClusterLifecycle => builders(resources, |builder| {
            builder.text("/spec/lifecycle/name").unwrap_or("default-lifecycle") == name
        }),
        Kind::ClusterBuildpack => builders(resources, |_| true),
        Kind::Buildpack => select(resources, &[Kind::Builder], object.namespace(), |_| true),
        Kind::ServiceAccount | Kind::Secret => {
            let kinds = [
                Kind::Builder,
                Kind::ClusterBuilder,
                Kind::Buildpack,
                Kind::ClusterBuildpack,
                Kind::ClusterStore,
                Kind::ClusterStack,
                Kind::ClusterLifecycle,
                Kind::SourceResolver,
            ];
            select(resources, &kinds, None, |other| waits_for(other, object))
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether `other` is not well and may use the secrets of the namespace of `object`.
fn waits_for(other: &Object, object: &Object) -> bool {
    let conditions = other.pointer("/status/conditions").and_then(Value::as_array);
    let well = conditions.is_some_and(|conditions| {
        let well = |condition: &Value| condition["status"] == "True" || condition["type"] == "ActivePolling";
        conditions.iter().all(well)
    });
    let namespace = other
        .namespace()
        .or_else(|| other.text("/spec/serviceAccountRef/namespace"));
    !well && namespace.is_none_or(|namespace| Some(namespace) == object.namespace())
}

fn builders(resources: &dyn Resources, uses: impl Fn(&Object) -> bool) -> Result<Vec<Key>, ApiError> {
    select(resources, &[Kind::Builder, Kind::ClusterBuilder], None, uses)
}

fn select(
    resources: &dyn Resources,
    kinds: &[Kind],
    namespace: Option<&str>,
    uses: impl Fn(&Object) -> bool,
) -> Result<Vec<Key>, ApiError> {
    let mut keys = Vec::new();
    for &kind in kinds {
        let namespace = namespace.filter(|_| kind.is_namespaced());
        let objects = resources.list(kind, namespace, &Selector::everything())?.items;
        keys.extend(objects.iter().filter(|object| uses(object)).map(Key::of));
    }
    Ok(keys)
}

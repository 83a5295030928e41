//! Objects that do not change, and a list of what would have been written.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::{ApiError, Kind, Object, ObjectList, Resources, Selector, Watch, WatchFilter};

/// A store as the recorder had it: writes are noted and change nothing.
pub(super) struct Frozen {
    objects: Vec<Object>,
    writes: Mutex<Vec<Value>>,
}

impl Frozen {
    pub(super) fn new(objects: &[Value]) -> Self {
        let objects = objects
            .iter()
            .filter_map(|object| Object::from_value(object.clone()).ok())
            .collect();
        Self {
            objects,
            writes: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn take_writes(&self) -> Vec<Value> {
        let mut writes = std::mem::take(&mut *self.writes.lock().unwrap());
        // The recorder lists writes to core kinds first.
        writes.sort_by_key(|write| write["resource"] != "persistentvolumeclaims" && write["resource"] != "pods");
        writes
    }

    fn note(&self, verb: &str, object: &Object, status: bool) {
        let mut write = json!({
            "verb": verb,
            "resource": object.kind().plural(),
            "object": object.as_value(),
        });
        if status {
            write["subresource"] = json!("status");
        }
        self.writes.lock().unwrap().push(write);
    }
}

impl Resources for Frozen {
    fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Object>, ApiError> {
        let is_it =
            |object: &&Object| object.kind() == kind && object.name() == name && object.namespace() == namespace;
        Ok(self.objects.iter().find(is_it).cloned())
    }

    fn list(&self, kind: Kind, namespace: Option<&str>, selector: &Selector) -> Result<ObjectList, ApiError> {
        let is_it = |object: &&Object| {
            object.kind() == kind
                && namespace.is_none_or(|namespace| object.namespace() == Some(namespace))
                && selector.matches(object)
        };
        Ok(ObjectList {
            items: self.objects.iter().filter(is_it).cloned().collect(),
            ..ObjectList::default()
        })
    }

    fn create(&self, object: Object) -> Result<Object, ApiError> {
        self.note("create", &object, false);
        let exists = self.get(object.kind(), object.namespace(), object.name())?.is_some();
        if exists {
            return Err(ApiError::AlreadyExists {
                kind: object.kind(),
                name: object.name().to_owned(),
            });
        }
        Ok(object)
    }

    fn update(&self, object: Object) -> Result<Object, ApiError> {
        self.note("update", &object, false);
        Ok(object)
    }

    fn update_status(&self, object: Object) -> Result<Object, ApiError> {
        self.note("update", &object, true);
        Ok(object)
    }

    fn delete(&self, kind: Kind, _namespace: Option<&str>, name: &str) -> Result<(), ApiError> {
        let write = json!({"verb": "delete", "resource": kind.plural(), "name": name});
        self.writes.lock().unwrap().push(write);
        Ok(())
    }

    fn watch(&self, _filter: WatchFilter, _from: Option<crate::ResourceVersion>) -> Result<Watch, ApiError> {
        Err(ApiError::bad_request("a store that stands still has nothing to watch"))
    }
}

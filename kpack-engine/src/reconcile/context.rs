//! What all reconcilers do with objects: read them typed, write their status when it says something new.

use rebuild_policy::{Condition, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Account, Key, ReconcileError, ReconcileOptions};
use crate::{ApiError, Kind, Object, Resources};

/// Objects and options, as a reconciler sees them.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) resources: &'a dyn Resources,
    pub(super) options: &'a ReconcileOptions,
}

impl Context<'_> {
    /// The present time in the form of conditions.
    pub(super) fn now(&self) -> String {
        (self.options.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Reads an object; `None` when there is none or it is going away.
    pub(super) fn read<S, T>(&self, key: &Key) -> Result<Option<Resource<S, T>>, ReconcileError>
    where
        S: Default + DeserializeOwned,
        T: Default + DeserializeOwned,
    {
        let object = self.resources.get(key.kind, key.namespace.as_deref(), &key.name)?;
        let object = object.filter(|object| object.deletion_timestamp().is_none());
        object.map(|object| typed(&object)).transpose()
    }

    /// Reads an object that another one refers to.
    ///
    /// # Errors
    /// When there is none; the message is that of a Kubernetes client.
    pub(super) fn referenced<S, T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Resource<S, T>, ReconcileError>
    where
        S: Default + DeserializeOwned,
        T: Default + DeserializeOwned,
    {
        let found = self.read(&Key::new(kind, namespace, name))?;
        found.ok_or_else(|| ReconcileError::Precondition(format!("{} \"{name}\" not found", singular(kind))))
    }

    /// Reads the secrets of an account.
    pub(super) fn account(&self, namespace: &str, name: &str) -> Result<Account, ApiError> {
        Account::read(self.resources, namespace, name, &[])
    }

    /// Writes a status, unless it says what the old one says.
    pub(super) fn write_status<S, T>(&self, object: &Resource<S, T>, status: T) -> Result<(), ReconcileError>
    where
        S: Default + Clone + Serialize,
        T: Default + Clone + Serialize + PartialEq,
    {
        let (old, new) = (encode(&object.status)?, encode(&status)?);
        if without_times(&old) == without_times(&new) {
            return Ok(());
        }
        let changed = Resource {
            status,
            ..object.clone()
        };
        self.resources.update_status(Object::from_typed(&changed)?)?;
        Ok(())
    }
}

/// Reads an object as a typed resource; `null` counts as absent.
pub(super) fn typed<T: DeserializeOwned>(object: &Object) -> Result<T, ReconcileError> {
    rebuild_policy::decode(object.as_value()).map_err(|error| {
        let problem = ApiError::bad_request(format!("{object} cannot be read: {error}"));
        ReconcileError::Api(problem)
    })
}

fn encode<T: Serialize>(value: &T) -> Result<Value, ReconcileError> {
    serde_json::to_value(value).map_err(|source| crate::InvalidObject::Encode { source }.into())
}

/// A status without the times of its conditions: they alone are no news.
fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["lastTransitionTime"] = json!(null);
    }
    status
}

/// The name of a kind in the messages of the reference.
fn singular(kind: Kind) -> String {
    if kind.is_kpack() {
        format!("{}.kpack.io", kind.singular())
    } else {
        kind.plural().to_owned()
    }
}

/// Returns whether the `Ready` condition holds.
pub(super) fn is_ready(conditions: &[Condition]) -> bool {
    use rebuild_policy::Conditions;
    conditions.condition_status("Ready") == rebuild_policy::ConditionStatus::True
}

//! Who set which field: `metadata.managedFields`.

use super::request::Part;
use crate::Object;

/// Records that `manager` made `new` of `old`.
pub(super) fn record(_old: Option<&Object>, _new: &mut Object, _manager: &str, _part: Part, _now: &str) {}

/// Removes the times of the entries, which say nothing about the object.
pub(super) fn remove_times(object: &mut Object) {
    let entries = object
        .metadata_mut()
        .get_mut("managedFields")
        .and_then(serde_json::Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Some(map) = entry.as_object_mut() {
            map.remove("time");
        }
    }
}

//! Strategic Merge Patch: a merge patch that also merges lists, by the keys of their elements.

use serde_json::{Map, Value};

use super::PatchError;
use crate::Kind;
use crate::store::fields::ListStrategy;

/// How deep documents and patches may be nested.
const DEEPEST: usize = 64;

/// Applies a strategic merge patch to a document of a core kind.
///
/// # Errors
/// When a directive in it makes no sense, or an element of a merged list has no key.
///
/// # Specification
/// Kubernetes, "Strategic Merge Patch" (sig-api-machinery); keys as in the API's `patchMergeKey`.
pub(in crate::server) fn strategic_merge_patch(
    kind: Kind,
    document: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    match (document, patch) {
        (Value::Object(document), Value::Object(patch)) => {
            merge_maps(kind, document, patch, DEEPEST).map(Value::Object)
        }
        _ => Err(PatchError::malformed("a strategic merge patch is a JSON object")),
    }
}

fn merge_maps(
    kind: Kind,
    document: &Map<String, Value>,
    patch: &Map<String, Value>,
    deepest: usize,
) -> Result<Map<String, Value>, PatchError> {
    let deeper = deepest
        .checked_sub(1)
        .ok_or_else(|| PatchError::malformed("the patch is nested too deeply"))?;
    match patch.get("$patch").and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("delete") => return Ok(Map::new()),
        Some("replace") => return Ok(without_directives(patch)),
        Some(other) => return Err(PatchError::malformed(format!("unknown patch type found: {other}"))),
    }
    let mut merged = document.clone();
    if let Some(keys) = patch.get("$retainKeys") {
        let keys = keys
            .as_array()
            .ok_or_else(|| PatchError::malformed("$retainKeys is not a list"))?;
        merged.retain(|key, _| keys.iter().any(|kept| kept == key));
    }
    for (key, removed) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/")
            && let (Some(list), Some(removed)) =
                (merged.get_mut(field).and_then(Value::as_array_mut), removed.as_array())
        {
            list.retain(|element| !removed.contains(element));
        }
    }
    for (key, change) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
        match (merged.get(key), change) {
            (_, Value::Null) => {
                merged.remove(key);
            }
            (Some(Value::Object(old)), Value::Object(change)) => {
                let value = merge_maps(kind, old, change, deeper)?;
                merged.insert(key.clone(), Value::Object(value));
            }
            (None, Value::Object(change)) => {
                let value = merge_maps(kind, &Map::new(), change, deeper)?;
                if change.get("$patch").and_then(Value::as_str) != Some("delete") {
                    merged.insert(key.clone(), Value::Object(value));
                }
            }
            (old, Value::Array(change)) => {
                let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let list = merge_lists((kind, key), old, change, order, deeper)?;
                merged.insert(key.clone(), Value::Array(list));
            }
            (_, change) => {
                merged.insert(key.clone(), change.clone());
            }
        }
    }
    reorder_untouched(kind, &mut merged, patch);
    Ok(merged)
}

/// An order may be given for a list that the patch does not change otherwise.
fn reorder_untouched(kind: Kind, merged: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, order) in patch {
        let Some(field) = key
            .strip_prefix("$setElementOrder/")
            .filter(|field| !patch.contains_key(*field))
        else {
            continue;
        };
        if let (Some(Value::Array(list)), Value::Array(order)) = (merged.get_mut(field), order) {
            let key = match ListStrategy::of(kind, field) {
                ListStrategy::ByKey(key) => Some(key),
                ListStrategy::Set => None,
                ListStrategy::Replace => continue,
            };
            let server = list.clone();
            *list = in_order(std::mem::take(list), order, &server, key);
        }
    }
}

fn merge_lists(
    (kind, field): (Kind, &str),
    old: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
    deeper: usize,
) -> Result<Vec<Value>, PatchError> {
    let directive = |element: &Value| element.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if patch
        .iter()
        .any(|element| directive(element).as_deref() == Some("replace"))
    {
        let kept = patch.iter().filter(|element| directive(element).is_none());
        return Ok(kept.cloned().collect());
    }
    match ListStrategy::of(kind, field) {
        ListStrategy::Replace => Ok(patch.to_vec()),
        ListStrategy::Set => {
            let mut merged = old.to_vec();
            merged.extend(patch.iter().filter(|element| !old.contains(element)).cloned());
            Ok(in_order(merged, order.map_or(patch, Vec::as_slice), old, None))
        }
        ListStrategy::ByKey(key) => {
            let mut merged = old.to_vec();
            for element in patch {
                let id = element.get(key).ok_or_else(|| {
                    PatchError::malformed(format!("an element of {field} has no {key}, its merge key"))
                })?;
                let at = merged.iter().position(|other| other.get(key) == Some(id));
                match (at, directive(element).as_deref()) {
                    (_, Some("delete")) => merged.retain(|other| other.get(key) != Some(id)),
                    (Some(at), _) => merged[at] = merge_elements(kind, &merged[at], element, deeper)?,
                    (None, _) => merged.push(merge_elements(kind, &Value::Object(Map::new()), element, deeper)?),
                }
            }
            Ok(in_order(merged, order.map_or(patch, Vec::as_slice), old, Some(key)))
        }
    }
}

fn merge_elements(kind: Kind, old: &Value, patch: &Value, deeper: usize) -> Result<Value, PatchError> {
    match (old, patch) {
        (Value::Object(old), Value::Object(patch)) => merge_maps(kind, old, patch, deeper).map(Value::Object),
        _ => Ok(patch.clone()),
    }
}

/// Puts the elements that `order` names in that order, and the others between them where they were.
///
/// An element that only the server has goes before a named one only when both were on the server in that
/// order.
fn in_order(merged: Vec<Value>, order: &[Value], server: &[Value], key: Option<&str>) -> Vec<Value> {
    let id = |element: &Value| key.map_or(Some(element), |key| element.get(key)).cloned();
    let position = |list: &[Value], element: &Value| list.iter().position(|other| id(other) == id(element));
    let (mut named, others): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .partition(|element| position(order, element).is_some());
    named.sort_by_key(|element| position(order, element));
    let (mut result, mut others) = (Vec::new(), others.into_iter().peekable());
    for element in named {
        while let Some(other) = others.next_if(|other| {
            let places = (position(server, other), position(server, &element));
            matches!(places, (Some(other), Some(element)) if other < element)
        }) {
            result.push(other);
        }
        result.push(element);
    }
    result.extend(others);
    result
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(key, _)| !key.starts_with('$'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patched(document: Value, patch: Value) -> Value {
        strategic_merge_patch(Kind::Pod, &document, &patch).unwrap()
    }

    #[test]
    fn a_new_element_of_a_merged_list_comes_first_as_on_a_real_server() {
        let account = json!({"secrets": [{"name": "reg"}]});
        let expected = json!({"secrets": [{"name": "gitcred"}, {"name": "reg"}]});
        assert_eq!(patched(account, json!({"secrets": [{"name": "gitcred"}]})), expected);
    }

    #[test]
    fn elements_with_the_same_key_are_merged() {
        let pod = json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}]});
        let patch = json!({"containers": [{"name": "a", "image": "y"}]});
        let expected = json!({"containers": [{"name": "a", "image": "y", "args": ["1"]}, {"name": "b"}]});
        assert_eq!(patched(pod, patch), expected);
    }

    #[test]
    fn an_element_can_be_deleted_by_its_key() {
        let account = json!({"imagePullSecrets": [{"name": "a"}, {"name": "b"}]});
        let patch = json!({
            "$setElementOrder/imagePullSecrets": [{"name": "b"}],
            "imagePullSecrets": [{"$patch": "delete", "name": "a"}],
        });
        assert_eq!(patched(account, patch), json!({"imagePullSecrets": [{"name": "b"}]}));
    }

    #[test]
    fn a_list_can_be_replaced_as_a_whole() {
        let account = json!({"secrets": [{"name": "a"}]});
        let patch = json!({"secrets": [{"$patch": "replace"}, {"name": "z"}]});
        assert_eq!(patched(account, patch), json!({"secrets": [{"name": "z"}]}));
    }

    #[test]
    fn the_order_that_the_client_gives_is_kept() {
        let account = json!({"secrets": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
        let patch = json!({"$setElementOrder/secrets": [{"name": "c"}, {"name": "a"}]});
        assert_eq!(
            patched(account, patch),
            json!({"secrets": [{"name": "b"}, {"name": "c"}, {"name": "a"}]})
        );
    }

    #[test]
    fn finalizers_are_a_set() {
        let object = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}});
        assert_eq!(patched(object, patch), json!({"metadata": {"finalizers": ["c", "b"]}}));
    }

    #[test]
    fn null_removes_and_an_unknown_directive_is_refused() {
        assert_eq!(
            patched(json!({"data": {"a": "1"}}), json!({"data": {"a": null, "b": "2"}})),
            json!({"data": {"b": "2"}})
        );
        let error = strategic_merge_patch(Kind::Pod, &json!({}), &json!({"$patch": "dance"})).unwrap_err();
        assert_eq!(error.to_string(), "unknown patch type found: dance");
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let key = "a|secrets|finalizers|name|\\$patch|\\$setElementOrder/secrets|\\$retainKeys";
        let leaf = prop_oneof![Just(Value::Null), "merge|delete|replace|x".prop_map(Value::String)];
        leaf.prop_recursive(3, 16, 3, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                proptest::collection::btree_map(key, inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_patch_panics(document in any_document(), patch in any_document()) {
            let _ = strategic_merge_patch(Kind::Pod, &document, &patch);
        }

        #[test]
        fn ordering_loses_and_invents_nothing(
            merged in proptest::collection::vec(0..9, 0..6),
            order in proptest::collection::vec(0..9, 0..6),
            server in proptest::collection::vec(0..9, 0..6),
        ) {
            let values = |list: &[i32]| list.iter().map(|number| json!(number)).collect::<Vec<_>>();
            let sorted = |mut list: Vec<Value>| {
                list.sort_by_key(Value::as_i64);
                list
            };
            let result = in_order(values(&merged), &values(&order), &values(&server), None);
            prop_assert_eq!(sorted(result), sorted(values(&merged)));
        }
    }
}

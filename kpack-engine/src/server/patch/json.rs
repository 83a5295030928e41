//! JSON Patch: a list of operations on paths.

use serde_json::Value;

use super::{LONGEST, PatchError, parent, pointer_parts};
use crate::object::{DEEPEST, depth};

/// How many bytes all copies of a patch may add, as on real servers: copies of copies grow without end.
const MOST_COPIED: usize = 3 << 20;

/// Applies a list of operations, all or none.
///
/// # Errors
/// [`PatchError::Malformed`] when an operation makes no sense, [`PatchError::Unfit`] when a path is not
/// there, a test fails, or the document would become too large or too deep.
///
/// # Specification
/// RFC 6902.
pub(in crate::server) fn json_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = patch
        .as_array()
        .ok_or_else(|| PatchError::malformed("a JSON patch is a list of operations"))?;
    if operations.len() > LONGEST {
        let problem = format!(
            "The allowed maximum operations in a JSON patch is {LONGEST}, got {}",
            operations.len()
        );
        return Err(PatchError::malformed(problem));
    }
    let mut document = document.clone();
    let mut copied = 0;
    for operation in operations {
        apply(&mut document, operation, &mut copied)?;
    }
    Ok(document)
}

fn apply(document: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let parts = |key: &str| {
        pointer_parts(text(key).ok_or_else(|| PatchError::malformed(format!("an operation has no {key}")))?)
    };
    let value = || {
        let found = operation.get("value").cloned();
        found.ok_or_else(|| PatchError::malformed("an operation has no value"))
    };
    let path = parts("path")?;
    match text("op").unwrap_or_default() {
        "add" => add(document, &path, value()?),
        "remove" => remove(document, &path).map(drop),
        "replace" => {
            let value = value()?;
            check_depth(&path, &value)?;
            *find(document, &path)? = value;
            Ok(())
        }
        "move" => {
            let from = parts("from")?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err(PatchError::malformed("a value cannot be moved into itself"));
            }
            let moved = remove(document, &from)?;
            add(document, &path, moved)
        }
        "copy" => {
            let value = find(document, &parts("from")?)?.clone();
            *copied += value.to_string().len();
            if *copied > MOST_COPIED {
                return Err(PatchError::unfit(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit \
                     {MOST_COPIED}"
                )));
            }
            add(document, &path, value)
        }
        "test" => {
            let expected = value()?;
            // A missing value equals null, as the servers' library has it.
            let found = parent(document, &path).cloned().unwrap_or(Value::Null);
            let failed = || PatchError::unfit(format!("testing value {} failed", text("path").unwrap_or_default()));
            (found == expected).then_some(()).ok_or_else(failed)
        }
        other => Err(PatchError::malformed(format!("unexpected operation {other:?}"))),
    }
}

fn find<'a>(document: &'a mut Value, path: &[String]) -> Result<&'a mut Value, PatchError> {
    parent(document, path).ok_or_else(|| missing(path))
}

fn missing(path: &[String]) -> PatchError {
    PatchError::unfit(format!("there is nothing at /{}", path.join("/")))
}

/// Nothing may become so deep that it cannot be walked through any more.
fn check_depth(path: &[String], value: &Value) -> Result<(), PatchError> {
    if path.len() + depth(value) > DEEPEST {
        let problem = format!("what is put at /{} is nested too deeply", path.join("/"));
        return Err(PatchError::unfit(problem));
    }
    Ok(())
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    check_depth(path, &value)?;
    let Some((key, before)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find(document, before)? {
        Value::Object(map) => {
            map.insert(key.clone(), value);
        }
        Value::Array(list) => {
            let index = if key == "-" { Some(list.len()) } else { key.parse().ok() };
            let index = index
                .filter(|index| *index <= list.len())
                .ok_or_else(|| missing(path))?;
            list.insert(index, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &[String]) -> Result<Value, PatchError> {
    let Some((key, before)) = path.split_last() else {
        return Ok(std::mem::take(document));
    };
    let removed = match find(document, before)? {
        Value::Object(map) => map.remove(key),
        Value::Array(list) => {
            let index = key.parse().ok().filter(|index: &usize| *index < list.len());
            index.map(|index| list.remove(index))
        }
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patched(document: Value, patch: Value) -> Result<Value, PatchError> {
        json_patch(&document, &patch)
    }

    #[test]
    fn each_operation_does_what_the_specification_says() {
        let document = json!({"a": [1, 2], "b/c": {"~": true}});
        let patch = json!([
            {"op": "test", "path": "/b~1c/~0", "value": true},
            {"op": "add", "path": "/a/1", "value": 9},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "replace", "path": "/a/0", "value": 0},
            {"op": "copy", "from": "/a", "path": "/copy"},
            {"op": "move", "from": "/copy/3", "path": "/last"},
            {"op": "remove", "path": "/b~1c"},
        ]);
        assert_eq!(
            patched(document, patch),
            Ok(json!({"a": [0, 9, 2, 3], "copy": [0, 9, 2], "last": 3}))
        );
    }

    #[test]
    fn a_failed_test_changes_nothing_and_is_told_apart_from_nonsense() {
        let failed = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert!(matches!(
            patched(json!({"a": 1}), failed),
            Err(PatchError::Unfit { .. })
        ));
        assert!(matches!(
            patched(json!({}), json!([{"op": "dance", "path": "/a"}])),
            Err(PatchError::Malformed { .. })
        ));
        assert!(matches!(
            patched(json!({}), json!({})),
            Err(PatchError::Malformed { .. })
        ));
    }

    #[test]
    fn what_is_not_there_can_neither_be_removed_nor_replaced() {
        for op in ["remove", "replace"] {
            let patch = json!([{"op": op, "path": "/a/b", "value": 1}]);
            assert!(
                matches!(patched(json!({"a": {}}), patch), Err(PatchError::Unfit { .. })),
                "{op}"
            );
        }
    }

    #[test]
    fn copies_of_copies_do_not_grow_without_end() {
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": ["x".repeat(1000)]})];
        patch.extend((0..40).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"})));
        let Err(PatchError::Unfit { problem }) = patched(json!({}), json!(patch)) else {
            panic!("40 doublings of a kilobyte are a petabyte");
        };
        assert!(
            problem.starts_with("Unable to complete the copy, the accumulated size"),
            "{problem}"
        );
    }

    #[test]
    fn nothing_becomes_deeper_than_can_be_read_again() {
        for op in ["add", "replace", "copy", "move"] {
            let patch = (1..200).map(|level| {
                let (path, up) = ("/a".repeat(level), "/a".repeat(level - 1));
                [
                    json!({"op": "add", "path": path, "value": {}}),
                    json!({"op": "add", "path": format!("{up}/b"), "value": {"a": {"a": {}}}}),
                    json!({"op": op, "path": path, "from": format!("{up}/b"), "value": {"a": {"a": {}}}}),
                ]
            });
            let patch: Vec<Value> = patch.flatten().collect();
            let patched = patched(json!({}), json!(patch));
            assert!(matches!(patched, Err(PatchError::Unfit { .. })), "{op}");
        }
    }

    proptest! {
        #[test]
        fn no_operation_panics(
            op in "add|remove|replace|move|copy|test",
            path in "(/(a|b|0|1|-|~|18446744073709551616)?){0,3}",
            from in "(/(a|b|0|1|-)?){0,3}",
        ) {
            let document = json!({"a": [1, {"b": 2}], "b": {"a": []}});
            let _ = json_patch(&document, &json!([{"op": op, "path": path, "from": from, "value": 1}]));
        }

        #[test]
        fn what_is_added_is_then_found(key in "[a-z~/]{1,3}", value in any::<i32>()) {
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            let added = json_patch(&json!({}), &json!([{"op": "add", "path": pointer, "value": value}]));
            prop_assert_eq!(added, Ok(json!({ key: value })));
        }
    }
}

//! The patches that clients send, as functions from a document to the changed one.

mod json;
mod merge;
mod strategic;

use serde_json::Value;

pub(super) use self::json::json_patch;
pub(super) use self::merge::merge_patch;
pub(super) use self::strategic::strategic_merge_patch;

/// How many operations or elements of a patch are looked at.
const LONGEST: usize = 10_000;

/// Why a patch could not be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum PatchError {
    /// The patch itself makes no sense, whatever the document.
    #[error("{problem}")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// The patch does not fit the document.
    #[error("{problem}")]
    Unfit {
        /// What does not fit.
        problem: String,
    },
}

impl PatchError {
    fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed {
            problem: problem.into(),
        }
    }

    fn unfit(problem: impl Into<String>) -> Self {
        Self::Unfit {
            problem: problem.into(),
        }
    }
}

/// Reads a JSON pointer into its parts.
fn pointer_parts(pointer: &str) -> Result<Vec<String>, PatchError> {
    match pointer.strip_prefix('/') {
        Some(rest) => Ok(rest
            .split('/')
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect()),
        None if pointer.is_empty() => Ok(Vec::new()),
        None => Err(PatchError::malformed(format!("{pointer:?} is no JSON pointer"))),
    }
}

/// Finds the container that holds the last part of a path.
fn parent<'a>(document: &'a mut Value, parts: &[String]) -> Option<&'a mut Value> {
    parts.iter().try_fold(document, |at, part| match at {
        Value::Object(map) => map.get_mut(part),
        Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

//! The row of an Event.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age;
use super::{Column, column, wide};
use crate::Object;

pub(super) const COLUMNS: &[Column] = &[
    column("Last Seen"),
    column("Type"),
    column("Reason"),
    column("Object"),
    wide("Subobject"),
    wide("Source"),
    column("Message"),
    wide("First Seen"),
    wide("Count"),
    Column {
        name: "Name",
        format: "name",
        wide: true,
    },
];

pub(super) fn cells(object: &Object, now: Timestamp) -> Vec<Value> {
    let text = |pointer: &str| object.text(pointer).filter(|text| !text.is_empty());
    let time = |pointer: &str| {
        text(pointer)
            .or_else(|| text("/eventTime"))
            .or_else(|| object.creation_timestamp())
    };
    let involved = match (text("/involvedObject/kind"), text("/involvedObject/name")) {
        (Some(kind), Some(name)) => format!("{}/{name}", kind.to_lowercase()),
        (Some(kind), None) => kind.to_lowercase(),
        _ => String::new(),
    };
    let source = [
        text("/source/component").or_else(|| text("/reportingComponent")),
        text("/source/host"),
    ];
    let count = object.pointer("/count").and_then(Value::as_i64).unwrap_or(1);
    vec![
        json!(age(time("/lastTimestamp"), now)),
        json!(text("/type").unwrap_or_default()),
        json!(text("/reason").unwrap_or_default()),
        json!(involved),
        json!(text("/involvedObject/fieldPath").unwrap_or_default()),
        json!(source.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        json!(text("/message").unwrap_or_default().trim()),
        json!(age(time("/firstTimestamp"), now)),
        json!(count),
        json!(object.name()),
    ]
}

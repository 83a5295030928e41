//! Refuses keys that a format does not have, for files that people write by hand and misspell.

use toml::{Table, Value};

use crate::DecodeError;

/// Checks that a document has no other keys than `known`, given as dotted paths of its leaves; case does not matter.
pub(crate) fn only(table: &Table, known: &[&str]) -> Result<(), DecodeError> {
    let mut unknown = Vec::new();
    collect("", table, known, &mut unknown);
    if unknown.is_empty() {
        return Ok(());
    }
    let s = if unknown.len() == 1 { "" } else { "s" };
    let names: Vec<String> = unknown.iter().map(|key| format!("'{key}'")).collect();
    Err(DecodeError::Invalid {
        message: format!("unknown configuration element{s} {}", names.join(", ")),
    })
}

fn collect(prefix: &str, table: &Table, known: &[&str], unknown: &mut Vec<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        let lower = path.to_ascii_lowercase();
        let below = format!("{lower}.");
        if known.contains(&lower.as_str()) {
            continue;
        }
        if !known.iter().any(|known| known.starts_with(&below)) {
            if !unknown.contains(&path) {
                unknown.push(path);
            }
            continue;
        }
        // Values of another type than a table are for the reader to refuse.
        let tables: Vec<&Table> = match value {
            Value::Table(table) => vec![table],
            Value::Array(list) => list.iter().filter_map(Value::as_table).collect(),
            _ => Vec::new(),
        };
        for table in tables {
            collect(&format!("{path}."), table, known, unknown);
        }
    }
}

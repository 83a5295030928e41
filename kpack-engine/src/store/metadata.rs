//! Labels, annotations and owners as the API server takes them.

use serde_json::{Value, json};

use super::rules::subdomain_problem;
use crate::{Cause, Object};

/// How many bytes all annotations of an object may have together.
const MOST_ANNOTATED: usize = 256 << 10;

/// How long the name of a key and the value of a label may be.
const LONGEST: usize = 63;

/// Lists what is wrong with the labels, annotations and owners of an object.
///
/// # Specification
/// Kubernetes, "Labels and Selectors": syntax and character set; "Annotations"; "Owners and Dependents".
pub(super) fn check(object: &Object) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in object.labels() {
        if let Some(problem) = key_problem(&key) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), &problem));
        }
        if let Some(problem) = value_problem(&value) {
            causes.push(Cause::invalid("metadata.labels", &json!(value), problem));
        }
    }
    let mut annotated = 0;
    for (key, value) in object.annotations() {
        annotated += key.len() + value.len();
        if let Some(problem) = key_problem(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), &problem));
        }
    }
    if annotated > MOST_ANNOTATED {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MOST_ANNOTATED} bytes"),
            field: "metadata.annotations".to_owned(),
        });
    }
    causes.extend(owners(object));
    causes
}

/// An owner that cannot be told from others would count as gone, and its dependents would go, too.
fn owners(object: &Object) -> Vec<Cause> {
    let references = object.metadata().get("ownerReferences").and_then(Value::as_array);
    let mut causes = Vec::new();
    for reference in references.into_iter().flatten() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if reference.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
                let field = format!("metadata.ownerReferences.{key}");
                causes.push(Cause::invalid(&field, &json!(""), "must not be empty"));
            }
        }
    }
    causes
}

fn key_problem(key: &str) -> Option<String> {
    let rule = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.contains('/') {
        let prefixed = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
        return Some(format!("a qualified name {rule} {prefixed}"));
    }
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            if let Some(problem) = subdomain_problem(prefix) {
                return Some(format!("prefix part {problem}"));
            }
        }
        None => {}
    }
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        name if name.len() > LONGEST => Some(format!("name part must be no more than {LONGEST} characters")),
        name => (!is_name(name)).then(|| format!("name part {rule}")),
    }
}

fn value_problem(value: &str) -> Option<&'static str> {
    if value.len() > LONGEST {
        return Some("must be no more than 63 characters");
    }
    (!value.is_empty() && !is_name(value)).then_some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
         and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
         validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    )
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(inner)
}

//! [`Selector`]: which objects of a kind are meant, by labels and fields.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api_error::ApiError;
use crate::kind::Kind;
use crate::object::Object;

/// A choice of objects by labels and fields; the default one matches all.
///
/// # Specification
/// Kubernetes, "Labels and Selectors" (equality- and set-based) and "Field Selectors".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    value: String,
    equal: bool,
}

impl Selector {
    /// Returns the selector of all objects.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Also demands that the label `key` has `value`.
    #[must_use]
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        self.labels.push(Requirement {
            key: key.to_owned(),
            test: Test::In(vec![value.to_owned()]),
        });
        self
    }

    /// Also demands that the field `field`, such as `metadata.name`, has `value`.
    #[must_use]
    pub fn with_field(mut self, field: &str, value: &str) -> Self {
        self.fields.push(FieldRequirement {
            field: field.to_owned(),
            value: value.to_owned(),
            equal: true,
        });
        self
    }

    /// Reads the `labelSelector` and `fieldSelector` parameters of a request; empty texts select everything.
    ///
    /// # Errors
    /// When a selector cannot be read, or names a field that objects of `kind` cannot be selected by.
    pub fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = parse_labels(labels)
            .map_err(|problem| ApiError::bad_request(format!("unable to parse requirement: {problem}")))?;
        let fields = parse_fields(fields)
            .map_err(|problem| ApiError::bad_request(format!("invalid field selector: {problem}")))?;
        for requirement in &fields {
            if !selectable(kind).contains(&requirement.field.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "field label not supported: {}",
                    requirement.field
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    /// Says whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Says whether `object` is selected.
    pub fn matches(&self, object: &Object) -> bool {
        let labels = object.labels();
        self.labels.iter().all(|requirement| requirement.matches(&labels))
            && self
                .fields
                .iter()
                .all(|field| (field_text(object, &field.field) == field.value) == field.equal)
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

/// The fields that a kind can be selected by.
fn selectable(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Kind::Event => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Kind::Secret => &["metadata.name", "metadata.namespace", "type"],
        Kind::Namespace => &["metadata.name", "status.phase"],
        kind if kind.is_namespaced() => &["metadata.name", "metadata.namespace"],
        _ => &["metadata.name"],
    }
}

fn field_text(object: &Object, field: &str) -> String {
    let pointer = match field {
        "source" => "/source/component".to_owned(),
        _ => format!("/{}", field.replace('.', "/")),
    };
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Splits at commas outside of parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    split_terms(text)
        .into_iter()
        .map(|term| parse_label_term(term.trim()))
        .collect()
}

fn parse_label_term(term: &str) -> Result<Requirement, String> {
    let requirement = |key: &str, test| {
        let key = key.trim();
        check_key(key).map(|()| Requirement {
            key: key.to_owned(),
            test,
        })
    };
    if let Some((key, value)) = term.split_once("!=") {
        return requirement(key, Test::NotIn(vec![check_value(value)?]));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return requirement(key, Test::In(vec![check_value(value)?]));
    }
    if let Some(key) = term.strip_prefix('!') {
        return requirement(key, Test::Absent);
    }
    if let Some((head, list)) = term.split_once('(') {
        let list = list
            .strip_suffix(')')
            .ok_or_else(|| format!("{term:?}: no closing parenthesis"))?;
        let values = list.split(',').map(check_value).collect::<Result<Vec<_>, _>>()?;
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => requirement(key, Test::In(values)),
            (Some(key), Some("notin"), None) => requirement(key, Test::NotIn(values)),
            _ => Err(format!("{term:?}: expected 'in' or 'notin' before the list")),
        };
    }
    requirement(term, Test::Exists)
}

fn check_key(key: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if key.is_empty() || !key.chars().all(allowed) {
        return Err(format!("{key:?} is not a label key"));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<String, String> {
    let value = value.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.len() > 63 || !value.chars().all(allowed) {
        return Err(format!("{value:?} is not a label value"));
    }
    Ok(value.to_owned())
}

fn parse_fields(text: &str) -> Result<Vec<FieldRequirement>, String> {
    let mut found = Vec::new();
    for term in split_field_terms(text).iter().filter(|term| !term.is_empty()) {
        let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (field, value, true)
        } else {
            return Err(format!("{term:?}: expected field=value or field!=value"));
        };
        found.push(FieldRequirement {
            field: field.trim().to_owned(),
            value: unescape(value)?,
            equal,
        });
    }
    Ok(found)
}

/// Splits at commas that no backslash precedes.
fn split_field_terms(text: &str) -> Vec<String> {
    let (mut terms, mut current, mut escaped) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        if character == ',' && !escaped {
            terms.push(std::mem::take(&mut current));
            continue;
        }
        escaped = character == '\\' && !escaped;
        current.push(character);
    }
    terms.push(current);
    terms
}

fn unescape(text: &str) -> Result<String, String> {
    let (mut out, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                _ => {
                    return Err(format!(
                        "{text:?}: a backslash may only precede a backslash, comma or '='"
                    ));
                }
            },
            ',' | '=' => return Err(format!("{text:?}: {character:?} needs a backslash before it")),
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build(labels: &[(&str, &str)]) -> Object {
        let mut object = Object::new(Kind::Build, Some("demo"), "shop-build-1");
        for (key, value) in labels {
            object.set_label(key, value);
        }
        object
    }

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        Selector::parse(Kind::Build, selector, "")
            .expect("readable")
            .matches(&build(labels))
    }

    #[test]
    fn each_form_of_label_selector_means_what_kubernetes_says() {
        let shop = [("image.kpack.io/image", "shop")];
        assert!(matches("", &shop));
        assert!(matches("image.kpack.io/image=shop", &shop));
        assert!(matches("image.kpack.io/image==shop", &shop));
        assert!(!matches("image.kpack.io/image!=shop", &shop));
        assert!(matches("other!=shop", &shop));
        assert!(matches("image.kpack.io/image in (a, shop),!other", &shop));
        assert!(matches("image.kpack.io/image notin (a,b)", &shop));
        assert!(matches("image.kpack.io/image", &shop));
        assert!(!matches("other", &shop));
    }

    #[test]
    fn fields_are_selected_by_name_and_kind_of_the_involved_object() {
        let selector = Selector::parse(Kind::Build, "", "metadata.name=shop-build-1,metadata.namespace!=x");
        assert!(selector.expect("readable").matches(&build(&[])));
    }

    #[test]
    fn a_field_that_cannot_be_selected_by_is_refused() {
        let error = Selector::parse(Kind::Build, "", "status.phase=x").unwrap_err();
        assert_eq!(error.to_string(), "field label not supported: status.phase");
    }

    proptest! {
        #[test]
        fn no_selector_text_panics(labels in ".{0,40}", fields in ".{0,40}") {
            let _ = Selector::parse(Kind::Pod, &labels, &fields);
        }

        #[test]
        fn an_object_is_matched_by_in_or_by_notin(value in "[a-c]{0,2}", list in "[a-c]{1,2}(,[a-c]{1,2}){0,2}") {
            let labels = [("k", value.as_str())];
            let is_in = matches(&format!("k in ({list})"), &labels);
            prop_assert_ne!(is_in, matches(&format!("k notin ({list})"), &labels));
        }
    }
}
